"""The U-Net of the other papers: one set of blocks, with what each needs beside x_t and sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import Down, PixelAttention, ResBlock, TimeEmbedding, Up, norm_layer, run_blocks


@dataclass(frozen=True)
class UNetConfig(Config):
    """What rebuilds the net from its card."""

    channels: tuple[int, ...] = (16, 32, 48, 64)
    attention: tuple[bool, ...] = (False, False, False, True)
    res_blocks: int = 1
    heads: int = 4
    norm: str = "group"  # "group" | "rms"
    groups: int = 8
    embedding: int = 64  # width of the time embedding
    time_scale: float = 1.0  # times are multiplied by this before their sinusoids
    noisy: bool = True  # sees x_t; a one-shot net does not, nor the time
    recursive: bool = False  # sees a previous estimate of x0
    latent: int = 0  # size of a random latent that modulates features
    style_bins: int = 0  # bins of a style key
    kind: ClassVar[str] = "unet"

    @property
    def in_channels(self) -> int:
        return (self.noisy + self.n_sources) * self.thickness + self.recursive * self.out_slices

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.channels) - 1)

    def build(self) -> nn.Module:
        return UNet(self)


class UNet(nn.Module):
    """Residual blocks on each level, pixel-shuffle resampling, attention where the config says.

    slabs (N, (1 + n_sources) * thickness, A, B), times (N,) -> (N, out_slices, A, B). ``previous``
    (N, out_slices, A, B) is zero unless given; ``latent`` (N,L) is the mean, zero, unless given.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = c = config
        embedding = c.embedding if c.noisy or c.latent or c.style_bins else 0
        block: dict[str, Any] = {"embedding": embedding, "norm": c.norm, "groups": c.groups}
        self.time = TimeEmbedding(c.embedding, c.time_scale) if c.noisy else None
        self.style = _mlp(3 * c.style_bins, c.embedding) if c.style_bins else None
        self.mapping = _mlp(c.latent, c.embedding) if c.latent else None
        self.first = nn.Conv2d(c.in_channels, c.channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(c.channels):
            blocks = nn.ModuleList(ResBlock(width, width, **block) for _ in range(c.res_blocks))
            self.down.append(Level(blocks, width, c, level, Down))
        for level in reversed(range(len(c.channels))):
            width = c.channels[level]
            blocks = nn.ModuleList(ResBlock(width * (2 if k == 0 else 1), width, **block) for k in range(c.res_blocks))
            self.up.append(Level(blocks, width, c, level, Up))
        last = c.channels[0]
        convolution = nn.Conv2d(last, c.out_slices, 3, padding=1)
        self.out = nn.Sequential(norm_layer(c.norm, last, c.groups), nn.SiLU(), convolution)

    def forward(
        self,
        slabs: Tensor,
        times: Tensor,
        *,
        style: Tensor | None = None,
        latent: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> Tensor:
        c = self.config
        x = slabs if c.noisy else slabs[:, c.thickness :]
        if c.recursive:
            empty = slabs.new_zeros(len(slabs), c.out_slices, *slabs.shape[2:])
            x = torch.cat([x, empty if previous is None else previous], 1)
        embedding = self._embed(slabs, times, style, latent)
        h, skips = self.first(x), []
        for level in self.down:
            skip, h = level(h, embedding)
            skips.append(skip)
        for level, skip in zip(self.up, reversed(skips), strict=True):
            h = level(torch.cat([h, skip], 1), embedding)[1]
        return self.out(h)

    def _embed(self, slabs: Tensor, times: Tensor, style: Tensor | None, latent: Tensor | None) -> Tensor | None:
        parts = []
        if self.time is not None:
            parts.append(self.time(times))
        if self.style is not None:
            if style is None:
                raise ValueError("this net needs a style key: wrap it with nets.Given(net, style=...)")
            parts.append(self.style(style.flatten(1)))
        if self.mapping is not None:
            empty = slabs.new_zeros(len(slabs), self.config.latent)
            parts.append(self.mapping(empty if latent is None else latent))
        return sum(parts) if parts else None


class Level(nn.Module):
    """Residual blocks, attention, and the way to the next level down or up (none at the ends).

    (N,C,A,B) -> the features here, and the features as they go on.
    """

    def __init__(self, blocks: nn.ModuleList, width: int, c: UNetConfig, level: int, kind: type[Down | Up]):
        super().__init__()
        there = level + (1 if kind is Down else -1)
        move = kind(width, c.channels[there]) if 0 <= there < len(c.channels) else nn.Identity()
        attention = PixelAttention(width, c.heads, c.norm, c.groups) if c.attention[level] else nn.Identity()
        self.blocks, self.attention, self.move = blocks, attention, move

    def forward(self, h: Tensor, embedding: Tensor | None) -> tuple[Tensor, Tensor]:
        h = self.attention(run_blocks(self.blocks, h, embedding))
        return h, self.move(h)


def _mlp(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))
