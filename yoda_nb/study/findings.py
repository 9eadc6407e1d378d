"""The form in which a verdict reaches notebooks, reports and the shell: one JSON document a claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

MIME = "application/vnd.yoda-nb.claims+json"
SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "disputed": "≠", "inconclusive": "?", "arithmetic": "="}


def counted(verdicts: Iterable[str]) -> str:
    """How often each verdict was reached, in words."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in SYMBOLS if counts[verdict])


def trained_words(trainings: Mapping[str, int]) -> str:
    """How often each model was trained, in words: "one training of each model", "no trained model"."""
    counts = sorted(set(trainings.values()))
    if not counts:
        return "no trained model"
    of = "the model" if len(trainings) == 1 else "each model"
    if counts == [1]:
        return f"one training of {of}"
    return f"{' to '.join(str(n) for n in {counts[0]: 0, counts[-1]: 0})} trainings of {of}"
