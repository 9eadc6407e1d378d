"""Rigid registration: where a place in one image of a head lies in another image of the same head.

A registration is a matrix (4, 4) in RAS mm that takes **a point of the fixed image to the same place
in the moving image**: what resampling the moving image onto the fixed grid needs, and what ITK's
transform files hold (those in LPS).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy import ndimage

from yoda_nb.errors import InputError
from yoda_nb.images.space import isotropic_grid, resample_like
from yoda_nb.preparation.itk import TO_LPS, to_itk


@dataclass(frozen=True)
class Level:
    """How finely to look, in mm."""

    voxel: float | None  # None: the voxels of the files
    blur: float  # standard deviation
    first: float  # step of the descent
    last: float  # step at which it ends


SEARCH, MIDDLE, FINE = Level(6, 4, 4, 0.2), Level(3, 2, 2, 0.02), Level(None, 0, 0.5, 0.005)
SAMPLES = 300_000  # of the fixed image's voxels in the region, at most
TURNS = (-0.35, 0.0, 0.35)  # radians about each axis, where the search begins
STARTS = 4  # the likeliest of the positions are searched from
FOLLOWED = 2  # of what the search finds, beside the header's position: coarse voxels can prefer a wrong place
LEAST_OVERLAP = 0.25  # of the fixed region, seen by the moving image
BINS = 40
DIGITS = 9  # of a matrix and a metric: sums in another order differ from the fifteenth on
SEED = 1

Image: TypeAlias = Any  # of SimpleITK, which is imported late
Transform: TypeAlias = Any


@dataclass(frozen=True)
class Registration:
    """A rigid motion and how well it fits."""

    matrix: np.ndarray  # (4, 4) RAS mm: a point of the fixed image -> its place in the moving image
    metric: float  # mutual information of both images in the fixed region, nats: higher is better
    shift: float  # mm by which the middle of the region moves
    rotation: float  # degrees about one axis
    overlap: float  # share of the region that the moving image shows


def register(
    moving: np.ndarray,
    moving_affine: np.ndarray,
    fixed: np.ndarray,
    fixed_affine: np.ndarray,
    *,
    region: np.ndarray | None = None,
) -> Registration:
    """Align two images of one head, of any contrasts, grids and slice thicknesses.

    ``moving`` and ``fixed`` (D, H, W) in any units, their affines (4, 4) to RAS mm.  ``region`` bool,
    of the fixed image's shape, is where they are compared: the brain, a little grown; None is the
    head.  Mattes mutual information of both images at the same voxels of 6, 3 and 1.5 mm, after a blur
    in mm.  The search begins at the header's position, and at equal centres of mass with 27 turns.
    One thread and no sampling: the same input gives the same numbers, rounded beyond what sums in another
    order change.
    Raises InputError where the images do not show the same place.
    """
    if region is None:
        region = head(fixed)
    middle = apply_affine(fixed_affine, np.argwhere(region).mean(axis=0))
    scans = (moving, moving_affine, fixed, fixed_affine, region)

    def better(fits: list[Transform], level: Level) -> list[tuple[float, float, Transform]]:
        """(score, mutual information, transform) of descents from all fits, the best one first."""
        images = _images(*scans, level)
        done = [_fit(*images, fit, level) for fit in fits]
        seen = [_overlap(region, fixed_affine, _matrix(fit), moving_affine, moving.shape) for _, fit in done]
        scored = [(-metric * share, -metric, fit) for (metric, fit), share in zip(done, seen, strict=True)]
        return sorted(scored, key=lambda one: -one[0])

    starts = _starts(*scans, middle)
    coarse = [fit for _, _, fit in better(starts, SEARCH)[:FOLLOWED]]
    best = better([starts[0], *coarse], MIDDLE)[0]  # the header is nearly right more often than not
    _, metric, found = better([best[2]], FINE)[0]
    matrix = np.round(_matrix(found), DIGITS)
    overlap = _overlap(region, fixed_affine, matrix, moving_affine, moving.shape)
    if overlap < LEAST_OVERLAP:
        raise InputError(
            f"only {overlap:.0%} of the head is in both images after registration: check that they show the same "
            "part of one person, or register them with a tool of your own."
        )
    return Registration(matrix, round(metric, DIGITS), *motion(matrix, middle), overlap)


def motion(matrix: np.ndarray, point: np.ndarray) -> tuple[float, float]:
    """(mm by which a rigid matrix (4, 4) moves a point (3,), degrees by which it turns)."""
    cosine = (np.trace(matrix[:3, :3]) - 1) / 2
    shift = np.linalg.norm(apply_affine(matrix, point) - point)
    return float(shift), float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def head(image: np.ndarray) -> np.ndarray:
    """What is not air: bool (D, H, W); all of an image that shows none."""
    ceiling = np.percentile(image, 99)
    bright = image > image.min() + 0.1 * (ceiling - image.min())
    return bright if bright.any() else np.ones(image.shape, bool)


def _centre(image: np.ndarray) -> tuple[float, ...]:
    """Voxel index of the head's centre of mass."""
    return ndimage.center_of_mass((image - image.min()) * head(image))


