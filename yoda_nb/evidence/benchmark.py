"""Evidence on all systems in one table: the same phantoms, the same budget of slabs, the same scores."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb import study, tables
from yoda_nb.coherence import slice_inconsistency
from yoda_nb.diffusion import expected
from yoda_nb.evidence.samplers import fd_draws, n_draws
from yoda_nb.models import is_shipped, load_model
from yoda_nb.nets import n_parameters
from yoda_nb.segmentation import lesion_table
from yoda_nb.systems import SYSTEMS, get_system, translate
from yoda_nb.trainings import BUDGET, TRAININGS
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

CONTRASTS, TARGET = {"T1w", "T2w"}, "FLAIR"
SUBJECTS = 10  # of the quick profile: with fewer, no test survives Holm's correction for all systems
SHOWN = 2  # subjects in the explorer of notebook 24
SLOW = 16  # evaluations from which on the first one's images are shipped
MOST_STEPS = 16  # of a trajectory that draws noise in every step, where its row says more
YODA_STEPS = 10  # of YODA's diffusion and DDIM samples
N_EX = 4
YODA = "systems/yoda"  # trained at the shared budget
LONG = "tiny-t1w-t2w-flair"  # a larger net and more slabs: for orientation, in no verdict
AXIAL = 2
PAPERS = {
    "000": "YODA (seed 000)", "001": "backbones (seed 001)", "002": "SynDiff (seed 002)",
    "003": "fast U-Net (seed 003)", "004": "Brownian bridge (seed 004)", "": "SelfRDB",
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One line of the benchmark: how a system runs."""

    label: str
    system: str
    weights: str
    settings: Mapping[str, object] = field(default_factory=dict)
    paper: str = "000"
    average: bool = True  # of the trajectories drawn, else the first one

    @property
    def trained(self) -> bool:
        return is_shipped(self.weights)

    @property
    def needed(self) -> Mapping[str, object]:
        """The settings that make this one image and no more."""
        return self.settings if self.average else {**self.settings, "n_ex": 1}


def entries(of: Study) -> list[Entry]:
    """Every system that makes FLAIR of T1w, T2w or both; YODA's samplers share one model."""
    n = min(YODA_STEPS, of.settings.n_steps) if of.profile != "full" else of.settings.n_steps
    rows = [
        Entry("yoda-regression", "yoda-regression", YODA),
        Entry("yoda-noised", "yoda-noised", YODA),
        Entry("yoda-diffusion", "yoda-diffusion", YODA, {"n_steps": n, "n_ex": N_EX}, average=False),
        Entry(f"yoda-expa {N_EX}", "yoda-diffusion", YODA, {"n_steps": n, "n_ex": N_EX}),
        Entry("yoda-ddim", "yoda-ddim", YODA, {"n_steps": n}),
        Entry("yoda-regression, long", "yoda-regression", LONG),
    ]
    for name, row in SYSTEMS.items():
        if row.weights and _fits(row.weights):
            most = 2 if of.profile == "tiny" else MOST_STEPS if row.sigma == "posterior" else row.n_steps
            settings = {"n_steps": most} if row.n_steps > most else {}
            rows.append(Entry(name, name, row.weights, settings, "" if row.process == "recursive" else row.seed))
    return rows


def _fits(weights: str) -> bool:
    """Whether a model, trained or yet to be, makes the benchmark's target of its sources."""
    row = TRAININGS.get(weights.rpartition("/")[2])
    return row is not None and row.target == TARGET and set(row.sources) <= CONTRASTS


def volumes(of: Study) -> list[Volume]:
    """The subjects behind a test of each system."""
    if of.own or of.profile != "quick":
        return of.volumes
    return study.load_subjects(SUBJECTS)


def image_of(of: Study, v: Volume, entry: Entry) -> Tensor:
    """What a system makes of a subject: (1,D,H,W) in [-1,1]."""
    drawn = of.samples(v, entry.system, model=entry.weights, **entry.settings)
    combine = get_system(entry.system, **entry.settings).combine
    return expected(drawn, combine) if entry.average and len(drawn) > 1 else drawn[0]


