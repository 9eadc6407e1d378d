"""Evidence on averages: ExpA, power spectra, the spread of samples, views and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from yoda_nb.coherence import homogenise_slices, slice_inconsistency
from yoda_nb.diffusion import expected
from yoda_nb.metrics import noise_bound, score
from yoda_nb.systems import translate
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

BANDS = 12  # rings of spatial frequency, from 0 to the Nyquist frequency
BINS = 10  # of voxels by the regression image's true error
AXIAL = 2


def drawn(of: Study, v: Volume) -> Tensor:
    """The trajectories that all of this module is about: (n_ex,1,D,H,W) in [-1,1]."""
    return of.samples(v, "yoda-diffusion", n_ex=max(of.settings.n_ex), n_steps=of.settings.n_steps)


def _known(images: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Own files may have neither truth nor acquired target."""
    return {name: image for name, image in images.items() if image is not None}


def convergence(of: Study) -> pd.DataFrame:
    """ExpA of 1..N_Ex samples against regression, truth and acquired (Table I).

    Columns subject, combine, n_ex, reference, ssim, psnr, mse, and for regression as reference
    bound: the SSIM that averaging pure noise of the acquisition's sigma would reach.
    """
    rows = []
    for v in of.volumes:
        smooth, samples = of.samples(v, "yoda-regression")[0], drawn(of, v)
        references = _known({"regression": smooth, "truth": v.clean, "acquired": v.target})
        for n in range(1, len(samples) + 1):
            generator = torch.Generator().manual_seed(n)
            bound = noise_bound((smooth + 1) / 2, v.mask, v.sigma or 0.04, n, generator=generator)
            for combine in ("rms", "mean"):
                image = expected(samples[:n], combine)
                for name, reference in references.items():
                    found = score((image + 1) / 2, (reference + 1) / 2, v.mask, data_range=1)
                    rows.append({"subject": v.subject, "combine": combine, "n_ex": n, "reference": name,
                                 "ssim": found["ssim"], "psnr": found["psnr"], "mse": found["mse"],
                                 "bound": bound if name == "regression" else np.nan})  # fmt: skip
    return pd.DataFrame(rows)


def spectra(of: Study) -> pd.DataFrame:
    """Radial power of images inside the brain (Fig. 1's high frequencies, counted).

    Columns subject, image, frequency (cycles per voxel, middle of the ring), power.
    """
    rows = []
    for v in of.volumes:
        samples = drawn(of, v)
        shown = _known({"acquired": v.target, "truth": v.clean, "regression": of.samples(v, "yoda-regression")[0],
                        "diffusion": samples[0]})  # fmt: skip
        shown |= {f"ExpA {n}": expected(samples[:n]) for n in of.settings.n_ex}
        for name, image in shown.items():
            frequency, power = radial_power((image + 1) / 2, v.mask)
            rows += [{"subject": v.subject, "image": name, "frequency": f, "power": p}
                     for f, p in zip(frequency, power, strict=True)]  # fmt: skip
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


def spread(of: Study) -> pd.DataFrame:
    """What the spread of samples measures: the acquisition's noise or regression's true error?

    Voxels inside the brain in BINS equal groups by |regression - truth|, all on the [0,1] scale.
    Columns subject, bin, error (root mean square), spread (standard deviation over samples, root
    mean square), sigma, and for the subject as a whole rank (Spearman's correlation of spread and
    error over voxels).
    """
    rows = []
    for v in of.volumes:
        inside = v.mask
        deviation = ((drawn(of, v)[:, inside] + 1) / 2).std(0)
        error = (of.samples(v, "yoda-regression")[0][inside] - v.clean[inside]).abs() / 2
        rank = stats.spearmanr(deviation, error).statistic
        for index, group in enumerate(torch.chunk(error.argsort(), BINS)):
            rows.append({"subject": v.subject, "bin": index, "error": rms(error[group]),
                         "spread": rms(deviation[group]), "sigma": v.sigma, "rank": rank})  # fmt: skip
    return pd.DataFrame(rows)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def views(of: Study) -> pd.DataFrame:
    """Regression by each view, by all three, and after slice homogenisation, against the truth.

    Columns subject, image ("view 0".."view 2", "three views", "homogenised"), ssim, psnr, mse,
    inconsistency (axial slices, [0,1] scale). The homogenised one is the axial view corrected.
    """
    rows = []
    for v in of.volumes:
        alone = [translate(v, "yoda-regression", aggregate=False, views=(axis,), seed=of.seed,
                           device=of.device or None).target for axis in range(3)]  # fmt: skip
        shown = {f"view {axis}": image for axis, image in enumerate(alone)}
        shown["three views"] = of.samples(v, "yoda-regression")[0]
        shown["homogenised"] = homogenise_slices(alone[AXIAL], v.mask, axis=AXIAL)
        for name, image in shown.items():
            found = score((image + 1) / 2, (v.clean + 1) / 2, v.mask, data_range=1)
            jumps = slice_inconsistency((image - v.clean) / 2, v.mask, AXIAL)
            rows.append({"subject": v.subject, "image": name, "ssim": found["ssim"], "psnr": found["psnr"],
                         "mse": found["mse"], "inconsistency": jumps})  # fmt: skip
    return pd.DataFrame(rows)
