"""One input of ``make fuzz``: made from its seed and number, read in a folder of its own, and judged."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cases import CASES, TURNS
from guard import Escape, Hang, watched
from inputs import Input, read_regression

from yoda_nb.errors import InputError

OUTCOMES = ("refused", "right", "fault")
GOOD = "good"  # instead of a seed: an input that nobody has changed
Work = tuple[str, int | str]  # a seed and the number of an input, GOOD and a kind, or "" and the file of a regression


@dataclass(frozen=True)
class Result:
    """What became of one input: one of OUTCOMES, and for a fault what is wrong and where."""

    work: Work
    kind: str
    outcome: str
    detail: str = ""
    place: str = ""
    seconds: float = 0.0


def turns() -> list[str]:
    """The kinds in a fixed order in which each comes as often as its share says."""
    order = list(TURNS)
    Random(0).shuffle(order)
    return order


def made(work: Work, bases: dict[str, Any]) -> tuple[str, Input]:
    """The kind and the input of a seed and number, or of a regression file."""
    seed, n = work
    if seed == GOOD:
        return str(n), CASES[str(n)].good(bases[str(n)])
    if isinstance(n, str):
        return read_regression(Path(n))
    order = turns()
    kind = order[n % len(order)]
    return kind, CASES[kind].mutated(Random(f"{seed} {n}"), bases[kind])


def tried(work: Work, bases: dict[str, Any], box: Path) -> Result:
    """Read one input in the folder ``box/given``, watched."""
    kind, hostile = made(work, bases)
    given, secret = box / "given", box / "secret"
    given.mkdir()
    hostile.write(given)
    begun = time.monotonic()
    outcome, detail, place = "right", "", ""
    try:
        with watched(given, secret):
            CASES[kind].read(given, bases[kind], hostile.same)
    except InputError as error:
        outcome, detail = "refused", str(error)
        if complaint := unclear(detail):
            outcome, detail, place = "fault", f"{complaint}: {detail[:300]!r}", where(error)
    except (Exception, Hang, Escape) as error:
        outcome, detail, place = "fault", f"{type(error).__name__}: {str(error)[:300]}", where(error)
    if outcome == "refused" and work[0] == GOOD:
        outcome, detail, place = "fault", f"a good input is refused: {detail}", "good"
    if sorted(os.listdir(box)) != ["given", "secret"] or os.listdir(secret) != ["secret.nii.gz"]:
        outcome, detail = "fault", f"files outside of the folder: {os.listdir(box)}"
    return Result(work, kind, outcome, detail, place, time.monotonic() - begun)


def unclear(sentence: str) -> str:
    """What is wrong with an error message; "" for one sentence."""
    if not sentence.endswith("."):
        return "a message that does not end as a sentence does"
    if any(ord(letter) < 32 or letter in "\x7f\u2028\u2029" for letter in sentence):
        return "a message with control characters or of several lines"
    return "a message that cannot be printed" if not _printable(sentence) else ""


def _printable(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:
        return False


def where(error: BaseException) -> str:
    """The last line of the package, or of the tests, that a fault came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "yoda_nb" in Path(f.filename).parts]
    ours = ours or [f for f in frames if Path(f.filename).name != "guard.py"]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
