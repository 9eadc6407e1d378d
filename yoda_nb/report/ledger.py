"""The verdicts of all notebooks, gathered for the first page and for ``claims.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from yoda_nb.report.execution import Run
from yoda_nb.study.claims.ledger import MIME, SYMBOLS, counted


def gather_claims(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What the Check cells found, as JSON's types, sorted by id; ``page`` names the run."""
    found = [
        {"page": run.name, **finding}
        for run in runs
        for cell in run.notebook.cells
        for output in cell.get("outputs", ())
        for finding in output.get("data", {}).get(MIME, ())
    ]
    return sorted(found, key=lambda finding: (finding["id"], finding["page"]))


def claims_json(found: Sequence[Mapping[str, Any]]) -> bytes:
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False).encode()


def claims_table(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The same for people: a sentence that counts the verdicts, and the rows of the table."""
    told = counted(finding["verdict"] for finding in found)
    claims = "1 claim was" if len(found) == 1 else f"{len(found)} claims were"
    rows = [
        {
            **{name: finding.get(name, "") for name in ("id", "page", "claim", "where", "note")},
            "verdict": f"{SYMBOLS.get(finding['verdict'], '?')} {finding['verdict']}",
            "effects": [_effect(effect) for effect in finding["effects"]],
        }
        for finding in found
    ]
    return {"sentence": f"{claims} put to the test: {told}.", "rows": rows}


def _effect(effect: Mapping[str, Any]) -> str:
    """One line: name, value with its interval and unit, n, p and test, and the rule."""
    value, low, high = (_number(effect.get(name)) for name in ("value", "low", "high"))
    unit = f" {effect['unit']}" if effect.get("unit") else ""
    facts = [
        f"n = {effect['n']}" if effect.get("n") is not None else "",
        f"p = {effect['p']:.2g}" if effect.get("p") is not None else "",
        effect.get("test", ""),
        f"expected {effect['rule']}" if effect.get("rule") else "",
    ]
    found = "not measured" if effect.get("value") is None else f"{value} [{low}, {high}]{unit}"
    return f"{effect['name']}: {found} ({', '.join(filter(None, facts))})"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"
