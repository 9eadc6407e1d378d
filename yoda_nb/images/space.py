"""Moving arrays between voxel grids: resample, region of interest, crop and its exact inverse."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy import ndimage
from torch import Tensor

from yoda_nb.errors import InputError

Box = tuple[slice, slice, slice]
LARGEST = 2**27  # voxels of a grid that is made: 512 cubed, half a gigabyte for each image on it
ROI_MARGIN_MM = (20, 10, 5)  # around the brain [YODA III-C, whose voxels are of 1 mm]


def resample_like(
    x: Tensor,
    affine: np.ndarray,
    to_affine: np.ndarray,
    to_shape: tuple[int, int, int],
    *,
    order: int,
    fill: float = -1.0,
) -> Tensor:
    """(C, D, H, W) on ``affine`` -> (C, *to_shape) on ``to_affine``; ``fill`` outside the view.

    Spline ``order`` 0 (nearest, any dtype, values kept) or more (float, kept within the range of
    x, smoothed first along axes that get coarser).  Grids that differ by whole voxels are copied.
    """
    step = np.linalg.inv(affine) @ to_affine  # index on the new grid -> index on the old one
    shift = np.round(step[:3, 3]).astype(int)
    if _is_shift(step, shift, to_shape):
        return _shifted(x, shift, to_shape, fill)
    array = x.detach().cpu().numpy()
    array = array.astype(np.float32) if order else array.astype(np.float64)
    inside = ndimage.affine_transform(  # true up to the faces of the outermost voxels
        np.ones(x.shape[1:], np.uint8),
        step[:3, :3],
        step[:3, 3],
        tuple(to_shape),
        order=0,
        mode="grid-constant",
        cval=0,
    ).astype(bool)
    coarser = np.linalg.norm(step[:3, :3], axis=1)  # new voxel size over old, along the old axes
    blur = np.sqrt(np.maximum(coarser**2 - 1, 0)) / 2.355 if order else np.zeros(3)  # FWHM to sigma
    moved = np.full((len(array), *to_shape), fill, array.dtype)
    for channel, out in zip(array, moved, strict=True):
        if blur.any():
            channel = ndimage.gaussian_filter(channel, blur, mode="nearest")
        values = ndimage.affine_transform(
            channel, step[:3, :3], step[:3, 3], tuple(to_shape), order=order, mode="nearest"
        )
        out[inside] = np.clip(values, channel.min(), channel.max())[inside]
    return torch.from_numpy(moved).to(x.dtype)


def isotropic_grid(affine: np.ndarray, shape: Sequence[int], spacing: float) -> tuple[np.ndarray, tuple[int, int, int]]:
    """(affine, shape) of the RAS axis-aligned grid of ``spacing`` mm over a grid's field of view.

    A grid that is already such a one stays.  Raises InputError for a spacing that is none, and for a grid too large.
    """
    d, h, w = (int(n) for n in shape)
    if not (spacing > 0 and np.isfinite(spacing)):
        raise InputError(f"spacing {spacing} is not a voxel size: give millimetres above 0.")
    if np.allclose(affine[:3, :3], spacing * np.eye(3), atol=1e-4 * spacing):
        return affine, (d, h, w)
    corners = apply_affine(affine, np.array(list(np.ndindex(2, 2, 2))) * (d, h, w) - 0.5)
    sides = np.ptp(corners, axis=0)
    check_size(sides / spacing, f"voxels of {spacing:g} mm over {' x '.join(f'{side:.0f}' for side in sides)} mm")
    d, h, w = (max(1, ceil(side / spacing - 1e-3)) for side in sides)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    grid = np.diag([spacing, spacing, spacing, 1.0])
    grid[:3, 3] = middle - spacing * (np.array((d, h, w)) - 1) / 2
    return grid, (d, h, w)


def check_size(shape: Sequence[float], what: str) -> None:
    """Refuse a grid of more than ``LARGEST`` voxels before anything is allocated; ``what`` says what asks for it."""
    count = float(np.prod(np.asarray(shape, float)))
    if not count <= LARGEST:
        sides = " x ".join(f"{side:.0f}" for side in shape)
        raise InputError(
            f"{what} would be {sides} voxels, {count:.2g} in all, above the limit of {LARGEST:.2g}: choose larger "
            "voxels, or check the voxel sizes in the header."
        )


def roi_box(mask: Tensor, margin: Sequence[float] = (20, 10, 5), multiple: int = 1) -> Box:
    """Bounding box of a mask (..., D, H, W), grown along D, H, W and clipped to the volume.

    The default is the paper's 5, 10 and 20 voxels along the axial, coronal and sagittal axes
    [YODA III-C], that is 20 along D, 10 along H, 5 along W; fractions round up.  Sides are
    widened to a ``multiple`` where the volume is long enough, and span the whole axis where not.
    Raises InputError for an empty mask.
    """
    inside = np.asarray(np.asarray(mask).reshape(-1, *mask.shape[-3:]).any(axis=0))
    if not inside.any():
        raise InputError("the mask is empty, so there is no region of interest: check the mask.")
    box: list[slice] = []
    for axis, grow in enumerate(margin):
        size = inside.shape[axis]
        hit = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        start, stop = max(hit[0] - ceil(grow), 0), min(hit[-1] + 1 + ceil(grow), size)
        length = min(-(-(stop - start) // multiple) * multiple, size)
        start = min(max(start - (length - (stop - start)) // 2, 0), size - length)
        box.append(slice(int(start), int(start + length)))
    return box[0], box[1], box[2]


def crop(x: Tensor, box: Box) -> Tensor:
    """(..., D, H, W) -> the part of it inside ``box``, as a view."""
    return x[..., *box]


def uncrop(x: Tensor, box: Box, shape: tuple[int, int, int], fill: float = -1.0) -> Tensor:
    """Inverse of :func:`crop`: (..., d, h, w) -> (..., *shape), ``fill`` outside (0 for masks)."""
    whole = x.new_full((*x.shape[:-3], *shape), fill)
    whole[..., *box] = x
    return whole


def _is_shift(step: np.ndarray, shift: np.ndarray, shape: tuple[int, int, int]) -> bool:
    """Whether ``step`` moves no corner of the grid by more than 1e-3 voxel from a whole shift."""
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(shape)
    return bool(np.abs(corners @ (step[:3, :3] - np.eye(3)).T + step[:3, 3] - shift).max() < 1e-3)


def _shifted(x: Tensor, shift: np.ndarray, shape: tuple[int, int, int], fill: float) -> Tensor:
    """(C, D, H, W) -> (C, *shape) with out[i] = x[i + shift] where that exists, else ``fill``."""
    out = x.new_full((len(x), *shape), fill)
    there, here = [slice(None)], [slice(None)]
    for by, size, new in zip(shift, x.shape[1:], shape, strict=True):
        length = max(min(size - max(by, 0), new - max(-by, 0)), 0)
        there.append(slice(max(by, 0), max(by, 0) + length))
        here.append(slice(max(-by, 0), max(-by, 0) + length))
    out[tuple(here)] = x[tuple(there)]
    return out
