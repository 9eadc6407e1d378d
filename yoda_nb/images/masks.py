"""Shapes of masks: bool (D, H, W), distances in mm."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


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
