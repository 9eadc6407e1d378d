"""Transformers as denoisers: U-ViT, a U-Net whose middle is a transformer, and DiT [Koch 3.2]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import (
    Down,
    ResBlock,
    RMSNorm,
    SwiGLU,
    TimeEmbedding,
    TransformerBlock,
    Up,
    norm_layer,
    run_blocks,
    sinusoids,
    zeroed,
)
from yoda_papers.backbones.wavelet import decompose, reconstruct


@dataclass(frozen=True)
class UViTConfig(Config):
    """A U-Net of wavelet coefficients with a transformer in its middle."""

    channels: tuple[int, ...] = (24, 48)  # of the convolutional levels, each half as wide as the one before
    res_blocks: int = 2
    width: int = 64  # of the transformer, one level below the last
    depth: int = 4
    heads: int = 4
    ratio: float = 8 / 3  # hidden width of SwiGLU, in widths
    norm: str = "rms"
    groups: int = 8
    embedding: int = 64
    time_scale: float = 1.0
    kind: ClassVar[str] = "uvit"

    @property
    def divisor(self) -> int:
        return 2 ** (1 + len(self.channels))  # the wavelet halves too

    def build(self) -> nn.Module:
        return UViT(self)


@dataclass(frozen=True)
class DiTConfig(Config):
    """A transformer of patches; with ``wavelet`` its patches are of wavelet coefficients."""

    patch: int = 4  # side in pixels, even with a wavelet
    width: int = 80
    depth: int = 4
    heads: int = 4
    ratio: float = 2.0
    wavelet: bool = False  # the paper's remedy for patch artefacts (4.1)
    embedding: int = 64
    time_scale: float = 1.0
    kind: ClassVar[str] = "dit"

    @property
    def divisor(self) -> int:
        return self.patch

    def build(self) -> nn.Module:
        return DiT(self)


class UViT(nn.Module):
    """Wavelet, residual blocks down, transformer, residual blocks up with skips, inverse wavelet.

    slabs (N, (1 + n_sources) * thickness, A, B), times (N,) -> (N, out_slices, A, B); A and B
    multiples of ``divisor``. (Hoogeboom et al. 2023; Koch, 3.2)
    """

    def __init__(self, config: UViTConfig):
        super().__init__()
        self.config = c = config
        inner = (*c.channels, c.width)
        self.time = TimeEmbedding(c.embedding, c.time_scale)
        self.first = nn.Conv2d(4 * (1 + c.n_sources) * c.thickness, inner[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(c, w, w) for w in c.channels)
        self.shrink = nn.ModuleList(Down(a, b) for a, b in zip(inner[:-1], inner[1:], strict=True))
        self.middle = transformer(c.width, c.depth, c.heads, c.embedding, c.ratio)
        self.grow = nn.ModuleList(Up(b, a) for a, b in zip(inner[:-1], inner[1:], strict=True))
        self.up = nn.ModuleList(_blocks(c, 2 * w, w) for w in c.channels)
        self.out = nn.Sequential(
            norm_layer(c.norm, inner[0], c.groups), nn.SiLU(), nn.Conv2d(inner[0], 4 * c.out_slices, 3, padding=1)
        )

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        embedding = self.time(times)
        h, skips = self.first(decompose(slabs)), []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            h = run_blocks(blocks, h, embedding)
            skips.append(h)
            h = shrink(h)
        h = run_tokens(self.middle, h, embedding)
        for blocks, grow in reversed(list(zip(self.up, self.grow, strict=True))):
            h = run_blocks(blocks, torch.cat([grow(h), skips.pop()], 1), embedding)
        return reconstruct(self.out(h).float())


class DiT(nn.Module):
    """Patches to tokens, adaLN-zero transformer, tokens to patches; zero at first.

    slabs (N, (1 + n_sources) * thickness, A, B), times (N,) -> (N, out_slices, A, B); A and B
    multiples of ``patch``. (Peebles and Xie 2023; Koch, 3.2)
    """

    def __init__(self, config: DiTConfig):
        super().__init__()
        self.config = c = config
        if c.patch % (2 if c.wavelet else 1):
            raise ValueError(f"patches of wavelet coefficients have an even side in pixels, got {c.patch}")
        # a wavelet has four bands at half the size: as many numbers in a patch
        side, bands = (c.patch // 2, 4) if c.wavelet else (c.patch, 1)
        area = bands * side**2
        self.time = TimeEmbedding(c.embedding, c.time_scale)
        self.cut = nn.Sequential(nn.PixelUnshuffle(side), nn.Conv2d((1 + c.n_sources) * c.thickness * area, c.width, 1))
        self.middle = transformer(c.width, c.depth, c.heads, c.embedding, c.ratio)
        self.norm = RMSNorm(c.width)
        self.modulate = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(c.embedding, 2 * c.width)))
        self.join = nn.Sequential(zeroed(nn.Conv2d(c.width, c.out_slices * area, 1)), nn.PixelShuffle(side))

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        embedding = self.time(times)
        h = self.cut(decompose(slabs) if self.config.wavelet else slabs)
        h = run_tokens(self.middle, h, embedding)
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, 1)
        h = self.join(self.norm(h) * (1 + scale) + shift).float()
        return reconstruct(h) if self.config.wavelet else h


def transformer(width: int, depth: int, heads: int, embedding: int, ratio: float) -> nn.ModuleList:
    """``depth`` adaLN-zero blocks, the identity at first."""
    blocks = [TransformerBlock(width, heads, embedding) for _ in range(depth)]
    for block in blocks:
        block.branches[1] = SwiGLU(width, ratio)
    return nn.ModuleList(blocks)


def run_tokens(blocks: nn.ModuleList, h: Tensor, embedding: Tensor) -> Tensor:
    """Run a transformer over the pixels of (N,C,a,b), with their positions added; the same shape."""
    _, width, a, b = h.shape
    tokens = h.flatten(2).transpose(1, 2) + positions(a, b, width, h.device)  # (N,a*b,C)
    return run_blocks(blocks, tokens, embedding).transpose(1, 2).unflatten(2, (a, b))


def positions(a: int, b: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sinusoids of row and column, counted from the middle: (a*b, width), width a multiple of 4."""
    rows, columns = (torch.arange(n, device=device) - n // 2 for n in (a, b))
    grid = [each.flatten() for each in torch.meshgrid(rows, columns, indexing="ij")]
    return torch.cat([sinusoids(each, width // 2, longest=100.0) for each in grid], 1)


def _blocks(c: UViTConfig, width: int, out: int) -> nn.ModuleList:
    """The residual blocks of one level."""
    return nn.ModuleList(
        ResBlock(width if k == 0 else out, out, c.embedding, c.norm, c.groups) for k in range(c.res_blocks)
    )
