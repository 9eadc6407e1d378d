"""Images -> tidy tables: scores, noise, error split, convergence, perceptual distances."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import stats
from scipy.cluster.vq import kmeans2
from scipy.optimize import nnls
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.features import load_extractor, perceptual_report, slices_for_features
from yoda_nb.metrics.images import noise_bound, score
from yoda_nb.metrics.noise import add_rician, mse_split, noise_and_voxels, rician_mean, rician_std, white_matter_noise
from yoda_nb.systems.run import subject_seed

Images = Mapping[str, Sequence[Tensor]]  # sampler -> one image (1,D,H,W) in [-1,1] a subject


def white_matter(volume: Volume) -> Tensor:
    """(1,D,H,W) bool: the labels' white matter without lesions, or an estimate from T1w."""
    if volume.labels is not None:
        lesions = torch.zeros_like(volume.mask) if volume.lesions is None else volume.lesions
        return (volume.labels == 3) & ~lesions
    if "T1w" not in volume.sources:
        raise InputError(f"{volume.subject} has neither labels nor T1w to find white matter in.")
    t1 = volume.source[volume.sources.index("T1w")]
    values = t1[volume.mask[0]].numpy()
    centres, _ = kmeans2(values[:, None], np.percentile(values, [10, 45, 85])[:, None], minit="matrix")
    middle, bright = np.sort(centres[:, 0])[1:]
    return ((t1 > (middle + bright) / 2) & volume.mask[0])[None]


def score_table(volumes: Iterable[Volume], images: Images) -> pd.DataFrame:
    """One row for each subject, sampler and reference ("acquired" | "truth"), data range 1.

    Columns: subject, sampler, reference, ssim, psnr, mae, mse, data_range, noise (of white
    matter, [0,1] scale). The acquired image itself is a sampler too, against the truth.
    """
    rows = []
    for k, v in enumerate(volumes):
        of = {label: each[k] for label, each in images.items()}
        if v.target is not None:
            of["acquired"] = v.target
        references = {"acquired": v.target, "truth": v.clean}
        inside = white_matter(v)
        for label, image in of.items():
            noise = white_matter_noise((image + 1) / 2, inside)
            for name, reference in references.items():
                if reference is None or label == name:
                    continue
                found = score((image + 1) / 2, (reference + 1) / 2, v.mask, data_range=1)
                rows.append({"subject": v.subject, "sampler": label, "reference": name, **found, "noise": noise})
    return pd.DataFrame(rows)


def perceptual_table(
    volumes: Iterable[Volume], images: Images, *, extractor: str = "offline", weights: Path | None = None, seed: int = 0
) -> pd.DataFrame:
    """Fréchet and kernel distance of each sampler's axial slices to the acquired ones.

    One row a sampler: sampler, fd, kd, floor (split-half Fréchet distance of the acquired
    slices), n, d. The noise-free truth is a sampler too, where it is known.
    """
    volumes = list(volumes)
    if any(v.target is None for v in volumes):
        raise InputError("A Fréchet distance needs acquired targets: add the target's files.")
    extract = load_extractor(extractor, weights=weights)
    if all(v.clean is not None for v in volumes):
        images = {**images, "truth": [required(v, "clean") for v in volumes]}

    def slices(each: Sequence[Tensor]) -> Tensor:
        cut = [slices_for_features((x + 1) / 2, v.mask) for x, v in zip(each, volumes, strict=True)]
        return torch.cat(cut)

    real = slices([required(v, "target") for v in volumes])
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        for label, each in images.items():
            generator = torch.Generator().manual_seed(subject_seed("fréchet", seed))
            found = perceptual_report(real, slices(each), extract, generator=generator)
            rows.append({"sampler": label, **found})
    return pd.DataFrame(rows)


