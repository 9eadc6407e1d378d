"""From numbers to verdicts: rules and intervals against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from yoda_nb.study.tables import interval
from yoda_papers.ledger.verdicts import (
    ARITHMETIC,
    CROSSED,
    DISPUTED,
    INCONCLUSIVE,
    MARGINS,
    NOT_REPRODUCED,
    PAIRED,
    REPRODUCED,
    Effect,
    after_looks,
    bootstrap_effect,
    combined,
    mean_effect,
    over_trainings,
    paired_effect,
    two_way,
)

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


def test_over_trainings_p_is_of_the_interval_beside_it():
    """So it is below 5 % where the interval leaves 0 out, and is called what it is."""
    rng = np.random.default_rng(4)
    for gap in (0.0, 0.02, 0.05, 0.2):
        rows = [
            {"subject": s, "sampler": k, "training": t, "ssim": rng.normal(gap * (k == "a"), 0.1)}
            for s in "abcdef"
            for k in "ab"
            for t in range(3)
        ]
        found = paired_effect(pd.DataFrame(rows), "ssim", "a", "b", ">")
        assert found.test == CROSSED and found.seeds == 3
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
        half = stats.t.isf(found.p / 2, found.df) / stats.t.isf(0.025, found.df) * abs(found.value - found.low)
        assert half == pytest.approx(abs(found.value)), "the interval of level 1 - p ends at 0"
    one = paired_effect(pd.DataFrame(rows).query("training == 0"), "ssim", "a", "b", ">")
    assert one.test == PAIRED and one.p == pytest.approx(2 / 2**6)


def test_a_bootstrap_effect_has_the_draws_percentiles():
    draws = np.arange(1001) / 1000
    found = bootstrap_effect("x", 0.5, draws, 6, ">")
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))


@pytest.mark.parametrize(
    "low, high, verdict",
    [
        (0.0005, 0.0015, NOT_REPRODUCED),  # a sure difference that is too small to count
        (-0.001, 0.0015, NOT_REPRODUCED),
        (0.0005, 0.0025, REPRODUCED),  # surely positive, and perhaps large enough
        (-0.001, 0.0025, INCONCLUSIVE),
        (0.003, 0.004, REPRODUCED),
    ],
)
def test_a_difference_inside_the_margin_is_none(low, high, verdict):
    assert replace(effect(low, high), least=0.002).verdict == verdict
    assert replace(effect(-high, -low, "<"), least=0.002).verdict == verdict


def test_every_margin_is_the_metrics_own():
    rng = np.random.default_rng(2)
    rows = [{"subject": s, "sampler": k, "psnr": rng.normal(30, 1), "ssim": 0.9} for s in "abcd" for k in "xy"]
    table = pd.DataFrame(rows)
    assert paired_effect(table, "psnr", "x", "y", "within").margin == MARGINS["psnr"]
    better = paired_effect(table, "psnr", "x", "y", ">")
    assert (better.margin, better.least) == (0, MARGINS["psnr"]) and better.stated == "> 0, counts from 0.1"
    own = paired_effect(table, "psnr", "x", "y", ">", 3.0)
    assert (own.margin, own.least) == (3.0, 0)


def test_what_cannot_vary_is_no_evidence():
    counted = Effect("steps", 250.0, 250.0, 250.0, 1, ">", 100.0, arithmetic=True)
    assert counted.verdict == ARITHMETIC == combined([counted, counted])
    assert combined([counted, effect(0.1, 0.2)]) == REPRODUCED
    assert combined([counted, effect(-0.2, 0.2)]) == INCONCLUSIVE


def test_feature_nets_count_where_they_agree():
    good, bad = effect(0.1, 0.2), effect(-0.2, -0.1)
    eyes = [replace(e, extractor=name) for e, name in ((good, "a"), (bad, "b"))]
    assert combined(eyes) == DISPUTED, "one says yes, another no"
    assert combined([*eyes, effect(0.1, 0.2)]) == DISPUTED and combined([*eyes, effect(-0.2, -0.1)]) == NOT_REPRODUCED
    doubtful = replace(effect(-0.21, -0.001), extractor="b")  # by itself it is sure, not among ten
    others = [replace(effect(0.1, 0.2), name=f"effect {k}") for k in range(9)]
    assert combined([eyes[0], doubtful]) == DISPUTED and combined([eyes[0], doubtful, *others]) == INCONCLUSIVE
    unsure, contrary = (replace(effect(low, high), extractor="c") for low, high in ((-0.1, 0.3), (-0.3, 0.1)))
    for sure, verdict in ((good, REPRODUCED), (bad, NOT_REPRODUCED)):
        two = [replace(sure, extractor=name) for name in "ab"]
        on_its_side, on_the_other = (unsure, contrary) if sure is good else (contrary, unsure)
        assert combined([*two, on_its_side]) == verdict, "two are sure, and the third leans their way"
        assert combined([*two, on_the_other]) == INCONCLUSIVE, "the third leans the other way"
        assert combined([two[0], on_its_side]) == INCONCLUSIVE, "one alone is sure"
    assert combined([replace(good, extractor="offline")]) == REPRODUCED, "no other has looked"
    assert combined([replace(bad, extractor=name) for name in "abc"]) == NOT_REPRODUCED
    assert combined([replace(good, extractor=name) for name in "abc"]) == REPRODUCED
    assert combined([*eyes, replace(bad, name="another")]) == NOT_REPRODUCED


def test_one_contrary_effect_of_many_must_survive_correction():
    barely = effect(-0.2, -0.001)
    assert barely.verdict == NOT_REPRODUCED and combined([barely]) == NOT_REPRODUCED
    others = [replace(effect(0.1, 0.2), name=f"other {k}") for k in range(9)]
    assert combined([barely, *others]) == INCONCLUSIVE, "one in ten is what chance gives"
    surely = effect(-0.2, -0.1)
    assert combined([surely, *others]) == NOT_REPRODUCED


def test_p_against_a_rule_is_the_t_tests():
    x = np.random.default_rng(3).normal(-0.3, 1, 9)
    found = mean_effect("x", x, ">")
    assert found.against == pytest.approx(stats.ttest_1samp(x, 0, alternative="less").pvalue)
    assert mean_effect("x", x, "<").against == pytest.approx(1 - found.against)
    far = mean_effect("x", x + 5, "within", 2.0)
    assert far.against == pytest.approx(stats.ttest_1samp(x + 5, 2, alternative="greater").pvalue)
    assert mean_effect("x", x - 5, "within", 2.0).against == pytest.approx(
        stats.ttest_1samp(x - 5, -2, alternative="less").pvalue
    )


def test_intervals_over_trainings_and_subjects_hold_what_they_say():
    """The true mean lies in 95 % of the intervals, whether the trainings differ or not."""
    rng = np.random.default_rng(4)
    for spread in (0.0, 1.0):
        hits = []
        for _ in range(2000):
            each = rng.normal(0, spread, (3, 1)) + rng.normal(0, 1, (1, 8)) + rng.normal(0, 0.5, (3, 8))
            _, low, high, _ = two_way(each)
            hits.append(low <= 0 <= high)
        assert 0.93 < np.mean(hits) < 0.99, (spread, np.mean(hits))


@pytest.mark.parametrize("at", [(3, 6), (3, 6, 9), (3, 6, 9, 12), (3, 8, 15), (3, 6, 8), (3, 6, 8, 15)])
def test_looks_at_growing_data_err_in_five_percent_together(at):
    steps = np.random.default_rng(5).normal(size=(50_000, at[-1])).astype("float32")
    z = steps.cumsum(1)[:, np.array(at) - 1] / np.sqrt(at)
    last = after_looks(replace(effect(-1.96, 1.96), seeds=at[-1]), at)
    assert np.mean((np.abs(z) > last.high).any(1)) == pytest.approx(0.05, abs=0.005)


def test_a_later_look_asks_for_more():
    x = np.random.default_rng(3).normal(-0.3, 1, 9)
    first = mean_effect("x", x, ">", seeds=8)
    third = after_looks(first, (3, 6, 8, 15))
    assert (third.low, third.high) == pytest.approx(stats.ttest_1samp(x, 0).confidence_interval(1 - 0.0221))
    assert third.against * third.tail == pytest.approx(first.against * first.tail) and "look 3" in third.test
    assert after_looks(first, (8, 15)) == after_looks(first, ()) == first


def test_trainings_that_agree_give_the_interval_over_subjects():
    x = np.random.default_rng(5).normal(1, 1, 7)
    mean, low, high, df = two_way(np.stack([x, x, x]))
    assert (mean, low, high, df) == pytest.approx((*interval(x), 6.0))


def test_pairs_know_what_another_training_would_change():
    rng = np.random.default_rng(6)
    luck = {0: 0.0, 1: 0.4, 2: -0.5}
    rows = [
        {"subject": s, "sampler": k, "training": t, "ssim": rng.normal(0.1 * (k == "a"), 0.01) + luck[t] * (k == "a")}
        for s in "abcdef"
        for k in "ab"
        for t in luck
    ]
    table = pd.DataFrame(rows)
    one, three = (paired_effect(t, "ssim", "a", "b", ">") for t in (table[table.training == 1], table))
    assert one.verdict == REPRODUCED and one.seeds == 1 and one.over == "6"
    assert three.verdict == INCONCLUSIVE and three.seeds == 3 and three.over == "6 x 3 trainings"
    half = table[(table.sampler == "a") | (table.training < 2)]
    assert paired_effect(half, "ssim", "a", "b", ">").seeds == 2, "pairs that both have"


def test_trainings_widen_a_bootstrap():
    each = [bootstrap_effect("x", v, v + np.linspace(-0.1, 0.1, 201), 6, ">") for v in (0.1, 0.5, 0.3)]
    found = over_trainings(each)
    assert found.value == pytest.approx(0.3) and found.seeds == 3
    within, between = 0.095 / stats.norm.isf(0.025), 0.2 / 3**0.5
    assert (found.high - found.low) / 2 > stats.t.isf(0.025, 2) * between * 0.8
    alike = over_trainings([each[0]] * 3)
    assert (alike.high - alike.low) / 2 == pytest.approx(0.095) and within < between
    assert over_trainings(each[:1]) == replace(each[0], seeds=1)
