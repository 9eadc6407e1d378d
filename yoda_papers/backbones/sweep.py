"""Images of backbones and samplers (Koch): scores and distances of sixteen subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, crop_volume, required
from yoda_nb.metrics.images import score
from yoda_nb.study import tables
from yoda_nb.study.sampling import progress_bar
from yoda_nb.systems.papers import SYSTEMS
from yoda_nb.systems.train import model_name
from yoda_papers.ledger.draws import drawing, fd_draws

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

TITLES = {"adm": "ADM", "uvit": "U-ViT", "dit": "DiT", "dit-wavelet": "DiT, wavelet"}
SWEPT = ("adm", "uvit", "dit")
LONG = "uvit-long"  # U-ViT where it has learned: that of the shared budget is at its floor from 32 steps on
KINDS = {"DDPM": "posterior", "DDIM": "zero"}
STEPS = (16, 32, 64, 128)  # as Fig. 3 and 4 of Koch, which go on to 256 and 1000
SUBJECTS = 16
# of each table of distances; after sixteen the untrained feature net was the only one not sure of the longer training
MEASURED = {"backbones_fd": SUBJECTS, "backbones_long": 30}
SLICES = 16  # axial ones of each subject, around the fullest: the nets see one at a time
# Schedules for the net of alpha-cosine (App. A), at 128 steps as its Fig. A.7. Steps between times at which a
# schedule sits at its limit leave x as it is: the sigmoids jump over these to the first of the 128 that acts.
SWAPS: dict[str, dict[str, Any]] = {
    "shifted-cosine": {},
    "sigmoid-0.5": {},
    "sigmoid-0.1": {"jump_to": 358, "n_steps": 47},
    "sigmoid-0.008": {"jump_to": 30, "n_steps": 5},
}


@dataclass(frozen=True)
class Run:
    """One way to make an image, as a row of the tables."""

    label: str
    system: str
    kind: str  # "DDPM" | "DDIM" | "one step"
    n_steps: int
    schedule: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def image(self, study: Study, v: Volume) -> Tensor:
        """Its image (1,D,H,SLICES) of a whole subject's middle slices."""
        if SYSTEMS[self.system].views == (AXIAL,):
            return study.samples(middle(v), self.system, **self.settings)[0]
        return study.samples(v, self.system, **self.settings)[0][..., _middle(v)]


def middle(v: Volume) -> Volume:
    """The subject's slices that count here."""
    return crop_volume(v, (slice(0, v.shape[0]), slice(0, v.shape[1]), _middle(v)))


def _middle(v: Volume) -> slice:
    size = min(SLICES, v.shape[AXIAL])
    first = int(v.mask[0].sum((0, 1)).argmax()) - size // 2
    first = min(max(first, 0), v.shape[AXIAL] - size)
    return slice(first, first + size)


def runs(study: Study) -> list[Run]:
    """All images of one subject: the sweep of steps, the U-Net, DiT's remedy, other schedules, YODA's 2.5D."""
    steps = _steps(study)
    most = steps[-1]
    found = [Run("U-Net", "unet", "one step", 1)]
    found += [run for name in SWEPT for run in sweep(name, steps)]
    found += [one_run("dit-wavelet", "DDPM", most)]
    found += [_swapped(schedule, most, settings) for schedule, settings in SWAPS.items()]
    whole = {"model": model_name("yoda"), "n_steps": most, "jump_to": None, "times": "even"}
    return [*found, Run("YODA, 2.5D", "yoda-diffusion", "DDPM", most, settings=whole)]


def sweep(name: str, steps: Sequence[int], **settings: Any) -> list[Run]:
    """A backbone with every number of steps of DDPM and of DDIM."""
    return [one_run(name, kind, n, **settings) for kind in KINDS for n in steps]


def one_run(name: str, kind: str, n: int, **settings: Any) -> Run:
    """A backbone with ``n`` steps of DDPM or DDIM."""
    return Run(f"{TITLES[name]} {kind} {n}", name, kind, n, settings={"n_steps": n, "sigma": KINDS[kind], **settings})


