"""NIfTI in and out: orient, resample, normalise, crop, and every inverse.

Inside the package an image is a float32 tensor ``(C, D, H, W)`` in [-1, 1] whose axes run
right, anterior, superior (RAS+); background is -1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy import ndimage
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid, suffix, write_image
from yoda_nb.images.space import Box, crop, isotropic_grid, resample_like
from yoda_nb.images.units import HEAD_ROOM, USUAL_ROOM, WINDOWS, hounsfield

P = ParamSpec("P")
T = TypeVar("T")
UNKNOWN = "unknown"  # the subject of files that nobody has named
IMAGES = ("source", "mask", "target", "clean", "labels", "lesions")  # the tensors of a Volume


@dataclass(frozen=True)
class Volume:
    """One subject on one grid.

    All images share the spatial shape (D, H, W); ``affine`` maps its voxel indices to RAS+ mm.
    """

    source: Tensor  # (C, D, H, W) float32 in [-1, 1], one channel per source contrast
    mask: Tensor  # (1, D, H, W) bool, the brain, or the head where a CT is among the images
    affine: np.ndarray  # (4, 4)
    sources: tuple[str, ...]  # the contrast of each source channel, e.g. ("T1w", "T2w")
    contrast: str = "FLAIR"  # the contrast of the target
    subject: str = UNKNOWN
    target: Tensor | None = None  # (1, D, H, W) in [-1, 1], acquired or synthetic
    clean: Tensor | None = None  # (1, D, H, W) in [-1, 1], the target without noise (phantoms)
    labels: Tensor | None = None  # (1, D, H, W) uint8 tissue map, see phantom.TISSUES
    lesions: Tensor | None = None  # (1, D, H, W) bool
    sigma: float | None = None  # known acquisition noise on the [0, 1] scale
    grid: Grid | None = None  # the file the sources came from; None for phantoms
    spread: Tensor | None = None  # (1, D, H, W), how unsure ``target`` is: standard deviation on the [0, 1] scale
    doubts: tuple[str, ...] = ()  # what may be wrong with files, contrasts and mask, in sentences

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along D, H, W."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, d, h, w = self.source.shape
        return d, h, w


def required(volume: Volume, name: str) -> Tensor:
    """One of the volume's ``IMAGES``; InputError where it has none of that name."""
    image = getattr(volume, name)
    if image is None:
        raise InputError(f"{volume.subject} has no {name}, which is needed here: choose a subject that has one.")
    return image


def intensity_window(image: np.ndarray, mask: np.ndarray, contrast: str = "") -> tuple[float, float]:
    """(low, high) in the image's own units, mapped to -1 and 1 by :func:`normalise`.

    low is 0 for a magnitude image; where negative values are real (CT) it is their 0.1 percentile
    inside the mask.  high lies 40 % above the 99th percentile inside the mask of the image
    smoothed by one voxel (of a ``contrast`` of bright vessels more, ``units.HEAD_ROOM``): smoothing
    keeps noise from moving it, the head-room keeps bright tissue plus noise from being clipped.
    Raises InputError where the mask holds nothing to scale.
    """
    image = np.asarray(image, dtype=np.float32)
    if not mask.any():
        raise InputError("the brain mask is empty: pass one that covers the brain with --mask.")
    low = min(0.0, float(np.percentile(image[mask], 0.1)))
    bright = float(np.percentile(ndimage.gaussian_filter(image, 1.0)[mask], 99))
    if not bright > low:
        raise InputError("the image is constant inside the brain mask: check image and mask.")
    return low, low + HEAD_ROOM.get(contrast, USUAL_ROOM) * (bright - low)


