"""Learning curves: systems of the benchmark at larger budgets, by slabs and by operations of their training.

Each point is a training of its own (``rows.longer``). Their weights are not shipped, only their cards: what has one
is in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from yoda_nb.nets.models import WEIGHTS
from yoda_nb.papers import TRAININGS
from yoda_nb.study.claims.yoda import benchmark
from yoda_nb.study.claims.yoda.benchmark import Entry
from yoda_nb.systems.models import weights_path
from yoda_nb.systems.train import model_name
from yoda_nb.training.rows import CURVE, at_budget

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study

TABLE = "benchmark-budgets"


def larger(study: Study) -> dict[tuple[str, int], Entry]:
    """(system, times the budget) -> how it runs, trained or not: the first system of each model with a curve."""
    first = {entry.weights.rpartition("/")[2]: entry for entry in reversed(benchmark.entries(study))}
    return {
        (entry.label, n): replace(entry, label=f"{entry.label} x {n}", weights=model_name(at_budget(row, n)))
        for row, entry in reversed(first.items())
        for n in CURVE
        if at_budget(row, n) in TRAININGS
    }


def scores(study: Study) -> pd.DataFrame:
    """``benchmark.scored`` of every training that has a card, with columns system and budget.

    Raises InputError, naming the command that makes them, for weights that are not here.
    """
    known = {key: e for key, e in larger(study).items() if (WEIGHTS / f"{e.weights}.json").exists()}
    for entry in known.values():
        if entry.weights not in study.kept:
            weights_path(entry.weights)
    subjects = benchmark.volumes(study)
    table = benchmark.scored(subjects, benchmark.images(study, subjects, list(known.values())))
    told = {entry.label: key for key, entry in known.items()}
    table = table[table.sampler.isin(told)].reset_index(drop=True)
    return table.assign(**{k: [told[s][i] for s in table.sampler] for i, k in enumerate(("system", "budget"))})


def curves(study: Study) -> pd.DataFrame:
    """The scores of each system with a curve at one budget and at those that it was trained for.

    Further column: tflop, the operations of that training in 10^12.
    """
    one, more, cost = (study.table(name) for name in ("benchmark", TABLE, "benchmark-cost"))
    drawn = [system for system, n in larger(study) if n == CURVE[0]]
    one = one[one.sampler.isin(drawn)].assign(system=lambda t: t.sampler, budget=1)
    table = pd.concat([one, more], ignore_index=True)
    return table.assign(tflop=table.system.map(cost.set_index("system").training) * table.budget)


def at_compute(table: pd.DataFrame, tflop: float, metrics: Sequence[str] = ("ssim", "psnr")) -> pd.DataFrame:
    """(system, subject) -> scores where a curve has taken ``tflop``, on lines over the logarithm of operations.

    ``table`` is ``curves`` against one reference. What a curve does not reach, on either side, is nan.
    """

    def read(of: pd.DataFrame) -> pd.Series:
        of, at = of.sort_values("tflop"), np.log(tflop)
        found = (np.interp(at, np.log(of.tflop), of[m], left=np.nan, right=np.nan) for m in metrics)
        return pd.Series(found, index=metrics)

    return table.groupby(["system", "subject"], sort=False)[["tflop", *metrics]].apply(read)


TABLES = {TABLE: scores}
