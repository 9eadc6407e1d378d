"""Nets of seed 002 beside its U-Net: discriminators of patches and the one-shot ResNet generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.nets.blocks import Down, ResBlock, TimeEmbedding, Up


class Discriminator(nn.Module):
    """Logits of patches: images (N,in_channels,A,B) [, times (N,)] -> (N,1,a,b).

    One block for each width: two convolutions, the embedded time as a bias after the first, and a
    halving of the sides (seed 002, IV-B.1: six blocks for 256 x 256). No normalisation, which would
    tie the images of a batch or the voxels of an image to each other under the gradient penalty.
    ``time_scale`` multiplies the times before their embedding.
    """

    def __init__(
        self, in_channels: int, channels: tuple[int, ...] = (16, 32, 48), time: bool = False,
        time_scale: float = 1.0, embedding: int = 32,
    ):  # fmt: skip
        super().__init__()
        self.time = TimeEmbedding(embedding, time_scale) if time else None
        self.first = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        widths = [channels[0], *channels]
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "conv": nn.Conv2d(before, width, 3, padding=1),
                "bias": nn.Linear(embedding, width) if time else nn.Identity(),
                "down": nn.Conv2d(width, width, 4, stride=2, padding=1),
            })
            for before, width in zip(widths[:-1], widths[1:], strict=True)
        )  # fmt: skip
        self.out = nn.Conv2d(channels[-1], 1, 1)

    def forward(self, images: Tensor, times: Tensor | None = None) -> Tensor:
        embedding = None if self.time is None else F.silu(self.time(times))
        h = self.first(images)
        for block in self.blocks:
            h = block["conv"](F.leaky_relu(h, 0.2))
            if embedding is not None:
                h = h + block["bias"](embedding)[:, :, None, None]
            h = block["down"](F.leaky_relu(h, 0.2))
        return self.out(F.leaky_relu(h, 0.2))


class ResNet(nn.Module):
    """Encoder, residual blocks at the lowest resolution, decoder: (N,in,A,B) -> (N,out,A,B) in (-1,1).

    The backbone of the non-diffusive generators of seed 002 (IV-B.1), one image in one step.
    """

    def __init__(self, in_channels: int, out_channels: int, channels: tuple[int, ...], res_blocks: int):
        super().__init__()
        pairs = list(zip(channels[:-1], channels[1:], strict=True))
        block = {"norm": "rms"}
        self.first = nn.Conv2d(in_channels, channels[0], 5, padding=2)
        self.encoder = nn.Sequential(*(m for a, b in pairs for m in (ResBlock(a, a, **block), Down(a, b))))
        self.middle = nn.Sequential(*(ResBlock(channels[-1], channels[-1], **block) for _ in range(res_blocks)))
        self.decoder = nn.Sequential(*(m for a, b in reversed(pairs) for m in (Up(b, a), ResBlock(a, a, **block))))
        self.out = nn.Conv2d(channels[0], out_channels, 5, padding=2)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.out(self.decoder(self.middle(self.encoder(self.first(images))))))


@dataclass(frozen=True)
class ResNetConfig:
    """What rebuilds a one-shot generator from its card."""

    channels: tuple[int, ...] = (16, 24, 32)
    res_blocks: int = 6
    n_sources: int = 2
    thickness: int = 1
    out_slices: int = 1
    kind: ClassVar[str] = "resnet"

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.channels) - 1)

    def build(self) -> nn.Module:
        return OneShot(self)


class OneShot(ResNet):
    """A generator called like every net: it sees the sources of the slabs, neither x_t nor the time."""

    def __init__(self, config: ResNetConfig):
        super().__init__(config.n_sources * config.thickness, config.out_slices, config.channels, config.res_blocks)
        self.thickness = config.thickness

    def forward(self, slabs: Tensor, times: Tensor | None = None) -> Tensor:
        return super().forward(slabs[:, self.thickness :])