def normalise(image: np.ndarray, mask: np.ndarray, contrast: str = "") -> np.ndarray:
    """Any units -> float32 in [-1, 1] by :func:`intensity_window`, clipped; -1 outside the mask.

    A ``contrast`` in Hounsfield units has a window of its own, the same for every image (``units.WINDOWS``).
    """
    if hounsfield(contrast) and (inside := np.asarray(image)[mask]).size and inside.min() >= 0:
        raise InputError(
            f"a {contrast} is in Hounsfield units, where air is -1000, but nothing here is below 0: rescale the file."
        )
    low, high = WINDOWS.get(contrast) or intensity_window(image, mask, contrast)
    scaled = 2 * (np.asarray(image, dtype=np.float32) - low) / (high - low) - 1
    return np.where(mask, np.clip(scaled, -1, 1), -1).astype(np.float32)


def conform(volume: Volume, spacing: float) -> Volume:
    """Resample to isotropic ``spacing`` mm on an RAS axis-aligned grid over the same field of view.

    Images by cubic splines after a Gaussian against aliasing, masks and labels to the nearest
    voxel; -1 outside.  A volume already on such a grid is returned as it is.  ``sigma`` and
    ``spread`` become None, for resampling changes the noise; ``grid`` stays, so results can be saved onto the file.
    """
    affine, shape = isotropic_grid(volume.affine, volume.shape, spacing)
    if affine is volume.affine:
        return volume
    return replace(
        volume, affine=affine, sigma=None, spread=None, **_each(volume, lambda x: _moved(x, volume, affine, shape))
    )


def crop_volume(volume: Volume, box: Box) -> Volume:
    """Every image of ``volume`` cut to ``box``; the affine's origin moves along."""
    affine = volume.affine.copy()
    affine[:3, 3] = apply_affine(volume.affine, [side.start for side in box])
    spread = None if volume.spread is None else crop(volume.spread, box)
    return replace(volume, affine=affine, spread=spread, **_each(volume, lambda x: crop(x, box)))


def save_image(
    x: Tensor, volume: Volume, path: str | Path, *, window: tuple[float, float] | None = None, made: str = ""
) -> None:
    """Write an image of ``volume``'s grid as float32 onto the file grid it came from.

    ``x`` (1, D, H, W) in [-1, 1]; -1 and 1 become the ends of ``window``: by default 0 and 1, or those of the
    volume's contrast where it is in Hounsfield units.  The file gets the shape, orientation, affine and codes of
    ``volume.grid`` (without one, the volume's own grid); ``made`` says in its header how a synthetic image was made.
    A cropped or merely turned volume goes back without interpolation.  The file appears whole or not at all.
    Raises InputError for a wrong shape, an ending other than .nii, .nii.gz or .mgz, values that are not finite, or a
    folder that cannot be written.
    """
    suffix(path)
    if tuple(x.shape) != (1, *volume.shape):
        wanted = (1, *volume.shape)
        raise InputError(f"{path} needs an image of shape {wanted}, got {tuple(x.shape)}.")
    grid = volume.grid or Grid(volume.shape, volume.affine)
    file = grid.canonical()
    low, high = window or WINDOWS.get(volume.contrast, (0.0, 1.0))
    image = _moved(x.detach().float().cpu(), volume, file.affine, file.shape)[0]
    write_image((low + (high - low) * (image + 1) / 2).numpy(), grid, path, made=made)


def about(path: Path, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call ``function``; an InputError it raises is told which file it is about."""
    try:
        return function(*arguments, **named)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _each(volume: Volume, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Field name -> changed tensor, for every image that the volume has."""
    return {name: change(x) for name in IMAGES if (x := getattr(volume, name)) is not None}


def _moved(x: Tensor, volume: Volume, affine: np.ndarray, shape: tuple[int, int, int]) -> Tensor:
    """(C, D, H, W) of ``volume`` -> (C, *shape): cubic for images, nearest for masks and labels."""
    if not x.is_floating_point():
        return resample_like(x, volume.affine, affine, shape, order=0, fill=0)
    moved = resample_like(x, volume.affine, affine, shape, order=3)
    if bool((x[:, ~volume.mask[0]] == -1).all()):  # cut to the brain: let no spline ring outside it
        mask = resample_like(volume.mask, volume.affine, affine, shape, order=0, fill=0)
        moved = torch.where(mask, moved, -1.0)
    return moved
