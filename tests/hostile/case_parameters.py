"""Parameters of notebooks: what a cell declares, and what a shell gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

from inputs import Case, Input
from mutate import WORDS, as_json, hostile, mutated_bytes

from yoda_nb.report.parameters import PROFILES, resolve_parameters

LINES = (
    'profile = "quick"  # tiny, quick or full',
    "seed = 0  # of everything random",
    "sigma = 0.5  # noise level",
    "flag = False  # a switch",
    "subject = None  # one subject, or all",
    "n_ex = [1, 4]  # averages",
    'names = ["a", "b"]  # words',
)
GIVEN = {"seed": "3", "sigma": "0.25", "flag": "true", "n_ex": "1,2,8", "subject": "s1", "profile": "tiny"}
ODD = (
    "seed = 1; seed = 2",
    "seed: int = 3",
    "seed += 1",
    "a = b = 3",
    "import os",
    "seed = __import__('os').mkdir('../outside')",
    "x = " + "(" * 150 + ")" * 150,
    "x = " + "[" * 3000,
    "x = " + "-" * 5000 + "1",
    "x = " + "9" * 5000,
    "x = 1" + "0" * 400,
    "x = 1e999",
    "x = -1e999",
    "x = 1j",
    "x = b'1'",
    "x = {'a': 1}",
    "x = (1, 2)",
    "x = [1, None]",
    "x = [[1]]",
    "x = []",
    "x = [True, 1]",
    "x = 'a' 'b'  # joined",
    "x = '''a\nb'''  # two lines",
    "x = 'a\\x00b'",
    "x = '\\ud800'",
    "\u00e9 = 1",
    "e\u0301 = 2",
    "if True:\n    x = 1",
    "x = 0x_f",
    "\tx = 1",
    "x = 1\x0c",
    "x = 1\\",
    "# only a comment",
    "x = '\ud800'",
)


def bases() -> None:
    return None


def good(_: None) -> Input:
    call = {"given": GIVEN, "profile": "quick"}
    return Input({"nb.ipynb": notebook("\n".join(LINES)), "call.json": as_json(call)})


def mutated(rng: Random, _: None) -> Input:
    lines, given = list(LINES), dict(GIVEN)
    for _ in range(rng.choice((1, 1, 2))):
        how = rng.random()
        if how < 0.35:
            lines[rng.randrange(len(lines))] = rng.choice(ODD)
        elif how < 0.5:
            at = rng.randrange(len(lines))
            name = lines[at].partition(" = ")[0]
            lines[at] = f"{name} = {hostile(rng)!r}  # {rng.choice(WORDS)}"
        elif how < 0.6:
            source = mutated_bytes(rng, "\n".join(lines).encode(errors="replace")).decode(errors="replace")
            lines = [source]
        elif how < 0.9:
            given[rng.choice(list(given))] = rng.choice((_spelt, _any))(rng)
        else:
            given[rng.choice(WORDS)] = rng.choice(WORDS)
    call = {"given": given, "profile": rng.choice((*PROFILES, *PROFILES, "TINY", "", "\u202etiny"))}
    return Input({"nb.ipynb": notebook("\n".join(lines)), "call.json": as_json(call)})


def _spelt(rng: Random) -> str:
    """As a shell gives it."""
    return rng.choice((*WORDS, "1e3", "0x10", "1_000", "[1, 2", "1,,2", "[[1]]", "1,a", "None", "{1: 2}", "-0", "True"))


def _any(rng: Random) -> Any:
    return hostile(rng)


def notebook(source: str) -> bytes:
    """A notebook with one cell of parameters."""
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "a",
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "source": source,
    }
    return as_json({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def read(folder: Path, _: None, same: bool) -> None:
    call = json.loads((folder / "call.json").read_bytes())
    path = folder / "nb.ipynb"
    values = resolve_parameters([path], call["given"], profile=call["profile"])[path]
    assert values.keys() >= call["given"].keys(), "a given value is not used"
    assert values.get("profile", "tiny") in PROFILES
    for name, value in values.items():
        assert name.isidentifier()
        for item in value if isinstance(value, list) else [value]:
            assert item is None or type(item) in (str, bool, int, float), (name, value)
            assert type(item) is not float or math.isfinite(item), (name, value)
            if type(item) is str:
                item.encode()  # what goes to a kernel and onto a page


CASE = Case("parameters", 9, bases, good, mutated, read)
