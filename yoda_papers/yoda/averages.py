"""Averages of samples: ExpA, power spectra, and the spread of samples (YODA)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from yoda_nb.diffusion.process import expected
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import noise_bound, score
from yoda_nb.study import tables
from yoda_papers.ledger.verdicts import Effect, mean_effect

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


BANDS = 12  # rings of spatial frequency, from 0 to the Nyquist frequency
BINS = 10  # of voxels by the regression image's true error


def drawn(study: Study, v: Volume) -> Tensor:
    """The trajectories that all of this module is about: (n_ex,1,D,H,W) in [-1,1]."""
    return study.samples(v, "yoda-diffusion", n_ex=max(study.settings.n_ex), n_steps=study.settings.n_steps)


def _known(images: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Own files may have neither truth nor acquired target."""
    return {name: image for name, image in images.items() if image is not None}


def convergence(study: Study) -> pd.DataFrame:
    """ExpA of 1..N_Ex samples against regression, truth and acquired (Table I).

    Columns subject, combine, n_ex, reference, ssim, psnr, mse, and for regression as reference
    bound: the SSIM that averaging pure noise of the acquisition's sigma would reach.
    """
    rows = []
    for v in study.volumes:
        smooth, samples = study.samples(v, "yoda-regression")[0], drawn(study, v)
        references = _known({"regression": smooth, "truth": v.clean, "acquired": v.target})
        for n in range(1, len(samples) + 1):
            generator = torch.Generator().manual_seed(n)
            bound = noise_bound((smooth + 1) / 2, v.mask, v.sigma or 0.04, n, generator=generator)
            for combine in ("rms", "mean"):
                image = expected(samples[:n], combine)
                for name, reference in references.items():
                    found = score((image + 1) / 2, (reference + 1) / 2, v.mask, data_range=1)
                    rows.append(
                        {
                            "subject": v.subject,
                            "combine": combine,
                            "n_ex": n,
                            "reference": name,
                            "ssim": found["ssim"],
                            "psnr": found["psnr"],
                            "mse": found["mse"],
                            "bound": bound if name == "regression" else np.nan,
                        }
                    )
    return pd.DataFrame(rows)


def spectra(study: Study) -> pd.DataFrame:
    """Radial power of images inside the brain (Fig. 1's high frequencies, counted).

    Columns subject, image, frequency (cycles per voxel, middle of the ring), power.
    """
    rows = []
    for v in study.volumes:
        samples = drawn(study, v)
        shown = _known(
            {
                "acquired": v.target,
                "truth": v.clean,
                "regression": study.samples(v, "yoda-regression")[0],
                "diffusion": samples[0],
            }
        )
        shown |= {f"ExpA {n}": expected(samples[:n]) for n in study.settings.n_ex}
        for name, image in shown.items():
            frequency, power = radial_power((image + 1) / 2, v.mask)
            rows += [
                {"subject": v.subject, "image": name, "frequency": f, "power": p}
                for f, p in zip(frequency, power, strict=True)
            ]
    return pd.DataFrame(rows)


def radial_power(image01: Tensor, mask: Tensor, bands: int = BANDS) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared Fourier magnitude in rings of |frequency| up to Nyquist.

    image01, mask (1,D,H,W); the mean inside the mask is removed and the outside set to zero, and
    power is per voxel of the mask, so white noise of variance s^2 gives s^2 in every ring.
    """
    inside = mask[0]
    x = torch.where(inside, image01[0].double() - image01[0][inside].double().mean(), 0.0)
    power = torch.fft.fftn(x).abs().square() / inside.sum()
    grid = torch.meshgrid(*(torch.fft.fftfreq(n) for n in x.shape), indexing="ij")
    radius = torch.stack(grid).norm(dim=0)
    ring = (radius / 0.5 * bands).long()
    kept = ring < bands
    total = torch.bincount(ring[kept], power[kept], minlength=bands)
    count = torch.bincount(ring[kept], minlength=bands)
    return (np.arange(bands) + 0.5) / bands * 0.5, (total / count).numpy()


def spread(study: Study) -> pd.DataFrame:
    """What the spread of samples measures: the acquisition's noise or regression's true error?

    Voxels inside the brain in BINS equal groups by |regression - truth|, all on the [0,1] scale.
    Columns subject, bin, error (root mean square), spread (standard deviation over samples, root
    mean square), sigma, and for the subject as a whole rank (Spearman's correlation of spread and
    error over voxels).
    """
    rows = []
    for v in study.volumes:
        inside = v.mask
        deviation = ((drawn(study, v)[:, inside] + 1) / 2).std(0)
        error = (study.samples(v, "yoda-regression")[0][inside] - required(v, "clean")[inside]).abs() / 2
        rank = stats.spearmanr(deviation, error).statistic
        for index, group in enumerate(torch.chunk(error.argsort(), BINS)):
            rows.append(
                {
                    "subject": v.subject,
                    "bin": index,
                    "error": rms(error[group]),
                    "spread": rms(deviation[group]),
                    "sigma": v.sigma,
                    "rank": rank,
                }
            )
    return pd.DataFrame(rows)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def expa_is_regression(study: Study) -> list[Effect]:
    """Y05: how near, and whether what is left is averaging noise.

    MSE to regression is fitted as a + b / N for each subject; b / (a + b) is the share of one
    sample's difference that averages out.
    """
    t = study.table("expa")
    t = t[(t.reference == "regression") & (t["combine"] == "rms")]
    last = t[t.n_ex == t.n_ex.max()]
    shares = []
    for _, rows in t.groupby("subject"):
        a, b = tables.averaging_fit(rows.n_ex, rows.mse)
        shares.append(100 * b / (a + b))
    n = int(t.n_ex.max())
    return [
        mean_effect(f"SSIM of ExpA {n} to regression", last.ssim, ">", 0.98),
        mean_effect(f"SSIM that {n} pure noises allow, less the one found", last.bound - last.ssim, "<", 0.01),
        mean_effect("share of the difference that falls as 1/N", shares, ">", 90, unit="%"),
    ]


def detail_averages_out(study: Study) -> list[Effect]:
    """Y11: power above half of Nyquist that a sample has and regression has not, left after ExpA."""
    t = study.table("spectra")
    high = t[t.frequency > 0.25].groupby(["subject", "image"]).power.mean().unstack()
    n = max(study.settings.n_ex)
    excess = high["diffusion"] - high["regression"]
    left = 100 * (high[f"ExpA {n}"] - high["regression"]) / excess
    return [
        mean_effect("power that one sample has above regression", 1e3 * excess, ">", unit="x 0.001"),
        mean_effect(f"of it left in ExpA {n} (1/N: {100 / n:.0f} %)", left, "<", 20, unit="%"),
    ]


TABLES = {"expa": convergence, "spectra": spectra, "spread": spread}


EFFECTS = {"Y05": expa_is_regression, "Y11": detail_averages_out}
NOTES: dict[str, str] = {}
