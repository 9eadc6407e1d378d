"""Evidence on a light U-Net against a DDPM of the same net (seed 003): scores, controls, latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from yoda_nb import study, tables
from yoda_nb.diffusion import expected
from yoda_nb.evidence.timing import slice_seconds
from yoda_nb.metrics import pearson
from yoda_nb.trainings import model_name
from yoda_nb.trainings.fast_unet import FAT
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

SYSTEMS = {"FLAIR": {"U-Net": "fast-unet", "DDPM": "ddpm-50"},
           FAT: {"U-Net": "fast-unet-ff", "DDPM": "ddpm-50-ff"}}  # fmt: skip
MORE_STEPS = 100
N_EX = 2  # samples in the DDPM's mean
REPEATS = 5  # timings of one image, the median of which counts


def volumes_of(of: Study, task: str) -> list[Volume]:
    """The evidence's subjects with the task's target; own files have FLAIR alone."""
    if task != FAT:
        return of.volumes
    return [] if of.own else study.load_subjects(of.settings.evidence, sources=("T2w",), target=FAT)


def images(of: Study, task: str, v: Volume, *, controls: bool = True) -> dict[str, Tensor]:
    """Identity, both models and, for fat fractions, the ``controls``: label -> (1,D,H,W) in [-1,1]."""
    unet, ddpm = SYSTEMS[task].values()
    at = v.sources.index("T2w")
    made = {"identity": v.source[at : at + 1], "U-Net": of.samples(v, unet)[0]}
    if task != FAT:
        return made | {"DDPM": of.samples(v, ddpm, **_steps(of, 50))[0]}
    drawn = of.samples(v, ddpm, n_ex=N_EX if controls else 1, **_steps(of, 50))
    made["DDPM"] = drawn[0]
    if not controls:
        return made
    long = model_name("ddpm-ff-long")
    return made | {
        "DDPM, trained twice as long": of.samples(v, ddpm, model=long, **_steps(of, 50))[0],
        f"DDPM, {MORE_STEPS} steps": of.samples(v, ddpm, **_steps(of, MORE_STEPS))[0],
        f"mean of {N_EX} DDPM samples": expected(drawn, "mean"),
    }


def _steps(of: Study, n: int) -> dict:
    """Fewer in the tests' profile."""
    return {"n_steps": min(n, of.settings.n_steps) if of.profile == "tiny" else n}


def scores(of: Study) -> pd.DataFrame:
    """Pearson's r, MAE and the scores of ``tables.score_table`` for both targets (seed 003, abstract).

    Columns of the score table plus task ("FLAIR" | "FF") and r, in the mask. The controls are run
    on the first subjects alone, as many as the profile shows.
    """
    todo = [(k, v, task) for task in SYSTEMS for k, v in enumerate(volumes_of(of, task))]
    parts = []
    for k, v, task in study.progress_bar(iterable=todo, desc="fast_unet"):
        parts.append(_scored(v, images(of, task, v, controls=k < of.settings.subjects), task))
    return pd.concat(parts, ignore_index=True)


def _scored(v: Volume, made: dict[str, Tensor], task: str) -> pd.DataFrame:
    table = tables.score_table([v], {label: [image] for label, image in made.items()})
    known = {**made, "acquired": v.target, "truth": v.clean}
    pairs = zip(table.sampler, table.reference, strict=True)
    return table.assign(task=task, r=[pearson(known[a], known[b], v.mask) for a, b in pairs])


def latency(of: Study) -> pd.DataFrame:
    """Seconds for one image by both models: ``slice_seconds``."""
    return slice_seconds(of, SYSTEMS["FLAIR"], REPEATS)


MAKERS = {"fast_unet": scores, "fast_unet_latency": latency}
