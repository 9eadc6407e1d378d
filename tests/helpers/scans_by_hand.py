"""Phantoms as a scanner gives them: each contrast on a grid of its own, the head moved in between."""

from __future__ import annotations

from functools import cache

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.spatial.transform import Rotation

from yoda_nb.images.nifti import Grid, write_image
from yoda_nb.phantoms.phantom import phantom_case

FIELD = (180.0, 204.0, 192.0)  # mm
MIDDLE = np.array([0.5, -18.0, 12.0])
STILL = np.eye(4)


@cache
def phantom():
    return phantom_case(1, spacing=1.5, shape=(104, 124, 112), sigma=0.03)


def rigid(degrees, mm):
    """(4, 4) RAS mm: turned about the middle of the head, then shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.array(mm) + MIDDLE - matrix[:3, :3] @ MIDDLE
    return matrix


def scan(contrast, size, motion=STILL):
    """(image (D, H, W) with zero background, affine) in voxels of ``size`` mm, after the head moved by ``motion``."""
    v = phantom()
    images = dict(zip((*v.sources, v.contrast), (*v.source, v.target[0]), strict=True))
    shape = tuple(round(side / s) for side, s in zip(FIELD, size, strict=True))
    affine = np.diag([*size, 1.0])
    affine[:3, 3] = MIDDLE - np.array(size) * (np.array(shape) - 1) / 2
    back = np.linalg.inv(motion @ v.affine) @ affine
    thick = np.maximum(np.array(size) / 1.5, 1.0)  # a slice sums what is in it
    smooth = ndimage.gaussian_filter((images[contrast].numpy() + 1) / 2, np.sqrt(thick**2 - 1) / 2.355)
    image = ndimage.affine_transform(smooth, back[:3, :3], back[:3, 3], shape, order=1)
    return np.where(image > 0.03, 400 * image, 0).astype(np.float32), affine


def written(path, contrast, size, motion=STILL):
    """The file of a scan."""
    image, affine = scan(contrast, size, motion)
    write_image(image, Grid(image.shape, affine), path)
    return path


def brain_points():
    """(N, 3) mm of brain voxels of the head that did not move."""
    v = phantom()
    return apply_affine(v.affine, np.argwhere(v.mask[0].numpy())[::31])


def apart(one, other, points):
    """Median mm between where two matrices put the points."""
    return float(np.median(np.linalg.norm(apply_affine(one, points) - apply_affine(other, points), axis=1)))
