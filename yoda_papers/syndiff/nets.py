"""Nets of SynDiff: its diffusive U-Net and the one-shot ResNet generator.

All of them work at half the sides of their images: 2 x 2 voxels become channels on the way in and
back on the way out, which loses nothing and leaves a quarter of the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import Down, Up, zeroed
from yoda_nb.nets.unet import UNetConfig


@dataclass(frozen=True)
class HalfUNetConfig(Config):
    """What rebuilds a diffusive generator from its card [SynDiff IV-B.1]."""

    channels: tuple[int, ...] = (24, 32, 48)  # from half the sides downwards
    res_blocks: int = 1
    latent: int = 32  # size of the random latent; the paper: 256
    time_scale: float = 1.0
    conditional: bool = True  # without, the sources given are ignored
    kind: ClassVar[str] = "half-unet"

    @property
    def divisor(self) -> int:
        return 2 ** len(self.channels)

    def build(self) -> nn.Module:
        return HalfUNet(self)


class HalfUNet(nn.Module):
    """The shared U-Net on 2 x 2 voxels at a time, with a time and a random latent.

    slabs (N, (1 + n_sources) * thickness, A, B), times (N,)[, latent (N,L)] -> (N,out_slices,A,B).
    """

    def __init__(self, config: HalfUNetConfig):
        super().__init__()
        self.seen = (1 + config.n_sources * config.conditional) * config.thickness
        self.unet = UNetConfig(
            config.channels,
            (False,) * len(config.channels),
            config.res_blocks,
            time_scale=config.time_scale,
            n_sources=4 * self.seen - 1,
            out_slices=4 * config.out_slices,
            latent=config.latent,
        ).build()

    def forward(self, slabs: Tensor, times: Tensor, *, latent: Tensor | None = None) -> Tensor:
        halves = F.pixel_unshuffle(slabs[:, : self.seen], 2)
        return F.pixel_shuffle(self.unet(halves, times, latent=latent), 2)


@dataclass(frozen=True)
class BoundedUNetConfig(HalfUNetConfig):
    """A diffusive generator that ends in a tanh, as the authors' does; the paper's text does not say."""

    kind: ClassVar[str] = "half-unet-tanh"

    def build(self) -> nn.Module:
        return BoundedUNet(self)


class BoundedUNet(HalfUNet):
    """As ``HalfUNet``; images in (-1,1)."""

    def forward(self, slabs: Tensor, times: Tensor, *, latent: Tensor | None = None) -> Tensor:
        return torch.tanh(super().forward(slabs, times, latent=latent))


class ResNet(nn.Module):
    """Encoder, residual blocks, decoder: (N,in,A,B) -> (N,out,A,B), in (-1,1), in one step.

    The backbone of the non-diffusive generators of SynDiff (IV-B.1), with a shortcut at half the sides
    that the paper's does not have: without it the short training here left images blurred. A and B are
    multiples of 4.
    """

    def __init__(self, in_channels: int, out_channels: int, channels: tuple[int, int], res_blocks: int):
        super().__init__()
        outer, inner = channels
        self.encoder = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * in_channels, outer, 3, padding=1))
        self.middle = nn.Sequential(
            nn.ReLU(), Down(outer, inner), *(PlainBlock(inner) for _ in range(res_blocks)), Up(inner, outer)
        )
        self.decoder = nn.Sequential(
            PlainBlock(outer), nn.ReLU(), nn.Conv2d(outer, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, images: Tensor) -> Tensor:
        fine = self.encoder(images)
        return torch.tanh(self.decoder(fine + self.middle(fine)))


class PlainBlock(nn.Module):
    """Two convolutions with a shortcut and no normalisation; starts as the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


@dataclass(frozen=True)
class ResNetConfig(Config):
    """What rebuilds a one-shot generator from its card."""

    channels: tuple[int, int] = (24, 32)  # at a half and a quarter of the sides
    res_blocks: int = 6
    kind: ClassVar[str] = "resnet"

    @property
    def divisor(self) -> int:
        return 4

    def build(self) -> nn.Module:
        return OneShot(self)


class OneShot(ResNet):
    """A generator called like every net: it sees the sources of the slabs, neither x_t nor the time."""

    def __init__(self, config: ResNetConfig):
        super().__init__(config.n_sources * config.thickness, config.out_slices, config.channels, config.res_blocks)
        self.thickness = config.thickness

    def forward(self, slabs: Tensor, times: Tensor | None = None) -> Tensor:
        return super().forward(slabs[:, self.thickness :])
