"""Plans of sweeps: TOML that names a study, systems, settings and seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import Any

from inputs import SECRET, Case, Input
from mutate import WORDS, mutated_bytes, mutated_tree

from yoda_nb.data.rows import COLUMNS
from yoda_nb.sweep import make_plan, read_plan, trials
from yoda_nb.systems.models import load_model
from yoda_nb.systems.table import get_system

PLAN: dict[str, Any] = {
    "study": "manifest.csv",
    "subjects": 2,
    "sources": ["T1w", "T2w"],
    "target": "FLAIR",
    "seeds": [0, 1],
    "systems": [
        {"name": "yoda-regression", "model": "tiny-t1w-t2w-flair"},
        {"name": "yoda-ddim", "model": "tiny-t1w-t2w-flair", "n_steps": [4, 8], "homogenise": True},
    ],
}
NAMES = ("manifest.csv", SECRET, "../secret", "nowhere.csv", ".", "yoda-expa", "unet", "tiny-t1w-t2w-flair", "s1")
ODD = (
    b"[[systems]]\n" * 3000,
    b"systems = " + b"[" * 2000,
    b"a" + b".a" * 3000 + b" = 1",
    b"seeds = [1e400]\n",
    b"seeds = [" + b"9" * 5000 + b"]\n",
    b"subjects = 1979-05-27\n",
    b"\xef\xbb\xbf" + b"target = 'x'\n",
    b"systems = {}\n",
)


def bases() -> bytes:
    """A manifest of three phantoms; the model that the plan names is read once."""
    load_model("tiny-t1w-t2w-flair")
    rows = [f"own,s{k},test,any,phantom:{k},n/a,CC0,made here,n/a" for k in range(3)]
    return "\n".join([",".join(COLUMNS), *rows]).encode()


def good(manifest: bytes) -> Input:
    return Input({"plan.toml": toml(PLAN).encode(), "manifest.csv": manifest})


def mutated(rng: Random, manifest: bytes) -> Input:
    how = rng.random()
    tree = PLAN
    if how < 0.65:
        tree = mutated_tree(rng, PLAN)
    elif how < 0.8:
        tree = {**PLAN, rng.choice((*PLAN, "mirror", "device", "dataset", "split")): rng.choice((*NAMES, *WORDS))}
    text = toml(tree).encode(errors="replace")
    if how > 0.8:
        text = rng.choice(ODD) if rng.random() < 0.3 else mutated_bytes(rng, text, manifest)
    return Input({"plan.toml": text, "manifest.csv": manifest})


def toml(tree: Any) -> str:
    """A document as TOML, each field of its own line; what TOML has no word for is left out."""
    fields = tree if isinstance(tree, dict) else {"systems": tree}
    return "".join(f"{json.dumps(name)} = {_value(value)}\n" for name, value in fields.items() if value is not None)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value if item is not None) + "]"
    return {"NaN": "nan", "Infinity": "inf"}.get(word := json.dumps(value), word)


def read(folder: Path, manifest: bytes, same: bool) -> None:
    plan = make_plan(read_plan(folder / "plan.toml"))
    found = trials(plan)
    assert found and len({trial.key for trial in found}) == len(found)
    for trial in found:
        assert type(trial.seed) is int and trial.case.images
        spec = get_system(trial.system, **dict(trial.settings))
        assert spec.n_ex > 0 and math.isfinite(spec.noise)


CASE = Case("plans", 6, bases, good, mutated, read)
