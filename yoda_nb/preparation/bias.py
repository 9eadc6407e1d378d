"""The slow shading of an MR image, and the image without it (N4, Tustison 2010, IEEE TMI 29(6))."""

from __future__ import annotations

from math import ceil

import numpy as np

from yoda_nb.errors import InputError
from yoda_nb.preparation.itk import to_itk

COARSE = 6.0  # mm: the field is that smooth, so it is fitted on voxels of about this size
STEPS = (50, 40, 30)  # at most, on each level; every level halves the distance of the spline's knots


def correct_bias(image: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(image without its bias field, the field), both float32 (D, H, W): one is the image over the other.

    ``image`` (D, H, W) in any units, ``affine`` (4, 4) to mm; the field is fitted to the positive voxels
    of ``mask`` (bool, the brain), goes on smoothly over the whole grid, and averages 1 inside (the
    geometric mean), so units stay.  One thread: the same input gives the same bytes.
    Raises InputError where the mask holds nothing to fit, or is of another shape.
    """
    import SimpleITK as sitk

    if mask.shape != image.shape:
        raise InputError(f"the mask {mask.shape} must have the image's shape {image.shape}: pass one on its grid.")
    inside = mask & (image > 0)
    if not inside.any():
        raise InputError("the bias field needs positive voxels in the brain mask: check image and mask.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    shrink = [max(1, min(ceil(COARSE / s - 0.5), n // 4)) for s, n in zip(spacing, image.shape, strict=True)]
    full = to_itk(image, affine)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetNumberOfThreads(1)
    n4.SetMaximumNumberOfIterations(STEPS)
    n4.SetConvergenceThreshold(1e-5)
    small = sitk.Cast(sitk.Shrink(to_itk(inside, affine), shrink) > 0.5, sitk.sitkUInt8)
    n4.Execute(sitk.Shrink(full, shrink), small)
    log = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(full)).T
    field = np.exp(np.clip(log - log[inside].mean(), -3, 3)).astype(np.float32)
    return (image / field).astype(np.float32), field
