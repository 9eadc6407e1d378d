"""Evidence on the Min-SNR weight [Koch 3.3]: samples against training, and what each of two nets is good at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.process import add_noise, gaussian
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.images.volumes import Volume, crop_volume, required
from yoda_nb.metrics.images import psnr
from yoda_nb.study import tables
from yoda_nb.study.sampling import progress_bar
from yoda_nb.systems.run import Run, prepare
from yoda_nb.systems.table import get_system
from yoda_nb.systems.train import model_name
from yoda_papers.backbones import BUDGETS, TRAINED, of_budget
from yoda_papers.backbones.sweep import KINDS, middle
from yoda_papers.ledger.draws import by_eye, drawing, fd_draws, fewer
from yoda_papers.ledger.verdicts import Effect, bootstrap_effect, over_trainings, paired_effect

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

PAIR = ("adm", "adm-plain")
TIMES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98)  # u, from the image to noise
SLICES = 4  # axial ones of each subject, around the fullest
STEPS = 8  # of DDIM
TRAININGS = {
    f"{name}, {steps} steps, seed {seed}": (name, steps, seed)
    for name in TRAINED
    for steps, seeds in BUDGETS.items()
    for seed in seeds
}


def _images(study: Study) -> dict[str, list[Tensor]]:
    """A DDIM sample (1,D,H,W) in [-1,1] of every subject's middle slices by every training."""
    n, made = fewer(study, STEPS), dict[str, list[Tensor]]()
    models = {label: model_name(of_budget(*training)) for label, training in TRAININGS.items()}
    models = {label: model for label, model in models.items() if model not in study.kept}
    with progress_bar(total=len(models) * len(study.volumes), desc="Min-SNR") as bar:
        for label, model in models.items():
            settings = {"model": model, "n_steps": n, "sigma": KINDS["DDIM"]}
            for v in study.volumes:
                made.setdefault(label, []).append(study.samples(middle(v), PAIR[0], **settings)[0])
                bar.update()
    return made


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """A table with column sampler, and which training each is: system, steps and training (seed)."""
    known = pd.DataFrame.from_dict(TRAININGS, orient="index", columns=["system", "steps", "training"])
    return table.join(known, on="sampler")


def min_snr(study: Study) -> pd.DataFrame:
    """Samples of trainings by Min-SNR and by the error of v as it is, of several lengths and seeds.

    Score-table columns plus system, steps (of training) and training (seed).
    """
    table = tables.score_table([middle(v) for v in study.volumes], _images(study))
    return _told(table[table.sampler != "acquired"].reset_index(drop=True))


def distances(study: Study) -> pd.DataFrame:
    """Fréchet distances of the same samples with bootstrap draws over subjects: ``fd_draws``, and which training."""
    cut = [middle(v) for v in study.volumes]
    return _told(fd_draws(cut, _images(study), study.table("min_snr"), **drawing(study)))


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


def min_snr_is_faster(study: Study) -> list[Effect]:
    """K08: after a quarter and after half of the budget, samples are better in PSNR and have a lower FD.

    That is what "speeds convergence" says: as good in fewer steps of training. At the whole budget nothing is asked.
    "Plain" is the error of v as it is, which the paper says it minimizes; its code, without Min-SNR, weights by SNR.
    """
    t = study.table("min_snr")
    t = t[t.reference == "acquired"]
    subjects, effects = t.subject.nunique(), []
    for steps in BUDGETS:
        after = f"after {steps} steps of training"
        name = f"PSNR {after}, Min-SNR less plain"
        effects.append(paired_effect(t[t.steps == steps], "psnr", *PAIR, ">", by="system", unit="dB", name=name))
        effects += by_eye(study.table("min_snr_fd"), partial(_fd_over, after=after, steps=steps, subjects=subjects))
    return effects


def _fd_over(t: pd.DataFrame, after: str, steps: int, subjects: int) -> Effect:
    """FD with the weight over that without, in doublings, of pairs of trainings of this length."""
    name, each = f"FD {after}, Min-SNR over plain", []
    for _, of in t[t.steps == steps].groupby("training"):
        fd = of.pivot(index="draw", columns="system", values="fd")
        ratio = np.log2(fd[PAIR[0]] / fd[PAIR[1]])
        each.append(bootstrap_effect(name, ratio.iloc[0], ratio.iloc[1:], subjects, "<", unit="doublings"))
    return over_trainings(each)


TABLES = {"min_snr": min_snr, "min_snr_fd": distances, "min_snr_levels": levels}
EFFECTS: dict[str, Callable[[Study], Sequence[Effect]]] = {"K08": min_snr_is_faster}
NOTES = {
    "K08": (
        "With the weight, samples of short trainings are closer to the acquired image ({PSNR after 250 steps of "
        "training, Min-SNR less plain:.1f} dB) and farther from the set of acquired images by every extractor. There "
        "are six pairs of trainings at a quarter of the budget and three at half, each with a learning rate that "
        "rises and falls within its steps. Samples have 8 DDIM steps, so the verdict covers what a net learned at all"
        " their noise levels. Without Min-SNR the paper's text uses the plain error of v, as here; its code uses SNR "
        "/ (SNR + 1), which also gives little weight to high noise (row adm-snr of GAMMAS: not trained)."
    )
}
