"""The benchmark of all systems: its entries, and the claim that rests on it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from score_tables import scores
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model
from yoda_nb.systems.papers import PAPERS, SYSTEMS, TRAININGS
from yoda_nb.systems.table import get_system
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import INCONCLUSIVE, NOT_REPRODUCED, combined
from yoda_papers.yoda import benchmark, cost, floors
from yoda_papers.yoda.benchmark import REGRESSION, RIVALS, regression_over_rivals


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
    for module in (benchmark, cost):
        monkeypatch.setattr(module, "entries", lambda of: [lost])
    v = phantom_case(1, spacing=8.0, shape=(24, 24, 24))
    of = Study("tiny", own=(v,))
    assert benchmark.images(of, [v]) == {}
    (row,) = cost.cost(of).to_dict("records")
    assert row["system"] == "lost" and row["trained"] is False and row["evaluations"] == 3


def test_rows_of_models_that_a_table_knows_are_not_made_again(monkeypatch):
    both = [benchmark.Entry(name, name, f"systems/{name}") for name in ("unet", "selfrdb")]
    monkeypatch.setattr(benchmark, "entries", lambda of: both)
    v = phantom_case(1, shape=(24, 28, 22))
    whole, rest = (
        benchmark.benchmark(Study("tiny", own=(v,), kept=frozenset(kept))) for kept in ((), ("systems/selfrdb",))
    )
    assert set(whole.sampler) == {"unet", "selfrdb", "acquired", "truth"} and set(rest.sampler) == {"unet"}
    pd.testing.assert_frame_equal(rest.reset_index(drop=True), whole[whole.sampler == "unet"].reset_index(drop=True))


def test_trainings_that_both_have_count(monkeypatch):
    more = [
        scores(**{REGRESSION: 0.0, "selfrdb": by}).assign(budget=1, training=k) for k, by in ((1, 0.01), (2, -0.03))
    ]
    more = pd.concat([*more, scores(selfrdb=0.5).assign(budget=4, training=0)]).assign(system=lambda t: t.sampler)
    known = {"benchmark": scores(**{REGRESSION: 0.0}, selfrdb=-0.01, resvit=-0.1), "benchmark-budgets": more}
    monkeypatch.setattr(Study, "table", lambda self, name: known[name])
    monkeypatch.setattr(Study, "ships", lambda self, name: True)
    found = {e.name: e for e in regression_over_rivals(Study())}
    both, single = found["SSIM, regression less SelfRDB"], found["SSIM, regression less ResViT"]
    assert both.seeds == 3 and both.value == pytest.approx(0.01, abs=1e-3) and both.verdict == INCONCLUSIVE
    assert single.seeds == 1 and single.verdict == "reproduced"


def test_the_largest_budget_counts_that_all_have_with_every_seed(monkeypatch):
    others = dict.fromkeys(RIVALS.values(), -0.2)
    one, later = scores(**{REGRESSION: 0.0}, **dict.fromkeys(others, 0.2)), scores(**{REGRESSION: 0.0}, **others)
    more = [one.assign(budget=1, training=k) for k in (1, 2)] + [later.assign(budget=4, training=k) for k in range(3)]
    more = pd.concat(more).assign(system=lambda t: t.sampler)
    known = {"benchmark": one, "benchmark-budgets": more}
    monkeypatch.setattr(Study, "table", lambda self, name: known[name])
    monkeypatch.setattr(Study, "ships", lambda self, name: True)
    assert combined(regression_over_rivals(Study())) == "reproduced"
    known["benchmark-budgets"] = more[(more.system != "aldm") | (more.training != 2)]  # one seed is not there yet
    effects = regression_over_rivals(Study())
    assert combined(effects) == NOT_REPRODUCED and effects[0].value == pytest.approx(-0.2, abs=1e-3)


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
    monkeypatch.setattr(Study, "ships", lambda self, name: False)
    effects = regression_over_rivals(Study())
    assert combined(effects) == verdict
    assert len(effects) == 2 * len(shifts) + 1
    absent = [rival for rival, system in RIVALS.items() if system not in shifts]
    assert all(rival in effects[-1].name for rival in absent) and effects[-1].n == len(absent)
    assert effects[0].value == pytest.approx(-shifts["selfrdb"], abs=1e-3)


def test_operations_of_a_training_are_those_of_its_kernels():
    """A kernel asks for two operations a tap and pixel: forward, for its own gradient, and for its input's."""
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1))
    first, second = (2 * 9 * 10 * 12 * 5 * taps for taps in (2 * 4, 4 * 1))
    with cost.Counted() as counted:
        net(torch.zeros(5, 2, 10, 12)).sum().backward()
    assert counted.flops == 2 * first + 3 * second, "nobody asks for the gradient of the image"
    row = TRAININGS["unet"]
    longer = replace(row, config=replace(row.config, steps=3 * row.config.steps))
    assert cost.training_tflop(longer) == pytest.approx(3 * cost.training_tflop(row))


