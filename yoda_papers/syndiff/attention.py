"""Generators with attention for the cycle GAN, rivals of SynDiff: AttGAN (IV-B.5) and SAGAN (IV-B.6).

Both work at half the sides of their images, see the sources of the slabs alone and have no norm, as ``nets.OneShot``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import Down, Up
from yoda_papers.syndiff.nets import OneShot, PlainBlock, ResNetConfig


@dataclass(frozen=True)
class AttentionUNetConfig(Config):
    """What rebuilds AttGAN's generator from its card."""

    channels: tuple[int, ...] = (24, 32, 48)  # from half the sides downwards
    kind: ClassVar[str] = "attention-unet"

    @property
    def divisor(self) -> int:
        return 2 ** len(self.channels)

    def build(self) -> nn.Module:
        return AttentionUNet(self)


class AttentionUNet(nn.Module):
    """A U-Net whose skips are weighed by what lies below: slabs (N, (1 + n_sources) * S, A, B) -> (N,out_slices,A,B).

    Images are in (-1,1).
    """

    def __init__(self, config: AttentionUNetConfig):
        super().__init__()
        self.thickness, widths = config.thickness, config.channels
        self.first = nn.Conv2d(4 * config.n_sources * config.thickness, widths[0], 3, padding=1)
        steps = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(PlainBlock(width) for width in widths)
        self.down = nn.ModuleList(Down(a, b) for a, b in steps)
        self.up = nn.ModuleList(Up(b, a) for a, b in steps)
        self.gates = nn.ModuleList(AttentionGate(a) for a, _ in steps)
        self.join = nn.ModuleList(nn.Sequential(nn.Conv2d(2 * a, a, 3, padding=1), PlainBlock(a)) for a, _ in steps)
        self.out = nn.Sequential(nn.ReLU(), nn.Conv2d(widths[0], 4 * config.out_slices, 3, padding=1))

    def forward(self, slabs: Tensor, times: Tensor | None = None) -> Tensor:
        h, skips = self.first(F.pixel_unshuffle(slabs[:, self.thickness :], 2)), []
        for block, down in zip(self.encoder, self.down, strict=False):
            skips.append(block(h))
            h = down(skips[-1])
        h = self.encoder[-1](h)
        for up, gate, join in reversed(list(zip(self.up, self.gates, self.join, strict=True))):
            h, skip = up(h), skips.pop()
            h = join(torch.cat([gate(skip, h), h], 1))
        return torch.tanh(F.pixel_shuffle(self.out(h), 2))


class AttentionGate(nn.Module):
    """A skip (N,C,a,b) times its weights in (0,1), which tell from it and the signal below what matters.

    sigmoid(psi relu(W_x x + W_g g)) (Oktay et al. 2018, arXiv 1804.03999, eq. 1-2), the signal at the skip's sides.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.of_skip, self.of_signal = nn.Conv2d(channels, inner, 1, bias=False), nn.Conv2d(channels, inner, 1)
        self.psi = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: Tensor, signal: Tensor) -> Tensor:
        return skip * torch.sigmoid(self.psi(F.relu(self.of_skip(skip) + self.of_signal(signal))))


@dataclass(frozen=True)
class AttentiveResNetConfig(ResNetConfig):
    """What rebuilds SAGAN's generator from its card: self-attention in the last ``attentive`` residual blocks."""

    attentive: int = 2
    kind: ClassVar[str] = "resnet-attention"

    def build(self) -> nn.Module:
        return AttentiveOneShot(self)


class AttentiveOneShot(OneShot):
    """As ``OneShot``, with self-attention after each of its last residual blocks."""

    def __init__(self, config: AttentiveResNetConfig):
        super().__init__(config)
        at, width = 2 + config.res_blocks - config.attentive, config.channels[1]
        for block in range(at, 2 + config.res_blocks):
            self.middle[block] = nn.Sequential(self.middle[block], PixelSelfAttention(width))


class PixelSelfAttention(nn.Module):
    """x + gamma o, o a mean of all pixels' values by softmax(f^T g) (Zhang et al. 2019, eq. 1-3); gamma starts at 0."""

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8)
        self.f, self.g = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.h, self.v = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (layer(x).flatten(2).transpose(1, 2) for layer in (self.f, self.g, self.h))  # (N,L,inner)
        o = F.scaled_dot_product_attention(g, f, h, scale=1.0)
        return x + self.gamma * self.v(o.transpose(1, 2).unflatten(2, x.shape[2:]))


class Spectral(nn.Module):
    """A kernel over its largest singular value, as a matrix of one row for each of its outputs (Miyato et al. 2018).

    The value itself in place of a power iteration, which would be a state that changes with every call.
    """

    def forward(self, weight: Tensor) -> Tensor:
        return weight / torch.linalg.matrix_norm(weight.flatten(1), 2)


def spectral(net: nn.Module) -> nn.Module:
    """A net with all its convolutions spectrally normalised."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", Spectral())
    return net
