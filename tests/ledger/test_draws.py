"""Noise of phantoms, and bootstrap draws over subjects."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from yoda_nb import study
from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger import draws
from yoda_papers.ledger.verdicts import bootstrap_effect


@pytest.fixture(scope="module")
def first():
    return study.load_subjects(1)[0]


def test_the_noise_of_a_phantom_is_its_sigma():
    v = phantom_case(1001, sigma=0.03)
    assert draws.label_noise(v, v.target) == pytest.approx(0.03, rel=0.06)
    assert draws.label_noise(v, v.clean) == 0


def test_draws_are_reproducible_and_the_first_is_everyone(first):
    from yoda_nb.study import tables

    made = {"copy": [first.target, first.target], "truth": [first.clean] * 2}
    volumes = [first, replace(first, subject="other")]
    table = tables.score_table(volumes, made)
    a, b = (draws.fd_draws(volumes, made, table, seed=4, draws=3) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    at = a[a.draw == 0].set_index("sampler")
    seen = at[["fd", "fd_untrained", "fd_tissue"]]
    assert seen.loc["copy"].tolist() == pytest.approx([0, 0, 0], abs=1e-6) and at.gap["copy"] == 0
    assert seen.fd["truth"] > 1 and (seen.loc["truth"] > 10 * seen.loc["copy"] + 1e-5).all()


def test_each_extractor_says_its_own_of_an_effect():
    table = pd.DataFrame([{"draw": k, "fd": 1 + k, "fd_tissue": k - 9} for k in range(4)])
    found = draws.by_eye(table, lambda rows: bootstrap_effect("x", rows.fd.iloc[0], rows.fd, 3, ">"))
    assert [(e.extractor, e.value, e.verdict) for e in found] == [
        ("offline", 1, "reproduced"),
        ("tissue", -9, "not reproduced"),
    ]
