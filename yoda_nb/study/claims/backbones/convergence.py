"""Evidence on the Min-SNR weight: validation during training, and what each of two nets is good at (seed 001, 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.process import add_noise, gaussian
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.images.volumes import Volume, crop_volume, required
from yoda_nb.metrics.images import psnr
from yoda_nb.papers import SYSTEMS
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import Run, prepare
from yoda_nb.systems.table import get_system

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study

PAIR = ("adm", "adm-plain")
TIMES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)  # u, from the image to noise
SLICES = 4  # axial ones of each subject, around the fullest


def min_snr(study: Study) -> pd.DataFrame:
    """Validation during training with and without the weight, from the model cards.

    Columns system, step, psnr: of x0 at uniform times on fixed batches, dB, data range 1.
    """
    rows = []
    for name in PAIR:
        history = load_model(SYSTEMS[name].weights).card["training"]["history"]
        rows += [{"system": name, "step": e["step"], "psnr": -10 * np.log10(e["validation"])} for e in history]
    return pd.DataFrame(rows)


def levels(study: Study) -> pd.DataFrame:
    """One evaluation of both trained nets on the acquired target under known noise.

    Columns subject, system, u, psnr (dB, of x0 to the acquired target, data range 1).
    """
    rows = []
    for v in study.volumes:
        for name in PAIR:
            rows += [
                {"subject": v.subject, "system": name, "u": u, "psnr": found}
                for u, found in zip(TIMES, _predicted(study, _thin(v), name), strict=True)
            ]
    return pd.DataFrame(rows)


def _predicted(study: Study, v: Volume, name: str) -> list[float]:
    """PSNR of x0 at each of the times, under the same noise for every net."""
    job = prepare(v, get_system(name), Run(seed=study.seed, device=study.device or None))
    process, noise = job.spec.sampling.process(job), schedule(job.model.card["schedule"], job.model.card["n_train"])
    x0, found = required(job.cut, "target"), []
    eps = gaussian(x0.shape, job.generator)
    for u in TIMES:
        t = round(u * len(noise)) - 1
        made: Tensor = process.denoise(add_noise(x0, eps, noise.at(t)).to(job.device), t, 0).cpu()
        found.append(psnr((made + 1) / 2, (x0 + 1) / 2, job.cut.mask, data_range=1))
    return found


def _thin(v: Volume) -> Volume:
    at = int(v.mask[0].sum((0, 1)).argmax())
    first = min(max(at - SLICES // 2, 0), v.shape[2] - SLICES)
    return crop_volume(v, (slice(0, v.shape[0]), slice(0, v.shape[1]), slice(first, first + SLICES)))


TABLES = {"min_snr": min_snr, "min_snr_levels": levels}
