"""Scores of what is made of images: segmentations, lesion contrast, and the tables of a study.

Nothing here averages over cases: one call scores one case, and a missed structure stays missed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from torch import Tensor

from yoda_nb.errors import InputError


def _masks(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.ndim != 4 or len(a) != 1:
        raise InputError(f"Masks {tuple(a.shape)}, {tuple(b.shape)} must share one shape (1, D, H, W).")
    return a.bool(), b.bool()


def dice(a: Tensor, b: Tensor) -> float:
    """Dice overlap of two masks (1, D, H, W): 1.0 where both are empty, 0.0 where only one is."""
    from monai.metrics.meandice import compute_dice  # seconds: only where it is used

    a, b = _masks(a, b)
    return float(compute_dice(a[None].float(), b[None].float(), ignore_empty=False))


def hd95(a: Tensor, b: Tensor, spacing: Sequence[float]) -> float:
    """Hausdorff distance in mm, 95th percentile, the larger of both directions.

    Masks (1, D, H, W), spacing in mm along D, H, W. 0.0 where both are empty and inf where only
    one is: a missed structure is worse than any found one.
    """
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance

    a, b = _masks(a, b)
    if not (a.any() and b.any()):
        return float(np.inf) if a.any() or b.any() else 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 calls its own deprecated option
        found = compute_hausdorff_distance(
            a[None].float(), b[None].float(), include_background=True, percentile=95, spacing=tuple(spacing)
        )
    return float(found)


def alvr(a: Tensor, b: Tensor) -> float:
    """Absolute log2 volume ratio of two masks [YODA III-F]: 0.0 both empty, inf one empty."""
    volumes = [int(mask.sum()) for mask in _masks(a, b)]
    if 0 in volumes:
        return float(np.inf) if any(volumes) else 0.0
    return abs(float(np.log2(volumes[0] / volumes[1])))


def lesion_cnr(
    image: Tensor, lesions: Tensor, white_matter: Tensor, spacing: Sequence[float], *, distance: float = 3.0
) -> float:
    """Contrast-to-noise ratio of lesions to the white matter around them [YODA eq. 12].

    image (1, D, H, W) on any scale; lesions, white_matter: masks of that shape; spacing in mm.
    For each connected component (26 neighbours): its mean less the mean of the lesion-free white
    matter within ``distance`` mm (voxel centre to voxel centre), over the standard deviation
    there. Returns the mean over lesion voxels; nan without lesions. A component with fewer than
    two such white-matter voxels cannot be rated: it is left out with a warning.
    """
    lesion, wm = (m[0].cpu().numpy() for m in _masks(lesions, white_matter))
    values, wm = image[0].double().cpu().numpy(), wm & ~lesion
    components, count = ndimage.label(lesion, structure=np.ones((3, 3, 3)))
    reach = [int(np.ceil(distance / s)) for s in spacing]
    ratios, sizes = [], []
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        near = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(box, reach, strict=True))
        own = components[near] == index
        # A hair of tolerance: neighbours at exactly the distance must not hang on rounding.
        close = ndimage.distance_transform_edt(~own, sampling=spacing) <= distance * (1 + 1e-6)
        around = values[near][wm[near] & close]
        if around.size >= 2 and around.std() > 0:
            ratios.append((values[near][own].mean() - around.mean()) / around.std(ddof=1))
            sizes.append(own.sum())
    if len(ratios) < count:
        warnings.warn(
            f"{count - len(ratios)} of {count} lesions have no usable white matter within "
            f"{distance} mm and are left out of the CNR.",
            stacklevel=2,
        )
    return float(np.average(ratios, weights=sizes)) if ratios else float("nan")


def icc31(table: ArrayLike, *, confidence: float = 0.95) -> dict[str, float]:
    """ICC(3,1): consistency of single ratings, two-way mixed effects (Shrout and Fleiss, 1979).

    table (n subjects, k raters) -> icc, ci_low, ci_high (from the F distribution), n, k.
    Raises InputError for fewer than two subjects or raters or for missing ratings.
    """
    from scipy import stats  # half a second

    x = np.asarray(table, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise InputError(
            f"ICC needs a complete table of at least 2 subjects by 2 raters, got shape {x.shape}"
            f"{'' if np.isfinite(x).all() else ' with missing values'}."
        )
    n, k = x.shape
    subjects, raters = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    between = k * subjects.var(ddof=1)
    error = ((x - subjects - raters + x.mean()) ** 2).sum() / ((n - 1) * (k - 1))
    if between + error == 0:
        raise InputError("All ratings are equal, so the ICC is not defined; give subjects that differ.")
    tail, df = (1 + confidence) / 2, (n - 1, (n - 1) * (k - 1))
    with np.errstate(divide="ignore"):
        ratio = np.float64(between) / error
    low, high = ratio / stats.f.ppf(tail, *df), ratio * stats.f.ppf(tail, *df[::-1])

    def icc(f: float) -> float:
        return 1.0 if np.isinf(f) else float((f - 1) / (f + k - 1))

    return {"icc": icc(ratio), "ci_low": icc(low), "ci_high": icc(high), "n": n, "k": k}
