"""Seconds for one slice, several systems in turn: what ratios of speed rest on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from yoda_nb.images.volumes import Volume, crop_volume
from yoda_nb.systems.run import Run, prepare
from yoda_nb.systems.table import get_system

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


def slice_seconds(study: Study, systems: Mapping[str, str], repeats: int) -> pd.DataFrame:
    """Seconds for one axial slice, batch 1, on this machine; label -> system in turn, nothing from the bank.

    Every system takes all of its steps (few in the tests' profile). Columns subject, sampler, seconds
    (median of the repeats), evaluations, rows, columns.
    """
    found = []
    for v in study.volumes[: study.settings.subjects]:
        runs = {label: one_slice(study, v, system) for label, system in systems.items()}
        seconds: dict[str, list[float]] = {label: [] for label in runs}
        for repeat in range(1 + repeats):  # the first warms up
            for label, (run, _) in runs.items():
                begun = time.perf_counter()
                run()
                seconds[label] += [time.perf_counter() - begun] if repeat else []
        found += [
            {"subject": v.subject, "sampler": label, "seconds": median(seconds[label]), **about}
            for label, (_, about) in runs.items()
        ]
    return pd.DataFrame(found)


def one_slice(study: Study, v: Volume, system: str) -> tuple[Callable[[], Tensor], dict[str, int]]:
    """A function that makes the fullest axial slice of a subject, and what it works on."""
    spec = get_system(system)
    if study.profile == "tiny":
        spec = replace(spec, n_steps=min(spec.n_steps, study.settings.n_steps))
    job = prepare(v, spec, Run(seed=study.seed, device=study.device or None, batch_size=1))
    _, rows, columns, _ = job.cut.mask.shape
    at = int(job.cut.mask[0].sum((0, 1)).argmax())
    job = replace(job, cut=crop_volume(job.cut, (slice(0, rows), slice(0, columns), slice(at, at + 1))))
    process = spec.sampling.process(job)

    def run() -> Tensor:
        return process.sample(job.generator).cpu()

    return run, {"evaluations": spec.evaluations, "rows": rows, "columns": columns}
