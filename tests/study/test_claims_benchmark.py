"""The benchmark of all systems: its entries, and the claim that rests on it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yoda_nb.data.phantom import phantom_case
from yoda_nb.papers import PAPERS, SYSTEMS, TRAININGS
from yoda_nb.study.claims.evidence import Study
from yoda_nb.study.claims.verdicts import INCONCLUSIVE, NOT_REPRODUCED, combined
from yoda_nb.study.claims.yoda import benchmark
from yoda_nb.study.claims.yoda.benchmark import REGRESSION, RIVALS, regression_over_rivals
from yoda_nb.systems.models import load_model
from yoda_nb.systems.table import get_system


def test_every_system_of_this_translation_is_an_entry():
    found = {e.label: e for e in benchmark.entries(Study())}
    own = {name for name, row in SYSTEMS.items() if row.weights}
    assert {"selfrdb", "yoda-regression", "yoda-diffusion", "yoda-ddim"} <= set(found)
    for name in own & set(found):
        if found[name].trained:
            model = load_model(found[name].weights)
            assert model.contrast == "FLAIR" and set(model.sources) <= {"T1w", "T2w"}
    for name in own - set(found):
        row = TRAININGS[SYSTEMS[name].weights.split("/")[1]]
        assert row.target != "FLAIR" or set(row.sources) - {"T1w", "T2w"}
    for entry in found.values():
        spec = get_system(entry.system, **entry.settings)
        assert spec.n_steps <= benchmark.MOST_STEPS or spec.sampling.sigma == "zero"
        assert entry.paper in PAPERS


def test_what_is_not_trained_is_listed_and_breaks_nothing(monkeypatch):
    lost = benchmark.Entry("lost", "yoda-regression", "systems/never-trained")
    monkeypatch.setattr(benchmark, "entries", lambda of: [lost])
    v = phantom_case(1, spacing=8.0, shape=(24, 24, 24))
    of = Study("tiny", own=(v,))
    assert benchmark.images(of, [v]) == {}
    (row,) = benchmark.cost(of).to_dict("records")
    assert row["system"] == "lost" and row["trained"] is False and row["evaluations"] == 3


def test_rows_of_models_that_a_table_knows_are_not_made_again(monkeypatch):
    both = [benchmark.Entry(name, name, f"systems/{name}") for name in ("unet", "selfrdb")]
    monkeypatch.setattr(benchmark, "entries", lambda of: both)
    v = phantom_case(1, shape=(40, 48, 40))
    whole, rest = (
        benchmark.benchmark(Study("tiny", own=(v,), kept=frozenset(kept))) for kept in ((), ("systems/selfrdb",))
    )
    assert set(whole.sampler) == {"unet", "selfrdb", "acquired", "truth"} and set(rest.sampler) == {"unet"}
    pd.testing.assert_frame_equal(rest.reset_index(drop=True), whole[whole.sampler == "unet"].reset_index(drop=True))


def scores(**shift: float) -> pd.DataFrame:
    """Ten subjects; each system's SSIM is its shift above a subject's own level, with a little wobble."""
    rng = np.random.default_rng(0)
    level = rng.normal(0.8, 0.05, 10)
    rows = [
        {
            "subject": f"s{k}",
            "sampler": name,
            "reference": "acquired",
            "ssim": level[k] + by + 0.001 * rng.random(),
            "psnr": 20 + by + 0.001 * rng.random(),
        }
        for name, by in shift.items()
        for k in range(10)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "shifts, verdict",
    [
        ({"selfrdb": -0.01, "syndiff-paired": -0.02}, INCONCLUSIVE),  # three of five are unknown
        ({"selfrdb": +0.01, "syndiff-paired": -0.02}, NOT_REPRODUCED),
        ({"selfrdb": -0.01}, INCONCLUSIVE),
    ],
)
def test_one_better_rival_refutes_and_two_worse_ones_prove_nothing(monkeypatch, shifts, verdict):
    monkeypatch.setattr(Study, "table", lambda self, name: scores(**{REGRESSION: 0.0}, **shifts))
    effects = regression_over_rivals(Study())
    assert combined(effects) == verdict
    assert len(effects) == 2 * len(shifts) + 1
    absent = [rival for rival, system in RIVALS.items() if system not in shifts]
    assert all(rival in effects[-1].name for rival in absent) and effects[-1].n == len(absent)
    assert effects[0].value == pytest.approx(-shifts["selfrdb"], abs=1e-3)