def test_operations_are_torchs_own_count_and_penalties_are_among_them():
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.SiLU(), nn.Conv2d(3, 1, 3))

    def run(counter) -> None:
        with counter:
            net(torch.zeros(2, 1, 9, 9)).sum().backward()

    ours, theirs = cost.Counted(), FlopCounterMode(display=False)
    run(ours)
    run(theirs)
    assert ours.flops == theirs.get_total_flops() > 0
    image = torch.zeros(2, 1, 9, 9, requires_grad=True)
    with cost.Counted() as counted:
        (slope,) = torch.autograd.grad(net(image).sum(), image, create_graph=True)
        slope.square().sum().backward()
    assert counted.flops > ours.flops


def test_systems_stand_beside_those_that_are_shown_as_much(monkeypatch):
    about = [("best", "T1w+T2w", True), ("lost", None, None), ("one", "T2w", True), ("apart", "T1w+T2w", False)]
    systems = pd.DataFrame(about, columns=["system", "sources", "paired"]).assign(paper="x")
    systems["trained"] = systems.sources.notna()
    known = {
        "benchmark": scores(apart=0.2, truth=0.3, one=0.0, best=0.1),
        "benchmark-floors": scores(**{"a constant": -1.0}),
        "benchmark-cost": systems,
    }
    monkeypatch.setattr(Study, "table", lambda self, name: known[name])
    table = floors.compared(Study())
    blocks = table.drop_duplicates("sampler").set_index("sampler").compared
    assert list(dict.fromkeys(table.compared)) == ["paired", "T2w", "unpaired", "no net"]
    shown = {"best": "paired", "one": "T2w", "apart": "unpaired", "truth": "no net", "a constant": "no net"}
    assert blocks.to_dict() == shown
    assert set(table.paper) == {"x", "truth", "no net"} and len(table) == 50


def test_a_line_is_found_again_and_drawn_where_the_brain_is():
    v = phantom_case(1, spacing=8.0, shape=(24, 28, 22))
    target = (0.2 - 0.5 * v.source[:1] + 0.25 * v.source[1:]).clamp(-1, 1)
    linear = replace(v, target=target)
    assert target.abs().max() < 1, "nothing is clamped"
    slopes = floors.line([linear], ("T1w", "T2w"))
    assert slopes == pytest.approx([0.2, -0.5, 0.25], abs=1e-5)
    image = floors.drawn(v, ("T1w", "T2w"), slopes)
    assert torch.allclose(image[v.mask], target[v.mask], atol=1e-5) and (image[~v.mask] == -1).all()
    constant = floors.line([linear], ())
    assert constant == pytest.approx([target[v.mask].mean().item()], abs=1e-5)


def test_who_is_not_ahead_of_a_floor_is_named():
    table = scores(**{"unet": 0.0, "a line of both": -0.1, "a constant": -0.3, "good": 0.1, "poor": -0.2, "mean": 0.0})
    said = floors.not_ahead(table)
    assert said.to_dict() == {"unet": "", "good": "", "poor": "a line of both", "mean": "unet"}


def test_floors_are_scored_as_systems_are():
    v = phantom_case(1, spacing=8.0, shape=(24, 28, 22))
    table = floors.scores(Study("tiny", own=(v,)))
    assert set(table.sampler) == set(floors.LINES) and set(table.reference) == {"acquired", "truth"}
    mse = table[table.reference == "acquired"].set_index("sampler").mse
    assert mse["a line of both"] < mse["a constant"]
    alone = floors.scores(Study("tiny", own=(replace(v, source=v.source[1:], sources=("T2w",)),)))
    assert set(alone.sampler) == {"a constant", "a line of T2w"}
