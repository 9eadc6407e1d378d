"""ResViT, a GAN whose generator has convolutions and transformers in its middle: a rival of YODA (III-E).

Dalmaz, Yurt and Cukur (2022), arXiv 2106.16031, as a single-task model. Two differences from the authors' code: no
batch norm, which would tie the slices of a batch to each other (residual branches start at zero in its place), and
learned positions are stretched to the slice, since windows of training are smaller than slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import zeroed
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.training.pairs import absolute, paired_gan
from yoda_nb.training.rows import Training, base, deciding

TITLE = "ResViT (Dalmaz et al. 2022)"


@dataclass(frozen=True)
class ResViTConfig(Config):
    """What rebuilds a generator from its card."""

    channels: tuple[int, int, int] = (12, 24, 32)  # of the encoder: at whole, half and a quarter of the sides
    inner: tuple[int, int] = (40, 48)  # at an eighth and a sixteenth, on the way to the transformer
    width: int = 48  # of a token
    depth: int = 2
    heads: int = 4
    blocks: int = 9
    transformers: tuple[int, ...] = (1, 6)  # which of the blocks have one, from 1 on
    kind: ClassVar[str] = "resvit"
    divisor: ClassVar[int] = 16

    def build(self) -> nn.Module:
        return ResViT(self)


AUTHORS = ResViTConfig(channels=(64, 128, 256), inner=(512, 1024), width=768, depth=12, heads=12)


class ResViT(nn.Module):
    """Encoder, nine blocks of which two are aggregated residual transformers, decoder; in (-1,1).

    slabs (N, 1 + n_sources, A, B)[, times] -> (N,1,A,B), A and B multiples of 16; x_t and times are not looked at.
    One transformer serves both blocks (the paper's weight sharing); all else is each block's own.
    """

    def __init__(self, config: ResViTConfig):
        super().__init__()
        c, (outer, half, quarter) = config, config.channels
        self.encoder = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(c.n_sources, outer, 7), nn.ReLU()),
            *_shrinking(outer, half),
            *_shrinking(half, quarter),
        )
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 4 * c.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, c.depth, nn.LayerNorm(c.width), enable_nested_tensor=False)
        self.aggregated = nn.ModuleDict({str(k): Aggregated(c) for k in c.transformers})
        self.blocks = nn.ModuleDict({str(k): Residual(quarter) for k in range(1, c.blocks + 1)})
        self.decoder = nn.Sequential(
            *_growing(quarter, half),
            *_growing(half, outer),
            *(nn.ReflectionPad2d(3), nn.Conv2d(outer, c.out_slices, 7), nn.Tanh()),
        )

    def forward(self, slabs: Tensor, times: Tensor | None = None) -> Tensor:
        h = self.encoder(slabs[:, 1:])
        for k, residual in self.blocks.items():
            if k in self.aggregated:
                h = self.aggregated[k](h, self.transformer)
            h = residual(h)
        return self.decoder(h)


class Aggregated(nn.Module):
    """What a transformer makes of (N,C,a,b), beside it, compressed to C channels (the paper's eq. 1-6)."""

    def __init__(self, config: ResViTConfig):
        super().__init__()
        channels, (first, second), width = config.channels[-1], config.inner, config.width
        self.down = nn.Sequential(*_shrinking(channels, first), *_shrinking(first, second))
        self.embed = nn.Conv2d(second, width, 1)  # a token is a patch of one position
        self.positions = nn.Parameter(torch.zeros(1, width, 4, 4))
        self.up = nn.Sequential(*_growing(width, first), *_growing(first, channels))
        self.compress = nn.Conv2d(2 * channels, channels, 1)
        self.mix = Residual(channels)

    def forward(self, h: Tensor, transformer: nn.Module) -> Tensor:
        patches = self.embed(self.down(h))
        a, b = patches.shape[2:]
        positions = F.interpolate(self.positions, (a, b), mode="bilinear", align_corners=False)
        tokens = transformer((patches + positions).flatten(2).transpose(1, 2))  # (N,a*b,width)
        context = self.up(tokens.transpose(1, 2).unflatten(2, (a, b)))
        return self.mix(self.compress(torch.cat([context, h], 1)))


class Residual(nn.Sequential):
    """Two convolutions with a shortcut; the identity at first."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def _shrinking(channels: int, out: int) -> tuple[nn.Module, nn.Module]:
    """Half the sides."""
    return nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.ReLU()


def _growing(channels: int, out: int) -> tuple[nn.Module, nn.Module]:
    """Double the sides."""
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1), nn.ReLU()


# the authors weigh the distance 100 to 1: Adam does not see the common factor
RESVIT = paired_gan(
    "resvit", lambda config: Discriminator(config.net.n_sources + 1, (16, 48, 64)), absolute, adversarial=0.01
)
NETS = (ResViTConfig,)
TRAININGS = {
    "resvit": Training(
        "ResViT", base(ResViTConfig(), method=RESVIT, n_train=1, prediction="x0", betas=(0.5, 0.999)), bits=8
    )
}
TRAININGS |= deciding(TRAININGS, "resvit", best=7e-4)
SYSTEMS = (
    System(
        "resvit",
        "convolutions and transformers in one step, trained against a critic of pairs",
        "Dalmaz et al. 2022, arXiv 2106.16031; competitor of YODA",
        VP(),
        weights="systems/resvit",
        views=(AXIAL,),
    ),
)