def images(of: Study, subjects: list[Volume]) -> dict[str, list[Tensor]]:
    """label -> one image a subject, for every system that has been trained."""
    found = [entry for entry in entries(of) if entry.trained]
    made: dict[str, list[Tensor]] = {entry.label: [] for entry in found}
    with study.progress_bar(total=len(found) * len(subjects), desc="systems") as bar:
        for v in subjects:
            for entry in found:
                made[entry.label].append(image_of(of, v, entry))
                bar.update()
    return made


def benchmark(of: Study) -> pd.DataFrame:
    """``tables.score_table`` of every system, with what lesions and slices tell.

    Further columns: inconsistency (jumps of the error's mean between axial slices, [0,1] scale),
    cnr and contrast of the true lesions (``segmentation.lesion_table``).
    """
    subjects = volumes(of)
    made = images(of, subjects)
    scores = tables.score_table(subjects, {**made, "truth": [v.clean for v in subjects]})
    lesions = lesion_table(subjects, made, segment=lambda image, v: v.lesions)  # the true ones: nothing is segmented
    known = {**made, "acquired": [v.target for v in subjects], "truth": [v.clean for v in subjects]}
    jumps = [{"subject": v.subject, "sampler": label,
              "inconsistency": slice_inconsistency((each[k] - v.clean) / 2, v.mask, AXIAL)}
             for label, each in known.items() for k, v in enumerate(subjects)]  # fmt: skip
    keys = ["subject", "sampler"]
    return scores.merge(pd.DataFrame(jumps), on=keys).merge(lesions[[*keys, "cnr", "contrast"]], on=keys)


def perception(of: Study) -> pd.DataFrame:
    """Fréchet and kernel distance of each system's slices, and of bootstrap draws (``fd_draws``)."""
    subjects, scores = volumes(of), of.table("benchmark")
    made = {**images(of, subjects), "truth": [v.clean for v in subjects]}
    scored = {label: each for label, each in made.items() if label in set(scores["sampler"])}
    return fd_draws(subjects, scored, scores, seed=of.seed, draws=n_draws(of), kernel=True)


def cost(of: Study) -> pd.DataFrame:
    """What each system is and takes, trained or not; seconds are those of this machine, one run.

    Columns system, paper, sources, trained, paired, parameters, slabs (seen in training, in units
    of the shared budget), evaluations (at most), slices (that the net ran on, for one subject),
    seconds (a subject, nothing from the bank).
    """
    subject, rows = of.volumes[0], []
    for entry in entries(of):
        row = {"system": entry.label, "paper": PAPERS[entry.paper], "trained": entry.trained,
               "evaluations": get_system(entry.system, **entry.needed).evaluations}  # fmt: skip
        rows.append(row | (_measured(of, subject, entry) if entry.trained else {}))
    return pd.DataFrame(rows)


def _measured(of: Study, v: Volume, entry: Entry) -> dict:
    model, count = load_model(entry.weights), []
    run = partial(translate, v, entry.system, seed=of.seed, model=entry.weights, device=of.device or None)
    few = min(2, get_system(entry.system, **entry.needed).n_steps)
    hook = model.net.register_forward_hook(lambda net, given, out: count.append(len(out)))
    try:
        run(**entry.needed | {"n_steps": few})  # the first run of a net also prepares it
        count.clear()
        begun = time.perf_counter()
        run(**entry.needed)
        seconds = time.perf_counter() - begun
    finally:
        hook.remove()
    card = model.card
    return {"sources": "+".join(model.sources), "paired": not card.get("unpaired", False),
            "parameters": n_parameters(model.net), "slabs": card["training"].get("slabs_seen", np.nan) / BUDGET,
            "slices": sum(count), "seconds": seconds}  # fmt: skip


MAKERS = {"benchmark": benchmark, "benchmark-fd": perception, "benchmark-cost": cost}
