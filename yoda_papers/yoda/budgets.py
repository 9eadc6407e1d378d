"""What the systems that decide verdicts are trained for besides: learning curves, further seeds, trials of the rate.

Each is a training of its own (``rows.deciding``). Their weights are not shipped, only their cards: what has one
is in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from yoda_nb.images.volumes import Volume
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.study.tables import interval
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.train import model_name
from yoda_nb.training.recipes import VALIDATION_SEEDS
from yoda_nb.training.rows import CURVE, MORE_SEEDS, RATES, SEEDS, at_budget, at_rate
from yoda_papers.ledger.verdicts import MARGINS
from yoda_papers.yoda import benchmark
from yoda_papers.yoda.benchmark import Entry

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

Run = tuple[dict[str, object], Entry]  # what tells it in a table, and how it runs
# times the budget, seed
MADE = (*((n, 0) for n in CURVE), *((1, seed) for seed in SEEDS), *((CURVE[0], seed) for seed in MORE_SEEDS))
NEAR = 0.02  # of the operations of a training, as a share: where its curve ends
VALIDATED = 3  # phantoms, none of training and none of a test, by which a rate is chosen


def larger(study: Study) -> list[Run]:
    """The further budgets and seeds of each system that has them, trained or not."""
    return _runs(study, {at_budget("", *made): dict(zip(("budget", "training"), made, strict=True)) for made in MADE})


def trials(study: Study) -> list[Run]:
    """The trials of each system's learning rate, trained or not."""
    return _runs(study, {at_rate("", rate): {"rate": rate} for rate in RATES})


def tuned(study: Study) -> list[Run]:
    """Each system after ``CURVE[0]`` budgets at the rate of its best trial, trained or not; none at the shared rate."""
    return _runs(study, {at_rate(at_budget("", CURVE[0]), rate): {"rate": rate} for rate in RATES})


def deciding(study: Study) -> dict[str, Entry]:
    """Row of training -> the first system that runs by it, of the rows that were trained for more than one budget."""
    first = {e.weights.rpartition("/")[2]: e for e in reversed(benchmark.entries(study))}
    return {row: e for row, e in reversed(first.items()) if at_budget(row, CURVE[0]) in TRAININGS}


def _runs(study: Study, named: dict[str, dict[str, object]]) -> list[Run]:
    """The systems of ``deciding`` with the trainings whose names end so."""
    return [
        ({"system": e.label, **about}, replace(e, label=e.label + end, weights=model_name(row + end)))
        for row, e in deciding(study).items()
        for end, about in named.items()
        if row + end in TRAININGS
    ]


def scores(study: Study) -> pd.DataFrame:
    """``benchmark.scored`` of every budget and seed that has a card, with columns system, budget and training."""
    return _scored(study, larger(study), benchmark.volumes(study))


def rates(study: Study) -> pd.DataFrame:
    """The same of every trial that has a card, on validation phantoms, with columns system and rate."""
    n = 1 if study.profile == "tiny" else VALIDATED
    return _scored(study, trials(study), list(study.own) or [phantom_case(VALIDATION_SEEDS + k) for k in range(n)])


def own_rates(study: Study) -> pd.DataFrame:
    """``benchmark.scored`` of each ``tuned`` system that has a card, with columns system and rate."""
    return _scored(study, tuned(study), benchmark.volumes(study))


def _scored(study: Study, runs: Sequence[Run], subjects: list[Volume]) -> pd.DataFrame:
    columns, about = list(runs[0][0]), {entry.label: told for told, entry in runs}
    made = benchmark.images(study, subjects, [entry for _, entry in runs])
    if not made:  # nothing was trained besides
        return pd.DataFrame(columns=["subject", "sampler", "reference", *columns])
    table = benchmark.scored(subjects, made)
    table = table[table.sampler.isin(made)].reset_index(drop=True)
    return pd.concat([table, pd.DataFrame([about[label] for label in table.sampler], columns=columns)], axis=1)


def curves(study: Study) -> pd.DataFrame:
    """The scores of each system with a curve at one budget and at those that it was trained for, of seed 0.

    Further column: tflop, the operations of that training in 10^12.
    """
    one, more, cost = (study.table(f"benchmark{name}") for name in ("", "-budgets", "-cost"))
    drawn = {about["system"] for about, _ in larger(study)}
    one = one[one.sampler.isin(drawn)].assign(system=lambda t: t.sampler, budget=1)
    table = pd.concat([one, more[more.training == 0].drop(columns="training")], ignore_index=True)
    return table.assign(tflop=table.system.map(cost.set_index("system").training) * table.budget)


def at_compute(table: pd.DataFrame, tflop: float, metrics: Sequence[str] = ("ssim", "psnr")) -> pd.DataFrame:
    """(system, subject) -> scores where a curve has taken ``tflop``, on lines over the logarithm of operations.

    ``table`` is ``curves`` against one reference. What a curve does not reach within ``NEAR``, on either side, is nan.
    """

    def read(of: pd.DataFrame) -> pd.Series:
        of, at = of.sort_values("tflop"), np.log(tflop)
        over = np.log(of.tflop)
        reached = over.min() - NEAR <= at <= over.max() + NEAR
        return pd.Series({m: np.interp(at, over, of[m]) if reached else np.nan for m in metrics})

    return table.groupby(["system", "subject"], sort=False)[["tflop", *metrics]].apply(read)


def tuning(study: Study) -> pd.DataFrame:
    """The scores of each ``tuned`` system at the shared rate and at its own, after as many slabs.

    Further column: tuned, whether at its own, the ``rate``.
    """
    own, shared = study.table("benchmark-own-rates"), study.table("benchmark-budgets")
    shared = shared[(shared.budget == CURVE[0]) & (shared.training == 0) & shared.system.isin(own.system)]
    return pd.concat([shared.assign(tuned=False), own.assign(tuned=True)], ignore_index=True)


def rises(table: pd.DataFrame, metric: str = "ssim", over: str = "budget") -> pd.DataFrame:
    """system -> what the last stretch of its curve gained in a metric, on the same subjects.

    Columns: ``over``, where it ended; gain with its 95 % t interval low, high; and plateau, whether the interval
    lies within the metric's margin of equivalence. ``table`` is ``curves``, or ``tuning`` over "tuned", against one
    reference.
    """
    found = {}
    for system, of in table.groupby("system", sort=False):
        wide = of.pivot_table(index="subject", columns=over, values=metric)
        gain, low, high = interval((wide.iloc[:, -1] - wide.iloc[:, -2]).dropna())
        found[system] = (wide.columns[-1], gain, low, high, bool(max(-low, high) <= MARGINS[metric]))
    return pd.DataFrame.from_dict(found, orient="index", columns=[over, "gain", "low", "high", "plateau"])


TABLES = {"benchmark-budgets": scores, "benchmark-rates": rates, "benchmark-own-rates": own_rates}
