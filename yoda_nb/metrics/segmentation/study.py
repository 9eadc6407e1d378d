"""Images -> how well lesions are found in them, and whether their volumes agree [YODA IV-A]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.downstream import alvr, dice, hd95, icc31, lesion_cnr
from yoda_nb.metrics.segmentation.inference import segment as own_segmenter

SCORES = ("dice", "hd95", "alvr", "cnr", "contrast")


def lesion_table(
    volumes: Iterable[Volume],
    images: Mapping[str, Sequence[Tensor]],
    *,
    segment: Callable[[Tensor, Volume], Tensor] = own_segmenter,
    white_matter: Callable[[Volume], Tensor] | None = None,
    distance: float | None = None,
) -> pd.DataFrame:
    """One row for each subject and sampler; the acquired image and the noise-free truth are samplers too.

    images: sampler -> one image (1,D,H,W) in [-1,1] a subject; ``segment`` makes (1,D,H,W) bool
    of an image and its Volume; ``white_matter`` is needed where the labels are not known.
    Columns: subject, sampler, reference, dice, hd95 (mm), alvr, cnr, contrast, volume_fraction
    (segmented share of the brain), true_volume_fraction. Reference is "truth", or "acquired" where
    only the acquired image can tell where lesions are; its own scores are then nan.

    The empty-mask policy is ``downstream``'s: a missed or invented structure has hd95 and alvr
    inf. ``cnr`` (eq. 12) and ``contrast``, lesion mean less the mean of white matter within
    ``distance`` mm of lesions, are of the image at the reference lesions, on the [0,1] scale. The
    CNR divides by local noise, so it compares images of equal noise only; the contrast compares
    all, and the truth's row holds the true one. ``distance`` None is three voxels, which are the
    paper's 3 mm at its 1 mm: the nearest voxels are part lesion. Raises InputError without any
    reference.
    """
    rows = []
    for k, v in enumerate(volumes):
        known = {"acquired": v.target, "truth": v.clean}
        of = {label: each[k] for label, each in images.items()}
        of |= {label: image for label, image in known.items() if image is not None}
        masks = {label: segment(image, v) for label, image in of.items()}
        reference, true = ("truth", v.lesions) if v.lesions is not None else ("acquired", masks.get("acquired"))
        if true is None:
            raise InputError(f"{v.subject} has neither known lesions nor an acquired image: add its FLAIR.")
        wm, reach = _white_matter(v, white_matter), distance or 3 * max(v.spacing)
        for label, image in of.items():
            own = reference == label == "acquired"
            rows.append(
                {
                    "subject": v.subject,
                    "sampler": label,
                    "reference": reference,
                    **_overlap(masks[label], true, v.spacing, own),
                    **_contrast((image + 1) / 2, true, wm, v.spacing, reach),
                    "volume_fraction": _share(masks[label], v.mask),
                    "true_volume_fraction": _share(true, v.mask),
                }
            )
    return pd.DataFrame(rows)


def lesion_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over subjects, as text, a row a sampler (Table I, right).

    Infinite distances and ratios are left out of the means and counted in ``missed``.
    """
    finite = table.replace([np.inf, -np.inf], np.nan)
    groups = finite.groupby("sampler", sort=False)[list(SCORES)]
    mean, std = groups.mean(), groups.std()
    text = {c: [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean[c], std[c].fillna(0), strict=True)] for c in SCORES}
    missed = np.isinf(table.hd95).groupby(table.sampler, sort=False).sum()
    return pd.DataFrame(text, index=mean.index).assign(missed=missed, n=groups.size())


def logit_fraction(fraction: float | np.ndarray) -> float | np.ndarray:
    """log(f / (1 - f)) of a volume fraction in [0,1]: -inf where nothing was found."""
    fraction = np.asarray(fraction, dtype=float)
    if not ((fraction >= 0) & (fraction <= 1)).all():
        raise InputError("A volume fraction lies between 0 and 1: divide lesion voxels by brain voxels.")
    with np.errstate(divide="ignore"):
        return (np.log(fraction) - np.log1p(-fraction))[()]


def fraction_pairs(table: pd.DataFrame, sampler: str, against: str = "acquired") -> pd.DataFrame:
    """Logit volume fractions of one sampler and of another, paired by subject: subject, x, y.

    ``x`` is the sampler's, ``y`` that of ``against``. Subjects are left out where one of the two has no row, or found
    no lesion (an infinite logit). Raises InputError for a sampler that is not in the table.
    """
    wide = table.pivot(index="subject", columns="sampler", values="volume_fraction")
    if missing := [name for name in (sampler, against) if name not in wide]:
        raise InputError(f"The table has no sampler {missing[0]!r}: choose among {', '.join(wide)}.")
    wide = wide[[sampler, against] if sampler != against else [sampler]].dropna()
    pairs = pd.DataFrame({"x": logit_fraction(wide[sampler]), "y": logit_fraction(wide[against])}, index=wide.index)
    return pairs[np.isfinite(pairs).all(axis=1)].reset_index()


def agreement(table: pd.DataFrame, sampler: str, against: str = "acquired") -> dict[str, float]:
    """Do lesion volumes agree? ICC(3,1) of logit fractions and Bland-Altman's numbers (Fig. 4).

    sampler, n pairs, dropped (subjects where either found nothing), icc with its 95 % interval
    ci_low, ci_high, bias (sampler less ``against``) and the 95 % limits of agreement low, high;
    nan where fewer than two pairs are left.
    """
    pairs = fraction_pairs(table, sampler, against)
    row = {"sampler": sampler, "n": len(pairs), "dropped": table.subject.nunique() - len(pairs)}
    nothing = dict.fromkeys(("icc", "ci_low", "ci_high", "bias", "low", "high"), np.nan)
    if len(pairs) < 2:
        return row | nothing
    d = (pairs.x - pairs.y).to_numpy()
    found = icc31(pairs[["x", "y"]])
    reach = 1.96 * d.std(ddof=1)
    return (
        row
        | {name: found[name] for name in ("icc", "ci_low", "ci_high")}
        | {"bias": float(d.mean()), "low": float(d.mean() - reach), "high": float(d.mean() + reach)}
    )


def _white_matter(v: Volume, given: Callable[[Volume], Tensor] | None) -> Tensor | None:
    if given is not None:
        return given(v)
    return None if v.labels is None else v.labels == 3


def _overlap(found: Tensor, true: Tensor, spacing: Sequence[float], own: bool) -> dict[str, float]:
    if own:
        return dict.fromkeys(("dice", "hd95", "alvr"), np.nan)
    return {"dice": dice(found, true), "hd95": hd95(found, true, spacing), "alvr": alvr(found, true)}


def _contrast(image: Tensor, lesions: Tensor, wm: Tensor | None, spacing, distance: float) -> dict[str, float]:
    """CNR and contrast of lesions on the image's own scale; nan without lesions or white matter."""
    if wm is None or not lesions.any():
        return {"cnr": np.nan, "contrast": np.nan}
    away = ndimage.distance_transform_edt(~lesions[0].numpy(), sampling=spacing)
    near = wm & ~lesions & torch.from_numpy(away <= distance * (1 + 1e-6))[None]
    cnr = lesion_cnr(image, lesions, wm, spacing, distance=distance)
    return {"cnr": cnr, "contrast": float(image[lesions].mean() - image[near].mean())}


def _share(found: Tensor, mask: Tensor) -> float:
    """Share of the brain's voxels; what lies outside the brain is not counted."""
    return float((found & mask).sum() / mask.sum())
