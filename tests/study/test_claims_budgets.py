"""Learning curves of the benchmark's systems: which trainings, where two curves have taken the same operations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from yoda_nb.data.phantom import phantom_case
from yoda_nb.errors import InputError
from yoda_nb.papers import TRAININGS
from yoda_nb.study.claims.evidence import Study
from yoda_nb.study.claims.yoda import benchmark, budgets
from yoda_nb.training.rows import CURVE, at_budget


def test_a_curve_is_of_trainings_that_differ_in_their_steps_alone():
    for (system, n), entry in budgets.larger(Study()).items():
        name = next(e.weights for e in benchmark.entries(Study()) if e.label == system).rpartition("/")[2]
        one, more = TRAININGS[name], TRAININGS[at_budget(name, n)]
        assert replace(more.config, steps=one.config.steps) == one.config
        assert more.config.steps == n * one.config.steps and more.variant and str(n) in more.title
        assert entry.weights == f"variants/{name}-x{n}" and at_budget(name, 1) == name
    assert {"yoda-regression", "unet", *benchmark.RIVALS.values()} <= {system for system, _ in budgets.larger(Study())}


def known(monkeypatch, **tables: pd.DataFrame) -> None:
    monkeypatch.setattr(Study, "table", lambda self, name: tables[name.replace("-", "_")])


def test_curves_begin_at_the_shared_budget_and_count_operations(monkeypatch):
    def rows(sampler: str, **more: object) -> pd.DataFrame:
        return pd.DataFrame({"subject": ["a", "b"], "sampler": sampler, "reference": "acquired", "ssim": 0.8, **more})

    known(
        monkeypatch,
        benchmark=pd.concat([rows("unet"), rows("adm"), rows("truth")]),
        benchmark_budgets=rows("unet x 4", system="unet", budget=4),
        benchmark_cost=pd.DataFrame({"system": ["unet", "adm"], "training": [5.0, 8.0]}),
    )
    table = budgets.curves(Study())
    assert set(table.system) == {"unet"}, "adm has no curve"
    assert table[["budget", "tflop"]].drop_duplicates().to_numpy().tolist() == [[1, 5.0], [4, 20.0]]


def test_equal_operations_are_read_off_lines_over_their_logarithm():
    at = [(system, first * n) for system, first in (("slow", 1.0), ("quick", 10.0)) for n in (1, *CURVE)]
    table = pd.DataFrame(
        [
            {"system": s, "subject": v, "tflop": t, "ssim": 0.1 * np.log(t) + shift, "psnr": 2 * np.log(t)}
            for s, t in at
            for v, shift in (("a", 0.0), ("b", 0.3))
        ]
    )
    found = budgets.at_compute(table.sample(frac=1, random_state=0), 11.0)
    for system in ("slow", "quick"):
        assert found.ssim[system].to_dict() == pytest.approx({"a": 0.1 * np.log(11), "b": 0.1 * np.log(11) + 0.3})
    assert found.psnr.to_numpy() == pytest.approx(2 * np.log(11))
    beyond = budgets.at_compute(table, 50.0)
    assert beyond.loc["slow"].isna().all(None) and beyond.loc["quick"].notna().all(None)
    assert budgets.at_compute(table, 5.0).loc["quick"].isna().all(None), "nor does it say what less would have given"


def test_what_has_a_card_is_scored_and_lost_weights_are_named(monkeypatch, tmp_path):
    entry = benchmark.Entry("unet x 4", "unet", "systems/unet")
    lost = benchmark.Entry("unet x 12", "unet", "systems/lost")
    monkeypatch.setattr(budgets, "larger", lambda study: {("unet", 4): entry, ("unet", 12): lost})
    v = phantom_case(1, shape=(40, 48, 40))
    table = budgets.scores(Study("tiny", own=(v,)))
    assert table[["sampler", "system", "budget"]].drop_duplicates().to_numpy().tolist() == [["unet x 4", "unet", 4]]
    assert set(table.reference) == {"acquired", "truth"}
    assert budgets.scores(Study("tiny", own=(v,), kept=frozenset({"systems/unet"}))).empty
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems" / "lost.json").write_text("{}")
    monkeypatch.setattr(budgets, "WEIGHTS", tmp_path)
    monkeypatch.setattr(budgets, "larger", lambda study: {("unet", 12): lost})
    with pytest.raises(InputError, match="lost"):
        budgets.scores(Study("tiny", own=(v,)))
