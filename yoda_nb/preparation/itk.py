"""Arrays as SimpleITK's images."""

from __future__ import annotations

import numpy as np

TO_LPS = np.diag([-1.0, -1.0, 1.0])  # SimpleITK's world axes run left, posterior, superior


def to_itk(array: np.ndarray, affine: np.ndarray):
    """(D, H, W) and RAS+ affine as a SimpleITK image; shear, which ITK refuses, is dropped."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, dtype=np.float32))
    axes = TO_LPS @ affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    left, _, right = np.linalg.svd(axes / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((TO_LPS @ affine[:3, 3]).tolist())
    image.SetDirection((left @ right).ravel().tolist())  # the nearest orthonormal axes
    return image
