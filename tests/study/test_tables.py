"""Paired tests against the textbook."""

from __future__ import annotations

import pytest
from score_tables import scores

from yoda_nb.study.tables import holm, paired_tests


def test_holm_on_the_textbook_case():
    """p = 0.01, 0.04, 0.03, 0.005 -> 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0] and holm([0.2]).tolist() == [0.2]
    assert len(holm([])) == 0


def test_paired_tests_find_a_shift_that_subjects_hide():
    t = paired_tests(scores(base=0.0, better=0.01, worse=-0.02), "base", ["ssim", "psnr"])
    assert len(t) == 4 and set(t.n) == {10}
    row = t.set_index(["sampler", "metric"]).loc[("better", "ssim")]
    assert row.difference == pytest.approx(0.01, abs=1e-3) and row.low < 0.01 < row.high + 1e-3
    assert row.p == pytest.approx(2 / 2**10) and row.holm == pytest.approx(2 * row.p)
