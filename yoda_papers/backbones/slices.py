"""Sampling slice by slice, at the size of training where asked for [Koch 3.6]."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from yoda_nb.diffusion.process import Denoiser
from yoda_nb.diffusion.system import Job, Process
from yoda_nb.diffusion.vp import VP
from yoda_nb.errors import InputError


@dataclass(frozen=True)
class Slices(VP):
    """The variance-preserving process; with ``slice_size`` on slices resampled to it [Koch 3.6].

    The slices of the region of interest are resampled to that side in both directions and the last
    x0 is resampled back, both by prefiltered cubic splines. InputError for several views or a side
    that the net cannot take.
    """

    slice_size: int = 0  # resample slices to this side and back, 0 for not

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slice_size < 0:
            raise InputError(f"slice_size must be at least 0, got {self.slice_size}.")

    def process(self, job: Job) -> Process:
        side, views, divisor = self.slice_size, job.spec.views, job.model.config.divisor
        if not side:
            return super().process(job)
        if len(views) != 1 or side % divisor:
            raise InputError(
                f"{job.spec.name} resamples slices of one view to a multiple of {divisor}, "
                f"got slice_size {side} and views {views}."
            )
        axis, cut = views[0], job.cut
        small = replace(
            cut,
            source=resize_slices(cut.source, axis, (side, side)),
            mask=resize_slices(cut.mask, axis, (side, side), order=0),
        )
        process = super().process(replace(job, cut=small))
        return replace(process, denoise=_restored(process.denoise, len(process.pairs) - 1, axis, cut.mask))


def resize_slices(volume: Tensor, axis: int, sides: tuple[int, int], order: int = 3) -> Tensor:
    """Resample every slice along ``axis`` to ``sides``: (C,D,H,W) -> the same with two sizes changed.

    Faces of the outermost voxels stay where they are; splines of ``order`` 1 or more stay within the
    range of the volume. Slices do not mix.
    """
    slices = volume.movedim(1 + axis, 1).cpu().numpy()  # (C,N,A,B)
    values = slices.astype(np.float32) if order else slices.astype(np.uint8)
    zoom = [new / old for new, old in zip(sides, slices.shape[2:], strict=True)]
    each = values.reshape(-1, *values.shape[2:])  # (C*N,A,B)
    moved = [ndimage.zoom(one, zoom, order=order, mode="nearest", grid_mode=True) for one in each]
    stacked = np.stack(moved).reshape(*values.shape[:2], *sides).clip(values.min(), values.max())
    return torch.from_numpy(stacked).to(volume.dtype).movedim(1, 1 + axis).to(volume.device)


def _restored(denoise: Denoiser, last: int, axis: int, mask: Tensor) -> Denoiser:
    """The denoiser whose last x0 comes back at the mask's size, background outside it."""

    def restored(x: Tensor, t: int, i: int) -> Tensor:
        x0 = denoise(x, t, i)
        if i < last:
            return x0
        sides = [n for k, n in enumerate(mask.shape[1:]) if k != axis]
        return torch.where(mask.to(x0.device), resize_slices(x0, axis, (sides[0], sides[1])), -1.0)

    return restored
