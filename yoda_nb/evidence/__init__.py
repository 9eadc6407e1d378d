"""The tables behind the verdicts: one row a subject, made by one function each.

Computing all of them takes over an hour on two cores, so those of the quick profile are shipped as
CSV with checksums (``evidence/tables``); ``python docs/make_shipped.py`` makes them again and a
test recomputes parts of them. Any other profile or seed computes, with samples from the bank.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path

import pandas as pd

from yoda_nb import study
from yoda_nb.bank import write_atomic
from yoda_nb.evidence import (
    ablations,
    averages,
    backbones,
    benchmark,
    bridges,
    divergence,
    fast_unet,
    lesions,
    samplers,
    unpaired,
)
from yoda_nb.volumes import InputError, Volume

TABLES = Path(__file__).parent / "tables"
INDEX = TABLES / "index.json"
SHIPPED_STUDY = ("quick", 0)  # profile and seed
DIGITS = 7  # of a number in a shipped table

MAKERS: dict[str, Callable[[Study], pd.DataFrame]] = {
    "rician": samplers.rician,
    "samplers": samplers.scores,
    "perception": samplers.perception,
    "split": samplers.split,
    "sweep": samplers.sweep,
    "cost": samplers.cost,
    "protocols": samplers.protocols,
    "expa": averages.convergence,
    "spectra": averages.spectra,
    "spread": averages.spread,
    "divergence": divergence.divergence,
    "views": averages.views,
    "levels": ablations.noise_levels,
    "slabs": ablations.slabs,
    "targets": ablations.targets,
    "truncation": ablations.truncation,
    "schedules": ablations.schedules,
    "lesions": lesions.lesions,
    **fast_unet.MAKERS,
    **unpaired.MAKERS,
    **benchmark.MAKERS,
    **bridges.MAKERS,
    **backbones.MAKERS,
}


@dataclass(frozen=True)
class Study:
    """Which evidence: a profile, a seed of sampling, where to compute."""

    profile: str = "quick"
    seed: int = 0
    device: str = ""
    fresh: bool = False  # compute even what is shipped
    own: tuple[Volume, ...] = ()  # these subjects instead of the ledger's

    @property
    def settings(self) -> study.Profile:
        return study.get_profile(self.profile)

    @property
    def volumes(self) -> list[Volume]:
        """``own``, or the manifest's first test phantoms: as many as the profile asks for."""
        return list(self.own) or _volumes(self.settings.evidence)

    def table(self, name: str) -> pd.DataFrame:
        """An evidence table by name: shipped, or computed now (once in a process)."""
        if name not in MAKERS:
            raise InputError(f"There is no evidence {name!r}: choose among {', '.join(MAKERS)}.")
        if self.own:
            return MAKERS[name](self)
        if not self.fresh and (self.profile, self.seed) == SHIPPED_STUDY and name in _index():
            return read_shipped(name)
        return _computed(name, replace(self, fresh=False)).copy()

    def samples(self, volume: Volume, system: str, **settings):
        """``study.samples`` with this study's seed and device."""
        return study.samples(volume, system, seed=self.seed, device=self.device or None, **settings)


def read_shipped(name: str) -> pd.DataFrame:
    """A shipped table; InputError if it is not the one that was shipped."""
    path = TABLES / f"{name}.csv"
    blob = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(blob).hexdigest() != _index()[name]["sha256"]:
        raise InputError(f"{path} is not the table that was shipped: get it again, or run docs/make_shipped.py.")
    return pd.read_csv(BytesIO(blob), keep_default_na=False, na_values=["nan"])


def ship(name: str, table: pd.DataFrame, about: dict) -> None:
    """Store a table among the shipped ones; ``about`` says how it was made."""
    blob = table.to_csv(index=False, float_format=f"%.{DIGITS}g", na_rep="nan", lineterminator="\n").encode()
    write_atomic(TABLES / f"{name}.csv", blob)
    index = _index() | {name: {"sha256": hashlib.sha256(blob).hexdigest(), **about}}
    write_atomic(INDEX, (json.dumps(dict(sorted(index.items())), indent=1) + "\n").encode())


def _index() -> dict[str, dict]:
    return json.loads(INDEX.read_text()) if INDEX.exists() else {}


@cache
def _volumes(n: int) -> list[Volume]:
    return study.load_subjects(n)


@cache
def _computed(name: str, of: Study) -> pd.DataFrame:
    print(f"evidence '{name}': computing", file=sys.stderr, flush=True)
    return MAKERS[name](of)
