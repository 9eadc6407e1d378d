"""Shapes of masks: bool (D, H, W), distances in mm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

FULL = 0.8  # that or more is the middle of a probability of 0 to 1, of an image on that scale less
FLAT = 0.3  # of the inside of a mask that was interpolated lies within 2 % of its middle, of an image less
ROUGH = 0.03  # how much a voxel of a scaled probability differs from those around it, of its middle; of an image more
RIM = 0.25  # of its middle is what its outermost voxels have at most; of an image 0.29 and more, of labels 0.5
LEVELS = (9, 1500)  # in whole numbers it has so many of them at least, and none above


def as_mask(values: np.ndarray, *, may_be_image: bool = True) -> tuple[np.ndarray, str]:
    """What a file that stands for a mask means: bool (D, H, W), and how it was taken where it is not plainly a mask.

    Above 0 where one positive value is all there is, where whole numbers are labels, and of an image without its
    skull.  A probability, up to 1 or scaled (to 100, to 255), and a mask that was interpolated are cut at half.
    Fractions that look like an image (``may_be_image``: not of lesions, which are few) are not.
    """
    inside = values > 0
    kinds = np.unique(values[inside])
    if len(kinds) < 2:
        return inside, ""
    top, whole = float(kinds[-1]), bool((kinds == np.round(kinds)).all())
    shares = not whole and top <= 1.5
    body = values > 0.1 * top
    middle = float(np.median(values[body]))
    scaled = not whole or (LEVELS[0] <= len(kinds) and top <= LEVELS[1])
    flat = bool(np.mean(np.abs(values[body] - middle) <= 0.02 * middle) > FLAT)
    if (shares and (middle >= FULL or not may_be_image)) or (
        scaled and _rises(values, inside, middle) and (flat or _is_smooth(values, body))
    ):
        overshot = flat and top > 1.1 * middle  # as splines do
        half = 0.5 if shares else (middle if overshot else top) / 2
        cut = values > half
        return cut, f"holds fractions, not 0 and 1: it was cut at {half:g}." if cut.sum() != inside.sum() else ""
    if whole:
        return inside, f"holds {len(kinds)} labels: all above 0 count as inside."
    return inside, "holds the values of an image, not of a mask: all above 0 count as inside."


def _rises(values: np.ndarray, inside: np.ndarray, middle: float) -> bool:
    """Whether the outermost voxels above 0 (D, H, W) have next to nothing of what the middle has."""
    rim = inside & ~ndimage.binary_erosion(inside, border_value=1)
    return not rim.any() or bool(np.median(values[rim]) <= RIM * middle)


def _is_smooth(values: np.ndarray, body: np.ndarray) -> bool:
    """Whether values (D, H, W) change little from voxel to voxel deep inside ``body``, as those of an image do not."""
    deep = ndimage.binary_erosion(body, iterations=2)
    around = ndimage.uniform_filter(np.asarray(values, np.float32), 3)
    return not deep.any() or bool(np.abs(values - around)[deep].mean() < ROUGH * np.median(values[body]))


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
