"""From numbers to verdicts: rules and intervals against closed forms."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from yoda_nb.study.claims.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Effect,
    bootstrap_effect,
    combined,
    paired_effect,
)
from yoda_nb.study.tables import interval

INF = float("inf")


def effect(low, high, rule=">", margin=0.0) -> Effect:
    return Effect("x", (low + high) / 2 if abs(high - low) < INF else 0.0, low, high, 5, rule, margin)


@pytest.mark.parametrize(
    "low, high, rule, margin, verdict",
    [
        (0.1, 0.3, ">", 0.0, REPRODUCED),
        (-0.1, 0.3, ">", 0.0, INCONCLUSIVE),
        (-0.3, -0.1, ">", 0.0, NOT_REPRODUCED),
        (0.1, 0.3, ">", 0.2, INCONCLUSIVE),
        (0.1, 0.3, "<", 0.4, REPRODUCED),
        (0.5, 0.6, "<", 0.4, NOT_REPRODUCED),
        (-0.1, 0.1, "within", 0.2, REPRODUCED),
        (-0.3, 0.1, "within", 0.2, INCONCLUSIVE),  # not significant is not equal
        (0.3, 0.4, "within", 0.2, NOT_REPRODUCED),
        (-0.4, -0.3, "within", 0.2, NOT_REPRODUCED),
        (-INF, INF, "within", 0.2, INCONCLUSIVE),  # one subject decides nothing
    ],
)
def test_an_interval_is_judged_by_its_rule(low, high, rule, margin, verdict):
    assert effect(low, high, rule, margin).verdict == verdict


def test_an_unknown_rule_is_an_error():
    with pytest.raises(ValueError, match="rule"):
        _ = effect(0, 1, "about").verdict


def test_a_claim_is_as_good_as_its_worst_effect():
    good, open_, bad = effect(0.1, 0.2), effect(-0.1, 0.2), effect(-0.2, -0.1)
    assert combined([good, good]) == REPRODUCED
    assert combined([good, open_]) == INCONCLUSIVE
    assert combined([good, open_, bad]) == NOT_REPRODUCED
    assert combined([]) == INCONCLUSIVE


def test_the_t_interval_is_scipys():
    values = np.random.default_rng(0).normal(1, 2, 7)
    mean, low, high = interval(values)
    assert (low, high) == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval())
    assert mean == pytest.approx(values.mean())
    assert interval([3.0]) == (3.0, -INF, INF)


def test_pairs_are_of_subjects_and_seeds_are_averaged_first():
    rng = np.random.default_rng(1)
    rows = [
        {"subject": s, "sampler": k, "seed": r, "ssim": rng.normal(k == "a", 0.1)}
        for s in "abcdef"
        for k in "ab"
        for r in (0, 1)
    ]
    table = pd.DataFrame(rows)
    found = paired_effect(table, "ssim", "a", "b", ">")
    wide = table.groupby(["subject", "sampler"]).ssim.mean().unstack()
    expected = stats.ttest_rel(wide.a, wide.b)
    assert found.n == 6 and found.verdict == REPRODUCED
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval())
    assert found.p == pytest.approx(stats.wilcoxon(wide.a - wide.b).pvalue)
    turned = paired_effect(table, "ssim", "b", "a", ">")
    assert turned.verdict == NOT_REPRODUCED and turned.value == pytest.approx(-found.value)


def test_a_bootstrap_effect_has_the_draws_percentiles():
    draws = np.arange(1001) / 1000
    found = bootstrap_effect("x", 0.5, draws, 6, ">")
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
