"""From where a verdict is: dates of the shipped tables behind it, and how often each model behind them was trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from yoda_nb.systems.train import model_name
from yoda_papers.ledger.evidence import index

SEEDED = re.compile(r"^(ablations/.+)-\d+$|^variants/(.+)-seed\d+$")  # a name that ends in the seed of its training
EYES = ("features", "segmenter")  # beginnings of nets that look at images and translate none


def made(tables: Iterable[str]) -> dict[str, dict[str, str]]:
    """Machine, commit and date of each shipped table."""
    return {name: {k: str(index()[name].get(k, "")) for k in ("machine", "commit", "date")} for name in tables}


def trainings(tables: Iterable[str]) -> dict[str, int]:
    """Model behind these shipped tables, without its seed -> with how many trainings it takes part."""
    models = {model for name in tables for model in index()[name].get("weights", {}) if not model.startswith(EYES)}
    return dict(sorted(Counter(map(_unseeded, models)).items()))


def _unseeded(model: str) -> str:
    """A model's name without its seed: that of the first one, which for a row of systems has none."""
    found = SEEDED.match(model)
    return model if found is None else found[1] or model_name(found[2])
