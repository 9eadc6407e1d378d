"""Recipes by a hospital left out: the rule on made tables, and who is scored by which model."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from volumes_by_hand import blob_volume

from yoda_papers.ledger import hospitals
from yoda_papers.ledger.hospitals import best_of, chosen, in_words, scores


def made(gains: dict[str, float], person: float = 0.05) -> pd.DataFrame:
    """Scores: zero-shot has 0.7 everywhere; recipes gain at the hospital ``ms``, and on one person of ``ucsf``."""
    rows = [
        {"hospital": h, "subject": f"{h}-{k}", "left_out": "hospital", "recipe": "zero-shot", "ssim": 0.7}
        for h in ("ms", "ucsf")
        for k in range(2)
    ]
    for recipe, gain in gains.items():
        where = [("ms", k, "hospital", gain) for k in range(2)] + [("ucsf", 0, "person", person)]
        if recipe.startswith("rescans"):  # the only ones trained on ms
            where += [("ucsf", k, "hospital", gain) for k in range(2)]
        rows += [
            {"hospital": h, "subject": f"{h}-{k}", "left_out": kind, "recipe": recipe, "ssim": 0.7 + more}
            for h, k, kind, more in where
        ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("gains", "person", "best", "shipped"),
    [
        ({"scans": 0.03, "rescans": 0.06}, 0.05, "rescans", True),
        ({"scans": 0.03, "rescans": 0.034}, 0.05, "scans", True),  # within 0.005 the first
        ({"scans": 0.003, "rescans": 0.009}, 0.05, "rescans", False),
        ({"scans": 0.03, "rescans": 0.06}, 0.0, "rescans", False),
    ],
)
def test_the_rule_picks_by_the_hospital_left_out_and_ships_what_gains_everywhere(gains, person, best, shipped):
    table = made(gains, person)
    assert best_of(table, gains) == best
    assert chosen(table, gains) == (best if shipped else "")


def test_a_scan_is_scored_by_models_that_left_it_out(monkeypatch):
    v = blob_volume()
    scans = {
        "ms": [replace(v, subject="cross-26"), replace(v, subject="cross-07")],
        "ucsf": [replace(v, subject="BraTS2021_00000")],
    }
    monkeypatch.setattr(hospitals, "slab", lambda volume, mm: volume)
    monkeypatch.setattr(hospitals, "translate", lambda volume, *_, **__: volume)
    monkeypatch.setattr(hospitals, "real_scores", lambda *_: dict.fromkeys(hospitals.COLUMNS, 0.5))
    table = scores(scans, {("ms", "scans"): "a", ("ucsf", "scans"): "b"})
    seen = {(row.subject, row.left_out) for row in table[table.recipe == "scans"].itertuples()}
    assert seen == {
        ("cross-26", "person"),  # the one that the training on ms left out
        ("cross-26", "hospital"),
        ("cross-07", "hospital"),
        ("BraTS2021_00000", "hospital"),
    }
    heads, *rows = in_words(table)
    assert all(len(row) == len(heads) for row in rows) and ("person", hospitals.HOSPITALS["ms"]) in {
        r[:2] for r in rows
    }
