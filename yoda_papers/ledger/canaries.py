"""Canaries: one subject of a shipped table, computed again and compared with its shipped rows.

They find what no version tells: a library, a machine or a change of the code that moves numbers
(``yoda-nb rebuild canaries``). No shipped image is read; the caller names an empty bank in ``$YODA_NB_BANK``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import shipped_file
from yoda_nb.study.shipping import SAME, source_means
from yoda_nb.study.subjects import Profile
from yoda_papers.ledger.evidence import (
    FETCHED,
    MAKERS,
    SHIPPED_STUDY,
    Study,
    from_csv,
    index,
    outdated,
    read_shipped,
    to_csv,
)
from yoda_papers.ledger.versions import in_words

TOLERANCES = {  # column -> largest difference; the first that fits counts
    "*ssim*": 0.002,
    "*psnr*": 0.1,  # dB
    "noise": 0.001,  # of the white matter, [0,1] scale
    "*dice": 0.05,
}
OTHERS = (0.02, 0.002)  # any other number: of the shipped value, or of the column's largest, whichever is more

_SET = "a distance between sets of images needs every subject"
_TIME = "it measures seconds, which belong to a machine"
WHOLE = {  # tables that one subject cannot stand for, and why; those whose weights are not shipped are found by index
    **dict.fromkeys(("perception", "correlated", "schedules", "projectors"), _SET),
    **dict.fromkeys(("benchmark-fd", "backbones_fd", "backbones_long", "min_snr_fd"), _SET),
    **dict.fromkeys(("cost", "benchmark-cost", "backbones_cost", "fast_unet_latency", "unpaired_latency"), _TIME),
    "translations-more": "it holds further subjects of 'translations', made by the same code",
}
OWN_PHANTOMS = ("translations",)  # makers that draw subjects of their own and take no other


@dataclass(frozen=True)
class OneSubject(Study):
    """The shipped study with one subject of each kind; nothing shipped answers."""

    fresh: bool = True

    @property
    def settings(self) -> Profile:
        return replace(super().settings, evidence=1)


@dataclass(frozen=True)
class Canary:
    """How far recomputed rows are from the shipped ones."""

    table: str
    rows: int
    largest: dict[str, float]  # column -> largest difference; inf where a number became nan, or nan a number
    outside: tuple[str, ...]  # columns beyond their tolerance; "rows" where others were made, "subject" for another
    seconds: float

    def document(self) -> dict[str, Any]:
        """As a row of text for people."""
        largest = ", ".join(f"{column} {d:.1g}" for column, d in self.largest.items() if d)
        return {
            "table": self.table,
            "rows": self.rows,
            "largest difference": largest or "none",
            "within": f"no: {', '.join(self.outside)}" if self.outside else "yes",
            "seconds": round(self.seconds),
            "made with": in_words(index()[self.table]["libraries"]),
        }


def left_out(name: str) -> str:
    """Why a table has no canary; "" where it has one."""
    if name in FETCHED:
        return "its data are fetched"
    if name not in index():
        return "it is not shipped"
    if name in WHOLE:
        return WHOLE[name]
    weights = index()[name]["weights"]
    if missing := [model for model in weights if not shipped_file(model).exists()]:
        return f"{len(missing)} of its {len(weights)} weights not shipped"
    return f"it is outdated: {', '.join(outdated(name))} changed" if outdated(name) else ""


def recompute(name: str, device: str = "cpu") -> Canary:
    """Make a table of one subject and compare it with what is shipped of it."""
    (subject,) = Study(*SHIPPED_STUDY).more(1)
    begun = time.monotonic()
    now = MAKERS[name](OneSubject(*SHIPPED_STUDY, device=device, own=() if name in OWN_PHANTOMS else (subject,)))
    largest, outside = compare(from_csv(to_csv(now)), read_shipped(name))
    if not _same(fingerprint(subject), index()[name].get("subject")):
        outside += ("subject",)
    return Canary(name, len(now), largest, outside, time.monotonic() - begun)


def fingerprint(volume: Volume) -> dict[str, float]:
    """What tells a subject from another on every machine: voxels in the mask, the mean of each source inside it.

    A hash of voxels would not do: processors round a phantom's voxels differently.
    """
    by_name = zip(volume.sources, source_means(volume).tolist(), strict=True)
    return {"voxels": int(volume.mask.sum())} | {name: round(mean, 6) for name, mean in by_name}


def _same(now: Mapping[str, float], then: Mapping[str, float] | None) -> bool:
    """Whether two fingerprints are of one subject; True where none was recorded."""
    return then is None or (now.keys() == then.keys() and all(abs(now[k] - then[k]) <= SAME for k in then))


def compare(now: pd.DataFrame, shipped: pd.DataFrame) -> tuple[dict[str, float], tuple[str, ...]]:
    """Largest difference of each column of numbers, and the columns beyond their tolerance.

    Rows are those of the subjects in ``now``. Rows of the same texts are compared in their order, for the order of
    systems may change. Where number, columns or texts are others, nothing is compared and "rows" is the answer.
    """
    then = shipped[shipped.subject.isin(now.subject)] if "subject" in shipped else shipped
    numbers = [column for column in then if is_numeric_dtype(then[column])]
    texts = [column for column in then if column not in numbers]
    if set(now) != set(then) or len(now) != len(then):
        return {}, ("rows",)
    if texts:
        now, then = (t.sort_values(texts, kind="stable") for t in (now, then))
    if (now[texts].astype(str).to_numpy() != then[texts].astype(str).to_numpy()).any():
        return {}, ("rows",)
    largest, outside = {}, []
    for column in numbers:
        a, b = (t[column].to_numpy(float) for t in (now, then))
        difference = np.where(np.isnan(a) & np.isnan(b), 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
        largest[column] = float(difference.max())
        if (difference > tolerance(column, b)).any():
            outside.append(column)
    return largest, tuple(outside)


def tolerance(column: str, values: np.ndarray) -> np.ndarray:
    """The largest difference allowed to each value of a column."""
    absolute = next((most for pattern, most in TOLERANCES.items() if fnmatch(column, pattern)), None)
    if absolute is not None:
        return np.full(len(values), absolute)
    sizes = np.abs(np.nan_to_num(values))
    return np.maximum(OTHERS[0] * sizes, OTHERS[1] * sizes.max(initial=0.0))
