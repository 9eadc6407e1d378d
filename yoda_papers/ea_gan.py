"""Ea-GAN, a 3D GAN that compares edges too: a rival of YODA (III-E).

Yu et al. (2019), IEEE TMI 38(7), doi 10.1109/TMI.2019.2895894. gEa-GAN lowers the distance of edge maps, dEa-GAN
shows them to the critic as well. Patches of a volume come as thick slabs, so training and sampling are those of all
nets: overlapping patches are averaged. Weights are those that YODA's authors trained with (300 for voxels, 100
for edges, which the paper raises over its first epochs, to 1 for the critic). No batch norm, which would tie patches
to each other, and labels of the critic are not smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.nets.base import PatchConfig
from yoda_nb.nets.discriminator import Discriminator3D
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.pairs import absolute, as_volumes, paired_gan
from yoda_nb.training.rows import Training, base, deciding

TITLE = "Ea-GAN (Yu et al. 2019)"
EDGES, ADVERSARIAL = 100 / 300, 1 / 300  # beside the distance of voxels


@dataclass(frozen=True)
class UNet3DConfig(PatchConfig):
    """What rebuilds a generator from its card."""

    channels: tuple[int, ...] = (8, 16, 32, 32)  # each level at half the sides of the one before
    kind: ClassVar[str] = "unet-3d"

    @property
    def divisor(self) -> int:
        return 2 ** len(self.channels)

    def build(self) -> nn.Module:
        return UNet3D(self)


AUTHORS = UNet3DConfig(channels=(64, 128, 256, 512, 512, 512, 512), thickness=127, out_slices=127)


class UNet3D(nn.Module):
    """A 3D U-Net of strided convolutions: slabs (N, (1 + n_sources) * S, A, B)[, times] -> (N,S,A,B), in (-1,1).

    x_t and times are not looked at. S slices are filled up to a multiple of ``divisor`` by the last one.
    """

    def __init__(self, config: UNet3DConfig):
        super().__init__()
        self.config, widths = config, config.channels
        above = (config.n_sources, *widths[:-1])
        self.down = nn.ModuleList(nn.Conv3d(a, b, 4, stride=2, padding=1) for a, b in zip(above, widths, strict=True))
        into = (widths[0], *widths[:-1])  # what each level gives to the one above it
        double = (*(2 * w for w in widths[:-1]), widths[-1])  # all but the last are given what lies below
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(a, b, 4, stride=2, padding=1) for a, b in zip(double, into, strict=True)
        )
        self.out = nn.Conv3d(widths[0], 1, 5, padding=2)

    def forward(self, slabs: Tensor, times: Tensor | None = None) -> Tensor:
        c = self.config
        h = slabs[:, c.thickness :].unflatten(1, (c.n_sources, c.thickness))  # (N,C,S,A,B)
        lack = -c.thickness % c.divisor
        h, kept = F.pad(h, (0, 0, 0, 0, 0, lack), mode="replicate"), []
        for k, down in enumerate(self.down):
            h = down(F.leaky_relu(h, 0.2) if k else h)
            kept.append(h)
        h = kept.pop()
        for up in reversed(self.up):
            h = up(F.relu(h))
            h = torch.cat([h, kept.pop()], 1) if kept else h
        return torch.tanh(self.out(h))[:, 0, : c.thickness]


def edges(images: Tensor) -> Tensor:
    """Edge maps (N,S,A,B) of patches in [-1,1], in [-1,1): 2 tanh(g) - 1, g the length of Sobel's gradient over 4.

    Sobel's filter of an axis is the difference along it, smoothed by (1, 2, 1) along both others; around the patch
    lies background, -1 (the paper's eq. 4-5, scaled as in the authors' code).
    """
    smooth, slope = images.new_tensor([1.0, 2.0, 1.0]), images.new_tensor([1.0, 0.0, -1.0])
    parts = [[slope if k == axis else smooth for k in range(3)] for axis in range(3)]
    filters = torch.stack([torch.einsum("i,j,k->ijk", *each) for each in parts])[:, None]  # (3,1,3,3,3)
    gradient = F.conv3d(F.pad(images[:, None], (1,) * 6, value=-1.0), filters) / 4
    length = gradient.square().sum(1).clamp_min(1e-12).sqrt()  # a root has no slope at 0
    return 2 * torch.tanh(length) - 1


def distance(made: Tensor, acquired: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of voxels (N,S,A,B), and a third of that of edges."""
    return absolute(made, acquired, weight) + EDGES * absolute(edges(made), edges(acquired), weight)


def volumes_and_edges(images: Tensor, sources: Tensor) -> Tensor:
    """As ``as_volumes``, and the images' edges: (N,C+2,S,A,B)."""
    return torch.cat([as_volumes(images, sources), edges(images)[:, None]], 1)


def _critic(more: int):
    def critic(config: TrainConfig) -> nn.Module:
        return Discriminator3D(config.net.n_sources + more)

    return critic


DEA_GAN = paired_gan("dea-gan", _critic(2), distance, ADVERSARIAL, volumes_and_edges)
GEA_GAN = paired_gan("gea-gan", _critic(1), distance, ADVERSARIAL, as_volumes)
_SETTINGS = {"n_train": 1, "prediction": "x0", "betas": (0.5, 0.999)}

NETS = (UNet3DConfig,)
TRAININGS = {
    "dea-gan": Training("dEa-GAN", base(UNet3DConfig(), method=DEA_GAN, **_SETTINGS), bits=8),
    "gea-gan": Training("gEa-GAN", base(UNet3DConfig(), method=GEA_GAN, **_SETTINGS), bits=8),
}
TRAININGS |= deciding(TRAININGS, "dea-gan", best=6e-3)
_DEA_GAN = System(
    "dea-gan",
    "3D U-Net in one step, trained against a critic of volumes and their edges",
    "Yu et al. 2019, doi 10.1109/TMI.2019.2895894; competitor of YODA",
    VP(),
    weights="systems/dea-gan",
    views=(AXIAL,),
)
SYSTEMS = (
    _DEA_GAN,
    replace(
        _DEA_GAN,
        name="gea-gan",
        summary="3D U-Net in one step that lowers the distance of edges too, against a critic of volumes",
        weights="systems/gea-gan",
    ),
)
