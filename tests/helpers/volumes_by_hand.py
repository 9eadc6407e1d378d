"""Volumes whose contents are known by construction."""

from __future__ import annotations

import numpy as np
import torch

from yoda_nb.images.volumes import Volume


def blob_volume(shape=(12, 14, 10)) -> Volume:
    """A brain of grey 0 with two bright lesions."""
    lesions = torch.zeros(1, *shape, dtype=torch.bool)
    lesions[0, 3:5, 4:6, 4:6] = lesions[0, 8:10, 9:11, 4:7] = True
    clean = torch.where(lesions, 0.8, 0.0)
    mask = torch.ones_like(lesions)
    return Volume(
        source=clean.repeat(2, 1, 1, 1),
        mask=mask,
        affine=np.diag([3.0, 3, 3, 1]),
        sources=("T1w", "T2w"),
        subject="blob",
        target=clean,
        clean=clean,
        labels=torch.full(lesions.shape, 3, dtype=torch.uint8),
        lesions=lesions,
        sigma=0.04,
    )


def cube(low: int, high: int, n: int = 24) -> torch.Tensor:
    mask = torch.zeros(1, n, n, n, dtype=torch.bool)
    mask[:, low:high, low:high, low:high] = True
    return mask