def rician_table(snrs: Sequence[float], *, seed: int, n: int = 200_000) -> pd.DataFrame:
    """Noise of a constant signal at each SNR, measured on ``n`` voxels and by the Rician law.

    Columns snr, bias, std, bias_law, std_law, all in units of sigma [YODA eq. 1].
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for snr in snrs:
        x = add_rician(torch.full((n,), float(snr), dtype=torch.float64), 1.0, generator=generator)
        rows.append(
            {
                "snr": snr,
                "bias": float(x.mean()) - snr,
                "std": float(x.std()),
                "bias_law": float(rician_mean(snr, 1.0)) - snr,
                "std_law": float(rician_std(snr, 1.0)),
            }
        )
    return pd.DataFrame(rows)


def noise_table(volumes: Iterable[Volume]) -> pd.DataFrame:
    """Known and estimated noise of each acquired target, on the [0,1] scale.

    Columns subject, known, estimated, voxels; where the truth is known also structure, what the
    estimate reads on the noise-free image, and corrected, the estimate with that taken out.
    """
    rows = []
    for v in volumes:
        inside = white_matter(v)
        estimated, n = noise_and_voxels((required(v, "target") + 1) / 2, inside)
        row = {"subject": v.subject, "known": v.sigma, "estimated": estimated, "voxels": n}
        if v.clean is not None:
            structure = white_matter_noise((v.clean + 1) / 2, inside)
            row |= {"structure": structure, "corrected": max(estimated**2 - structure**2, 0) ** 0.5}
        rows.append(row)
    return pd.DataFrame(rows)


def split_table(
    volumes: Sequence[Volume], regression: Sequence[Tensor], shares: Sequence[float], *, seed: int
) -> pd.DataFrame:
    """The error split of YODA, III-A on regression images with known noise added.

    One row for each subject and share of the acquisition's noise: subject, label, share, and the
    terms of ``noise.mse_split`` ([0,1] scale). The regression image is the noise-free prediction.
    """
    rows = []
    for v, image in zip(volumes, regression, strict=True):
        smooth, clean, acquired = ((x + 1) / 2 for x in (image, required(v, "clean"), required(v, "target")))
        generator = torch.Generator().manual_seed(subject_seed(v.subject, seed))
        for share in shares:
            noisy = add_rician(smooth, share * _sigma(v), generator=generator) if share else smooth
            terms = mse_split(noisy, acquired, clean, smooth, v.mask)
            rows.append({"subject": v.subject, "label": f"{share:g}", "share": share, **terms})
    return pd.DataFrame(rows)


def _sigma(volume: Volume) -> float:
    if volume.sigma is None:
        raise InputError(f"The acquisition noise of {volume.subject} is not known: choose a phantom on its own grid.")
    return volume.sigma


def convergence_table(volumes: Sequence[Volume], images: Images) -> pd.DataFrame:
    """ExpA against regression: subject, n_ex, ssim, psnr, and the bound that averaging pure noise
    of the acquisition's sigma over n_ex images would reach (data range 1)."""
    rows = []
    for k, v in enumerate(volumes):
        smooth = (images["regression"][k] + 1) / 2
        for label, each in images.items():
            if label != "diffusion" and not label.startswith("ExpA"):
                continue
            n_ex = 1 if label == "diffusion" else int(label.split()[1])
            found = score((each[k] + 1) / 2, smooth, v.mask, data_range=1)
            generator = torch.Generator().manual_seed(n_ex)
            bound = noise_bound(smooth, v.mask, v.sigma or 0.04, n_ex, generator=generator)
            rows.append(
                {"subject": v.subject, "n_ex": n_ex, "ssim": found["ssim"], "psnr": found["psnr"], "ssim_bound": bound}
            )
    return pd.DataFrame(rows)


def paired_tests(table: pd.DataFrame, against: str, metrics: Sequence[str], *, by: str = "sampler") -> pd.DataFrame:
    """Each level of ``by`` less one of them, on the same subjects: a row for each level and metric.

    Columns level, metric, n, difference with its 95 % t interval low, high, p (Wilcoxon signed-rank,
    two-sided; 1 where nothing differs) and holm, the p adjusted for the levels of that metric.
    """
    parts = []
    for metric in metrics:
        wide = table.groupby(["subject", by])[metric].mean().unstack(by)
        rows = []
        for level in (name for name in dict.fromkeys(table[by]) if name != against):
            d = (wide[level] - wide[against]).dropna().to_numpy()
            mean, low, high, p = paired_difference(d)
            rows.append(
                {by: level, "metric": metric, "n": len(d), "difference": mean, "low": low, "high": high, "p": p}
            )
        found = pd.DataFrame(rows)
        parts.append(found.assign(holm=holm(found.p)) if rows else found)
    return pd.concat(parts, ignore_index=True)


def paired_difference(differences: ArrayLike) -> tuple[float, float, float, float]:
    """Mean of paired differences with its 95 % t interval, and p of Wilcoxon's signed-rank test.

    p is two-sided, and 1 where nothing differs.
    """
    d = np.asarray(differences, float)
    p = float(stats.wilcoxon(d).pvalue) if len(d) and d.any() else 1.0
    return *interval(d), p


def averaging_fit(n: ArrayLike, mse: ArrayLike) -> tuple[float, float]:
    """a and b, neither below 0, of mse = a + b / n: what stays, and what averaging n samples takes away."""
    share = 1 / np.asarray(n, float)
    (a, b), _ = nnls(np.stack([np.ones_like(share), share], 1), np.asarray(mse, float))
    return float(a), float(b)


def holm(values: ArrayLike) -> np.ndarray:
    """p values adjusted for their number by Holm's step-down method (1979), in the order given."""
    p = np.asarray(values, float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean and its t interval; infinite for fewer than two values, without width for equal ones."""
    x = np.asarray(values, float)
    if len(x) < 2:
        return float(x.mean()) if len(x) else float("nan"), -np.inf, np.inf
    mean, half = x.mean(), stats.t.ppf((1 + confidence) / 2, len(x) - 1) * stats.sem(x)
    return float(mean), float(mean - half), float(mean + half)


def summary(table: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Mean and standard deviation over subjects, as text; the first of ``by`` sorted, the rest in
    the order of their appearance."""
    groups = table.sort_values(by[0], kind="stable").groupby(list(by), sort=False)[list(columns)]
    mean, std = groups.mean(), groups.std().fillna(0)
    text = {c: [f"{m:.4g} ± {s:.2g}" for m, s in zip(mean[c], std[c], strict=True)] for c in columns}
    return pd.DataFrame(text, index=mean.index).assign(n=groups.size().to_numpy())
