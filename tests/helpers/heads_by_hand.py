"""A small head made of formulas, and affines to look at it through."""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

SHAPE = (22, 26, 24)
AFFINE = np.array([[6.0, 0, 0, -60], [0, 6, 0, -80], [0, 0, 6, -65], [0, 0, 0, 1]])


def tilted(affine, degrees=(12, -7, 20)):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return turn @ affine


def world(shape, affine):
    return apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


def head(shape=SHAPE, affine=AFFINE, seed=0):
    """A brain-sized ball of smooth texture in exact zeros, and the ball."""
    mm = world(shape, affine) - apply_affine(affine, (np.array(shape) - 1) / 2)
    ball = (mm**2).sum(-1) < 58**2
    texture = 100 + 40 * np.sin(mm[..., 0] / 25) + 30 * np.cos(mm[..., 1] / 30) + mm[..., 2] / 3
    return np.where(ball, texture, 0).astype(np.float32), ball
