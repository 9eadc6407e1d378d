"""Learning curves, seeds and trials of the benchmark's systems: which trainings, and what is read off them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from yoda_nb.errors import InputError
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.rows import CURVE, RATES, STEPS, at_budget
from yoda_papers.ledger.evidence import Study, read_shipped
from yoda_papers.yoda import benchmark, budgets


def test_a_further_training_differs_in_its_budget_seed_or_rate_alone():
    rows = {
        e.label: TRAININGS[e.weights.rpartition("/")[2]]
        for e in benchmark.entries(Study())
        if e.weights != benchmark.LONG
    }
    systems = {about["system"] for about, _ in budgets.larger(Study())}
    assert {"yoda-regression", "unet", "bbdm", *benchmark.RIVALS.values()} == systems
    for about, entry in (*budgets.larger(Study()), *budgets.trials(Study()), *budgets.tuned(Study())):
        one, more = rows[about["system"]], TRAININGS[entry.weights.removeprefix("variants/")]
        own = {k: getattr(one.config, k) for k in ("steps", "seed", "lr", "warmup")}
        assert replace(more.config, **own) == one.config and more.variant
        if "rate" in about:
            assert (more.config.lr, more.config.seed) == (about["rate"], one.config.seed)
            assert more.config.steps in (one.config.steps // 4, 4 * one.config.steps)
            assert more.config.warmup < more.config.steps / 2
        else:
            assert more.config.steps == about["budget"] * one.config.steps
            assert (more.config.seed, more.config.lr) == (about["training"], one.config.lr)
    assert at_budget("unet") == "unet" and TRAININGS["unet"].config.steps == STEPS
    assert TRAININGS["unet"].config.lr in RATES, "the rate of all rows is one of the trials"


def test_a_systems_own_rate_is_that_of_its_best_trial():
    trials = read_shipped("benchmark-rates").query("reference == 'acquired'")
    best = trials.pivot_table(index="system", columns="rate", values="ssim").idxmax(axis=1)
    own = {about["system"]: about["rate"] for about, _ in budgets.tuned(Study())}
    assert own == best[best != TRAININGS["unet"].config.lr].to_dict()


def rows(sampler: str, **more: object) -> pd.DataFrame:
    return pd.DataFrame({"subject": ["a", "b"], "sampler": sampler, "reference": "acquired", "ssim": 0.8, **more})


@pytest.fixture
def known(monkeypatch):
    tables = {
        "benchmark": pd.concat([rows("unet"), rows("adm"), rows("truth")]),
        "benchmark-budgets": pd.concat(
            [
                rows("unet-x4", system="unet", budget=4, training=0),
                rows("unet-seed1", system="unet", budget=1, training=1),
            ]
        ),
        "benchmark-own-rates": pd.concat([rows("unet-x4-lr0.006", system="unet", rate=0.006).assign(ssim=0.9)]),
        "benchmark-cost": pd.DataFrame({"system": ["unet", "adm"], "training": [5.0, 8.0]}),
    }
    monkeypatch.setattr(Study, "table", lambda self, name: tables[name])
    monkeypatch.setattr(Study, "ships", lambda self, name: True)


def test_curves_begin_at_the_shared_budget_and_count_operations(known):
    table = budgets.curves(Study())
    assert set(table.system) == {"unet"}, "adm has no curve"
    assert table[["budget", "tflop"]].drop_duplicates().to_numpy().tolist() == [[1, 5.0], [4, 20.0]]


def test_a_rate_of_ones_own_is_beside_the_shared_one_after_as_many_slabs(known):
    table = budgets.tuning(Study())
    assert table[["sampler", "tuned"]].drop_duplicates().to_numpy().tolist() == [
        ["unet-x4", False],
        ["unet-x4-lr0.006", True],
    ]
    assert budgets.rises(table, over="tuned").loc["unet"].gain == pytest.approx(0.1)


def test_further_seeds_and_budgets_stand_beside_the_first(known):
    table = benchmark.trainings(Study())
    assert set(table.columns) == {"subject", "sampler", "reference", "ssim", "budget", "training"}
    made = table.groupby("sampler")[["budget", "training"]].apply(lambda t: set(map(tuple, t.to_numpy())))
    assert made.to_dict() == {"adm": {(1, 0)}, "truth": {(1, 0)}, "unet": {(1, 0), (4, 0), (1, 1)}}


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
    assert beyond.loc["slow"].isna().to_numpy().all() and beyond.loc["quick"].notna().to_numpy().all()
    assert budgets.at_compute(table, 12.2).loc["slow"].psnr.to_numpy() == pytest.approx(2 * np.log(12)), "near its end"
    assert budgets.at_compute(table, 5.0).loc["quick"].isna().to_numpy().all(), (
        "nor does it say what less would have given"
    )


def test_a_plateau_is_a_last_gain_within_the_margin_whole():
    gains = {"rises": (0.01, 0.012, 0.011), "still": (0.0003, 0.0005, 0.0004), "unsure": (-0.01, 0.01, 0.0)}
    table = pd.DataFrame(
        [
            {"system": s, "subject": k, "budget": n, "ssim": 0.1 * k + (n > 1) * gain + (n > 4) * (gain - 0.5)}
            for s, of in gains.items()
            for k, gain in enumerate(of)
            for n in ((1, 4, 12) if s == "rises" else (1, 4))
        ]
    )
    found = budgets.rises(table)
    assert found.budget.to_dict() == {"rises": 12, "still": 4, "unsure": 4}
    assert found.gain.to_dict() == pytest.approx({"rises": -0.489, "still": 0.0004, "unsure": 0.0})
    assert found.plateau.to_dict() == {"rises": False, "still": True, "unsure": False}


def test_what_has_a_card_is_scored_and_lost_weights_are_named(monkeypatch, tmp_path):
    about = {"system": "unet", "budget": 4, "training": 0}
    entry = benchmark.Entry("unet-x4", "unet", "systems/unet")
    lost = replace(entry, label="unet-x12", weights="systems/lost")
    monkeypatch.setattr(budgets, "larger", lambda study: [(about, entry), (about | {"budget": 12}, lost)])
    v = phantom_case(1, shape=(40, 48, 40))
    table = budgets.scores(Study("tiny", own=(v,)))
    columns = ["sampler", "system", "budget", "training"]
    assert table[columns].drop_duplicates().to_numpy().tolist() == [["unet-x4", "unet", 4, 0]]
    assert set(table.reference) == {"acquired", "truth"}
    assert budgets.scores(Study("tiny", own=(v,), kept=frozenset({"systems/unet"}))).empty
    (tmp_path / "systems").mkdir()
    (tmp_path / "systems" / "lost.json").write_text('{"training": {"command": "lost"}}')
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    with pytest.raises(InputError, match="lost"):
        budgets.scores(Study("tiny", own=(v,)))
