"""What any translation must beat: images made with no more than a mean or three coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.training.recipes import training_phantoms

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

CONSTANT, LINE = "constant", "straight line"
FITTED_ON = 8  # of the phantoms that all rows are trained on: three coefficients need no more


@dataclass(frozen=True)
class Baselines:
    """Fitted inside the brains of training phantoms, images in [-1,1]."""

    mean: float  # of the target
    slopes: Tensor  # (C,) of the target on the sources, in their order
    intercept: float

    def images(self, v: Volume) -> dict[str, Tensor]:
        """Both images (1,D,H,W) in [-1,1] of a volume, -1 outside its mask."""
        line = torch.einsum("c,cdhw->dhw", self.slopes, v.source.double())[None] + self.intercept
        flat = torch.full_like(line, self.mean)
        each = {CONSTANT: flat, LINE: line.clamp(-1, 1)}
        return {label: torch.where(v.mask, image, -1.0).float() for label, image in each.items()}


def fitted(study: Study) -> Baselines:
    """The baselines of a study; the tests' profile fits them on two phantoms."""
    return _fitted(2 if study.profile == "tiny" else FITTED_ON)


@cache
def _fitted(n: int) -> Baselines:
    """The target's mean and its least-squares line over the voxels of ``n`` brains, each voxel alike.

    The line is fitted on pairs, which unpaired training never sees: nothing that is linear does better.
    """
    volumes = training_phantoms(n)
    sources = torch.cat([v.source[:, v.mask[0]].T for v in volumes]).double()  # (voxels, C)
    target = torch.cat([required(v, "target")[v.mask] for v in volumes]).double()
    known = torch.cat([sources, torch.ones_like(sources[:, :1])], 1)
    found = torch.linalg.lstsq(known, target[:, None]).solution[:, 0]
    return Baselines(float(target.mean()), found[:-1], float(found[-1]))
