"""When each rule was stated: the commit by which a claim's effects were judged as they are, before or after its tables.

``yoda-nb rebuild rules`` writes the record from a commit that holds the rules; a test fails where it no longer fits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from yoda_nb.store import write_atomic
from yoda_papers.ledger.verdicts import Effect

# Trainings of each design when a claim was judged, where more were made of what was open: the last number is the last.
LOOKS = {"Y13": (3, 6, 8, 15), "Y14": (3, 6, 8, 15), "Y17": (3, 6, 8, 15), "Y18": (3, 6, 8, 15), "Y29": (3, 8, 15)}
RECORD = Path(__file__).parents[1] / "evidence" / "rules.json"


def stated(effects: Iterable[Effect]) -> list[str]:
    """The rules of a claim's effects in words; those of several feature nets are one."""
    return list(dict.fromkeys(f"{e.name}: {e.stated}" for e in effects))


@cache
def record() -> dict[str, dict[str, Any]]:
    """Claim -> its rules with the commit and date that they are of."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def since(claim: str, effects: Iterable[Effect]) -> dict[str, str]:
    """Commit and date of a claim's rules; {} where they are not on record as they are."""
    entry = record().get(claim, {})
    return {k: entry[k] for k in ("commit", "date")} if entry.get("rules") == stated(effects) else {}


def write(effects: Mapping[str, Iterable[Effect]], commit: str, date: str) -> list[str]:
    """Put the rules that changed on record as of a commit; returns the claims."""
    rules = {claim: stated(of) for claim, of in effects.items()}
    changed = [claim for claim, of in rules.items() if record().get(claim, {}).get("rules") != of]
    now = {claim: {"rules": rules[claim], "commit": commit, "date": date} for claim in changed}
    write_atomic(RECORD, (json.dumps(record() | now, indent=1, ensure_ascii=False) + "\n").encode())
    record.cache_clear()
    return changed
