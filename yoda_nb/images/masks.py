"""Shapes of masks: bool (D, H, W), distances in mm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FEW = 16  # positive whole numbers that a map of labels may hold and a scaled probability does not
PLATEAU = 0.4  # of a probability's voxels lie near its top, of a map of labels or an image few


def as_mask(values: np.ndarray) -> tuple[np.ndarray, str]:
    """What a file that stands for a mask means: bool (D, H, W), and how it was taken where it is not plainly a mask.

    Above 0 where one positive value is all there is, where whole numbers are labels, and of an image without its
    skull.  A probability, up to 1 or scaled (to 100, to 255), and a mask that was interpolated are cut at half.
    """
    inside = values > 0
    kinds = np.unique(values[inside])
    if len(kinds) < 2:
        return inside, ""
    top, whole = float(kinds[-1]), bool((kinds == np.round(kinds)).all())
    shares = not whole and top <= 1.5
    scaled = not shares and len(kinds) > FEW and np.mean(values[inside] >= 0.9 * top) > PLATEAU
    if shares or scaled:
        half = 0.5 if shares else top / 2
        cut = values > half
        changed = cut.sum() != inside.sum()
        return cut, f"holds fractions, not 0 and 1: it was cut at {half:g}." if changed else ""
    if whole:
        return inside, f"holds {len(kinds)} labels: all above 0 count as inside."
    return inside, "holds the values of an image, not of a mask: all above 0 count as inside."


def solid_part(mask: np.ndarray) -> np.ndarray:
    """Largest connected component with its holes filled; bool (D, H, W), empty stays empty."""
    labels, count = ndimage.label(mask)
    if count > 1:
        mask = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return ndimage.binary_fill_holes(mask)


def grown(mask: np.ndarray, affine: np.ndarray, rim: float = 5.0) -> np.ndarray:
    """A mask (D, H, W) and all within ``rim`` mm of it; bool."""
    if not mask.any():
        return mask
    return ndimage.distance_transform_edt(~mask, sampling=_voxel(affine)) <= rim


def shrunk(mask: np.ndarray, affine: np.ndarray, rim: float) -> np.ndarray:
    """A mask (D, H, W) without all within ``rim`` mm of its outside; bool."""
    if mask.all():
        return mask
    return ndimage.distance_transform_edt(mask, sampling=_voxel(affine)) > rim


def _voxel(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def millilitres(mask: np.ndarray, affine: np.ndarray) -> float:
    """Volume of a mask (D, H, W), bool, whose ``affine`` (4, 4) leads to mm."""
    return float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
