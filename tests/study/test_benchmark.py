"""The table of all systems: its entries, its tests, its figures and its explorer."""

from __future__ import annotations

import gzip
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb.data.phantom import phantom_case
from yoda_nb.errors import InputError
from yoda_nb.figures import explorers, plots
from yoda_nb.figures.plots.systems import label_points
from yoda_nb.papers import SYSTEMS
from yoda_nb.study.claims.evidence import Study
from yoda_nb.study.claims.verdicts import INCONCLUSIVE, NOT_REPRODUCED, combined
from yoda_nb.study.claims.yoda import benchmark
from yoda_nb.study.claims.yoda.benchmark import REGRESSION, RIVALS, regression_over_rivals
from yoda_nb.study.tables import holm, paired_tests
from yoda_nb.systems.models import load_model
from yoda_nb.systems.table import get_system

plt.switch_backend("agg")


# --- entries


def test_every_system_of_this_translation_is_an_entry():
    found = {e.label: e for e in benchmark.entries(Study())}
    own = {name for name, row in SYSTEMS.items() if row.weights}
    assert {"selfrdb", "yoda-regression", "yoda-diffusion", "yoda-ddim"} <= set(found)
    for name in own & set(found):
        if found[name].trained:
            model = load_model(found[name].weights)
            assert model.contrast == "FLAIR" and set(model.sources) <= {"T1w", "T2w"}
    for name in own - set(found):
        row = benchmark.TRAININGS[SYSTEMS[name].weights.split("/")[1]]
        assert row.target != "FLAIR" or set(row.sources) - {"T1w", "T2w"}
    for entry in found.values():
        spec = get_system(entry.system, **entry.settings)
        assert spec.n_steps <= benchmark.MOST_STEPS or spec.sigma == "zero"
        assert entry.paper in benchmark.PAPERS


def test_what_is_not_trained_is_listed_and_breaks_nothing(monkeypatch):
    lost = benchmark.Entry("lost", "yoda-regression", "systems/never-trained")
    monkeypatch.setattr(benchmark, "entries", lambda of: [lost])
    v = phantom_case(1, spacing=8.0, shape=(24, 24, 24))
    of = Study("tiny", own=(v,))
    assert benchmark.images(of, [v]) == {}
    (row,) = benchmark.cost(of).to_dict("records")
    assert row["system"] == "lost" and row["trained"] is False and row["evaluations"] == 3


# --- paired tests


def test_holm_on_the_textbook_case():
    """p = 0.01, 0.04, 0.03, 0.005 -> 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([0.2]).tolist() == [0.2]
    assert len(holm([])) == 0


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


def test_paired_tests_find_a_shift_that_subjects_hide():
    t = paired_tests(scores(base=0.0, better=0.01, worse=-0.02), "base", ["ssim", "psnr"])
    assert len(t) == 4 and set(t.n) == {10}
    row = t.set_index(["sampler", "metric"]).loc[("better", "ssim")]
    assert row.difference == pytest.approx(0.01, abs=1e-3) and row.low < 0.01 < row.high + 1e-3
    assert row.p == pytest.approx(2 / 2**10) and row.holm == pytest.approx(2 * row.p)


# --- the claim


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


# --- figures


def test_names_cover_neither_points_nor_each_other():
    """Even where all points lie in one heap."""
    rng = np.random.default_rng(1)
    points = [(float(x), float(y)) for x, y in rng.normal(0.5, 0.06, (14, 2))]
    fig, ax = plt.subplots(figsize=(8, 5.5))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    boxes = label_points(ax, points, [f"system-{k}" for k in range(14)])
    at, frame = ax.transData.transform(points), ax.get_window_extent()
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert not any(box.contains(*p) for p in at)
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    written = sorted(t.get_text() for t in ax.texts)
    assert written == sorted(f"system-{k}" for k in range(14))
    plt.close(fig)


def test_the_ranking_starts_with_the_best():
    table = scores(low=-0.1, high=0.1, middle=0.0).assign(paper="x")
    fig = plots.ranking(table, {"ssim": "SSIM", "psnr": "PSNR (dB)"})
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["high", "middle", "low"]
    assert fig.axes[0].get_ylim()[0] > fig.axes[0].get_ylim()[1], "the first line is at the top"
    plt.close(fig)


# --- the explorer


@pytest.fixture(scope="module")
def two():
    return [phantom_case(k, spacing=8.0, shape=(24, 24, 24)) for k in (1, 2)]


def shown(value, **state):
    while isinstance(value, dict) and "by" in value:
        value = value["values"][state[value["by"]]]
    return value


def frame(explorer, name: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(explorer.frames[name]), np.uint8).reshape(explorer.spec["shape"])


def test_any_two_systems_on_any_subject(two):
    images = {"truth": [v.clean for v in two], "scan": [v.target for v in two], "zero": [v.clean * 0 for v in two]}
    table = pd.DataFrame(
        [{"reference": "acquired", "sampler": "scan", "subject": two[1].subject, "ssim": 0.5, "psnr": 21.0}]
    )
    e = explorers.systems(images, two, left="scan", right="zero", scores=table)
    assert [c["id"] for c in e.spec["controls"]] == ["left", "right", "subject", "outline"]
    assert e.spec["initial"]["left"] == 1 and e.spec["initial"]["right"] == 2
    (left, left_error), (right, _), (reference, between) = e.spec["columns"]
    cut = tuple(slice(o, o + n) for o, n in zip(e.spec["origin"], e.spec["shape"], strict=True))
    for k, v in enumerate(two):
        state = {"left": 1, "right": 2, "subject": k}
        expected = torch.where(v.mask, (v.target + 1) / 2, 0.0)[0][cut].numpy()
        assert np.abs(frame(e, shown(left["image"], **state)) / 255 - expected).max() <= 0.5 / 255 + 1e-6
        assert shown(left_error["minus"], **state) == shown(reference["image"], **state)
        assert shown(between["image"], **state) == shown(left["image"], **state)
        assert shown(between["minus"], **state) == shown(right["image"], **state)
    assert shown(between["title"], left=1, right=2) == "scan − zero"
    assert shown(e.spec["outline"], outline=1, subject=0) != shown(e.spec["outline"], outline=1, subject=1)
    read = {r["label"]: r["value"] for r in e.spec["readouts"]}
    assert shown(read["Left, to acquired"], left=1, subject=1) == "SSIM 0.500, PSNR 21.00 dB"
    assert shown(read["Left, to acquired"], left=1, subject=0) == "–"
    assert set(e.spec["frames"]) == set(e.frames)
    plt.close(e.picture())


def test_without_a_reference_two_images_and_their_difference(two):
    blind = [replace(v, clean=None, target=None, lesions=None) for v in two]
    e = explorers.systems({"a": [v.clean for v in two], "b": [v.target for v in two]}, blind, left="a", right="b")
    assert [len(c) for c in e.spec["columns"]] == [1, 1, 1] and e.spec["outline"] is None
    plt.close(e.picture())


def test_what_cannot_be_shown_is_said(two):
    with pytest.raises(InputError, match="'c'"):
        explorers.systems({"a": [v.clean for v in two]}, two, left="a", right="c")
    other = phantom_case(3, spacing=8.0, shape=(20, 24, 24))
    with pytest.raises(InputError, match="different grids"):
        explorers.systems({"a": [two[0].clean, other.clean]}, [two[0], other], left="a", right="a")
