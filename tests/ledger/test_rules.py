"""The record of rules: each verdict's rule has a commit and a date, and no rule changes unnoticed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from all_findings import findings

from yoda_papers.ledger import rules
from yoda_papers.ledger.undecided import UNDECIDED
from yoda_papers.ledger.verdicts import DISPUTED, INCONCLUSIVE, Effect

FD = Effect("FD", 1.0, 0.5, 1.5, 6, ">", extractor="offline")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "RECORD", tmp_path / "rules.json")
    rules.record.cache_clear()
    yield
    monkeypatch.undo()
    rules.record.cache_clear()


def test_a_rule_keeps_its_date_until_it_changes(empty):
    eyes = [FD, replace(FD, extractor="tissue", value=2.0)]
    assert rules.stated(eyes) == ["FD: > 0"] and rules.since("Y99", eyes) == {}
    assert rules.write({"Y99": eyes}, "abc", "2026-01-01") == ["Y99"]
    assert rules.write({"Y99": eyes}, "def", "2026-02-02") == []
    assert rules.since("Y99", eyes) == {"commit": "abc", "date": "2026-01-01"}
    other = [replace(FD, margin=0.2)]
    assert rules.since("Y99", other) == {}, "nobody put it on record"
    assert rules.write({"Y99": other}, "def", "2026-02-02") == ["Y99"]
    assert rules.since("Y99", other) == {"commit": "def", "date": "2026-02-02"}


def test_every_verdict_has_its_rule_on_record():
    unknown = [f.claim.id for f in findings() if not f.ruled]
    assert not unknown, f"rules changed: run 'yoda-nb rebuild rules' from a commit that holds them: {unknown}"


def test_every_undecided_claim_says_what_would_decide_it():
    open_claims = {f.claim.id for f in findings() if f.verdict in (INCONCLUSIVE, DISPUTED)}
    assert open_claims == set(UNDECIDED)


def test_every_look_at_growing_trainings_is_counted():
    for finding in (f for f in findings() if f.claim.id in rules.LOOKS):
        at, effects = rules.LOOKS[finding.claim.id], finding.effects
        assert max(e.seeds for e in effects) in at, f"{finding.claim.id}: a look that is not in LOOKS"
        for e in effects:
            look = sum(e.seeds >= n for n in at)
            assert (f"look {look}," in e.test) == (look > 1), (finding.claim.id, e.name)
