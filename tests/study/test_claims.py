"""The ledger: rules against closed forms, verdicts that follow the numbers, all of them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.errors import InputError
from yoda_nb.study import claims
from yoda_nb.study.claims import EFFECTS, NOTES
from yoda_nb.study.claims.evidence import MAKERS, Study
from yoda_nb.study.claims.ledger import MIME, show_findings
from yoda_nb.study.claims.verdicts import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    REPRODUCED,
    Effect,
    bootstrap_effect,
    combined,
    mean_effect,
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


def test_every_claim_of_the_five_papers_has_effects_and_a_notebook():
    ledger = claims.read_claims()
    counts = {"Y": 30, "K": 8, "S": 6, "F": 3, "B": 5}
    assert sorted(ledger) == sorted(f"{letter}{i:02d}" for letter, n in counts.items() for i in range(1, n + 1))
    assert set(ledger) == set(EFFECTS) and set(NOTES) <= set(EFFECTS)
    notebooks = {p.stem for p in (claims.ledger.CLAIMS.parent / "notebooks").glob("*.ipynb")}
    assert {claim.notebook for claim in ledger.values()} <= notebooks


def test_a_notebook_checks_the_claims_that_the_ledger_gives_it():
    folder = claims.ledger.CLAIMS.parent / "notebooks"
    for claim in claims.read_claims().values():
        if claim.notebook:
            assert claim.id in (folder / f"{claim.notebook}.ipynb").read_text(encoding="utf-8"), claim.id


def test_the_ledger_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match="Y99"):
        claims.find(["Y99"], study=Study())
    path = tmp_path / "claims.csv"
    path.write_text("id,claim\nY01,x\n")
    with pytest.raises(InputError, match="seed"):
        claims.read_claims(path)
    with pytest.raises(InputError, match="nonsense"):
        Study().table("nonsense")


def test_all_verdicts_as_one_json_document():
    result = CliRunner().invoke(app, ["claims", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [f["id"] for f in found] == list(claims.read_claims())
    for f in found:
        assert f["verdict"] in (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE)
        assert f["effects"] or NOTES.get(f["id"]), "a claim without effects says why"
        assert all((e["n"] >= 1 or e["value"] is None) and e["name"] and e["rule"] for e in f["effects"])


@pytest.mark.parametrize("claim, table, column", [("Y03", "samplers", "ssim"), ("Y14", "slabs", "ssim")])
def test_a_verdict_follows_the_evidence(monkeypatch, claim, table, column):
    """Turn the sign of the scores: what was found must turn too."""
    original = Study.table
    flip = lambda self, name: original(self, name).assign(**{column: lambda t: -t[column]})  # noqa: E731
    before = claims.find([claim], study=Study())[0].effects[0]
    monkeypatch.setattr(Study, "table", flip)
    after = claims.find([claim], study=Study())[0].effects[0]
    assert after.value == pytest.approx(-before.value) and after.low == pytest.approx(-before.high)


def test_a_finding_shows_itself_and_travels_as_json(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    finding = claims.find(["Y02"], study=Study())[0]
    show_findings([finding])
    bundle = shown[0]
    assert bundle[MIME][0]["id"] == "Y02" and 'id="claim-Y02"' in bundle["text/html"]
    json.dumps(bundle[MIME], allow_nan=False)
    assert finding.verdict in bundle["text/html"]


def test_numbers_that_are_not_finite_become_null():
    finding = claims.Finding(claims.read_claims()["Y01"], (mean_effect("x", [1.0], ">"),))
    document = json.loads(json.dumps(finding.document(), allow_nan=False))
    assert document["effects"][0]["low"] is None and document["verdict"] == INCONCLUSIVE


def test_every_table_of_evidence_has_a_maker():
    assert set(MAKERS) >= {"samplers", "perception", "slabs", "targets", "lesions"}