def _steps(study: Study) -> Sequence[int]:
    return study.settings.sweep if study.profile == "tiny" else STEPS


def _swapped(schedule: str, most: int, given: dict[str, Any]) -> Run:
    settings: dict[str, Any] = {"n_steps": most, "schedule": schedule, **given}
    settings["n_steps"] = min(most, settings["n_steps"])
    return Run(f"ADM {schedule}", "adm", "DDPM", settings["n_steps"], schedule, settings)


def images(study: Study, volumes: Sequence[Volume], of: Sequence[Run]) -> dict[str, list[Tensor]]:
    """Every run on every subject: label -> images (1,D,H,SLICES) in [-1,1]."""
    made: dict[str, list[Tensor]] = {}
    todo = [(v, run) for v in volumes for run in of]
    with progress_bar(total=sum(run.n_steps for _, run in todo), desc="backbones") as bar:
        for v, run in todo:
            made.setdefault(run.label, []).append(run.image(study, v))
            bar.update(run.n_steps)
    return made


def scores(study: Study) -> pd.DataFrame:
    """Tables 1 and 3 and Figure 4 of Koch, Figure A.7, and slices against a 2.5D model.

    Score-table columns plus those of ``Run``, unet_psnr (dB, to the U-Net's image) and inconsistency
    (jumps of the error's mean between adjacent axial slices, [0,1] scale).
    """
    volumes = study.more(SUBJECTS)
    made, cut = images(study, volumes, runs(study)), [middle(v) for v in volumes]
    table = tables.score_table(cut, made)
    table = table[table.sampler != "acquired"].reset_index(drop=True)
    at = {v.subject: k for k, v in enumerate(cut)}
    rows = [
        _beside(cut[at[subject]], made[label][at[subject]], made["U-Net"][at[subject]])
        for subject, label in zip(table.subject, table.sampler, strict=True)
    ]
    return pd.concat([_with_runs(runs(study), table), pd.DataFrame(rows)], axis=1)


def _with_runs(of: Sequence[Run], table: pd.DataFrame) -> pd.DataFrame:
    """A table with column sampler, and what each of its runs is."""
    about = {run.label: run for run in of}
    columns = ("system", "kind", "n_steps", "schedule")
    return table.assign(**{k: [getattr(about[label], k) for label in table.sampler] for k in columns})


def _beside(v: Volume, image: Tensor, unet: Tensor) -> dict[str, float]:
    same = image is unet
    psnr = np.nan if same else score((image + 1) / 2, (unet + 1) / 2, v.mask, data_range=1)["psnr"]
    return {"unet_psnr": psnr, "inconsistency": slice_inconsistency(error(v, image), v.mask, AXIAL)}


def error(v: Volume, image: Tensor) -> Tensor:
    """Of an image in [-1,1] to the noise-free target where it is known, else the acquired one: [0,1] scale."""
    return (image - required(v, "target" if v.clean is None else "clean")) / 2


def distances(study: Study) -> pd.DataFrame:
    """Fréchet distances of the same images, with bootstrap draws over subjects (Table 1, Figure 3)."""
    of = [run for run in runs(study) if SYSTEMS[run.system].views == (AXIAL,)]  # each slice by itself
    return _distances(study, of, MEASURED["backbones_fd"])


def long_distances(study: Study) -> pd.DataFrame:
    """The same of U-ViT trained longer, for every number of steps."""
    return _distances(study, sweep("uvit", _steps(study), model=model_name(LONG)), MEASURED["backbones_long"])


def _distances(study: Study, of: Sequence[Run], subjects: int) -> pd.DataFrame:
    volumes = study.more(subjects)
    cut, made = [middle(v) for v in volumes], images(study, volumes, of)
    return _with_runs(of, fd_draws(cut, made, tables.score_table(cut, made), **drawing(study)))


TABLES = {"backbones": scores, "backbones_fd": distances, "backbones_long": long_distances}