def moved(
    image: np.ndarray, affine: np.ndarray, to_affine: np.ndarray, to_shape: tuple[int, int, int], order: int = 3
) -> np.ndarray:
    """(D, H, W) on ``affine`` -> float32 ``to_shape`` on ``to_affine``, interpolated once; its minimum outside.

    With ``affine`` = inverse(matrix) @ the moving affine it brings a moving image onto the fixed grid.
    """
    x = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
    return resample_like(x, affine, to_affine, to_shape, order=order, fill=float(image.min()))[0].numpy()


def even(image: np.ndarray, affine: np.ndarray, step: float, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """An image (D, H, W) and its affine on an isotropic grid of ``step`` mm, blurred by ``blur`` mm (sd) first."""
    grid, shape = isotropic_grid(affine, image.shape, step)
    back = np.linalg.inv(affine) @ grid
    if image.dtype == bool:
        return ndimage.affine_transform(image, back[:3, :3], back[:3, 3], shape, order=0), grid
    smooth = ndimage.gaussian_filter(image, blur / np.linalg.norm(affine[:3, :3], axis=0), mode="nearest", truncate=3)
    return ndimage.affine_transform(smooth, back[:3, :3], back[:3, 3], shape, order=1), grid


def _images(moving, moving_affine, fixed, fixed_affine, region, level: Level) -> tuple[Image, Image, Image]:
    """Moving, fixed and region as SimpleITK images of one level."""
    pair = [(np.minimum(x, np.percentile(x, 99.8)), a) for x, a in ((moving, moving_affine), (fixed, fixed_affine))]
    pair.append((_thinned(region) if level.voxel is None else region, fixed_affine))
    if level.voxel is not None:
        pair = [even(x, a, level.voxel, level.blur) for x, a in pair]
    return to_itk(*pair[0]), to_itk(*pair[1]), to_itk(*pair[2])


def _thinned(region: np.ndarray) -> np.ndarray:
    """At most SAMPLES voxels of a region, drawn with a fixed seed; bool of its shape."""
    inside = np.flatnonzero(region)
    kept = np.zeros(region.size, bool)
    kept[np.random.default_rng(SEED).choice(inside, min(SAMPLES, len(inside)), replace=False)] = True
    return kept.reshape(region.shape)


def _starts(moving, moving_affine, fixed, fixed_affine, region, middle) -> list[Transform]:
    """The header's position, and the likeliest of those with equal centres of mass and some turn."""
    images = _images(moving, moving_affine, fixed, fixed_affine, region, SEARCH)
    here = apply_affine(fixed_affine, _centre(fixed))
    there = apply_affine(moving_affine, _centre(moving))
    turned = [_transform(middle, np.array(turn), there - here) for turn in product(TURNS, repeat=3)]
    ranked = sorted(range(len(turned)), key=lambda i: _fit(*images, turned[i], None)[0])
    return [_transform(middle, np.zeros(3), np.zeros(3)), *(turned[i] for i in ranked[:STARTS])]


def _transform(centre: np.ndarray, turn: np.ndarray, shift: np.ndarray) -> Transform:
    import SimpleITK as sitk

    return sitk.Euler3DTransform((TO_LPS @ centre).tolist(), *turn.tolist(), (TO_LPS @ shift).tolist())


def _fit(moving, fixed, region, start: Transform, level: Level | None) -> tuple[float, Transform]:
    """(metric, transform) that a descent from ``start`` arrives at; without ``level`` that of the start.

    The metric is negative mutual information; infinity where the images do not overlap.
    """
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # threads change the order of sums, hence the last bits
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(sitk.Cast(region > 0.5, sitk.sitkUInt8))
    method.SetInterpolator(sitk.sitkLinear)
    method.MetricUseMovingImageGradientFilterOff()  # it blurs by the thickest slice: not this metric's gradient
    method.MetricUseFixedImageGradientFilterOff()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    try:
        if level is None:
            return method.MetricEvaluate(fixed, moving), start
        method.SetOptimizerAsRegularStepGradientDescent(level.first, level.last, 100, relaxationFactor=0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        found = sitk.CompositeTransform(method.Execute(fixed, moving)).GetNthTransform(0)
        return method.GetMetricValue(), sitk.Euler3DTransform(found)
    except RuntimeError:  # how SimpleITK says that no sample of one image lies in the other
        return 0.0, start


def _matrix(transform: Transform) -> np.ndarray:
    """(4, 4) RAS mm of a SimpleITK transform."""
    matrix = np.eye(4)
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix[:3, :3] = (
        TO_LPS @ (np.array([transform.TransformPoint(axis) for axis in np.eye(3).tolist()]) - origin).T @ TO_LPS
    )
    matrix[:3, 3] = TO_LPS @ origin
    return matrix


def _overlap(region, fixed_affine, matrix, moving_affine, shape) -> float:
    """Share of the region's voxels whose place lies inside the moving image's field of view."""
    points = np.argwhere(region)[::7]
    places = apply_affine(np.linalg.inv(moving_affine) @ matrix @ fixed_affine, points)
    return float(((places > -0.5) & (places < np.array(shape) - 0.5)).all(axis=1).mean())
