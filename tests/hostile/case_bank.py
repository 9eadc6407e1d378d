"""Entries of the bank: whatever became of one, the result is the one that was computed."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from inputs import SECRET, Case, Input
from mutate import as_json, mutated_bytes, mutated_json, mutated_tree

from yoda_nb.store import Bank, entries, recall

DESCRIPTION = {"system": "yoda-expa", "n_ex": 2, "source": torch.arange(6.0)}


def compute() -> dict[str, torch.Tensor]:
    noise = torch.linspace(-1, 1, 24).reshape(1, 2, 3, 4)
    return {"x0": noise, "half": noise.half(), "count": torch.tensor(7), "none": torch.zeros(0, 3)}


def bases() -> dict[str, bytes]:
    """Name and bytes of the entry, and of one of another description."""
    with TemporaryDirectory() as name, _fixed():
        bank = Bank(Path(name))
        recall(bank, DESCRIPTION, compute)
        (first,) = bank.root.glob("*.safetensors")
        recall(bank, {"n_ex": 3}, compute)
        (second,) = set(bank.root.glob("*.safetensors")) - {first}
        return {path.name: path.read_bytes() for path in (first, second)}


def _fixed():
    """The version of the code is part of an entry's name: one that outlives the code."""
    return patch("yoda_nb.store.sampling_version", lambda: {})


def good(bases: dict[str, bytes]) -> Input:
    return Input(bases, same=True)


def mutated(rng: Random, bases: dict[str, bytes]) -> Input:
    name, other = bases
    raw, how = bases[name], rng.random()
    links = {}
    if how < 0.6:
        raw = mutated_bytes(rng, raw, bases[other])
    elif how < 0.65:
        raw = bases[other]
    elif how < 0.7:
        links = {name: rng.choice((SECRET, ".", "nowhere", other, "../../etc/passwd"))}
    else:
        size = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8 : 8 + size])
        if rng.random() < 0.4:
            header["__metadata__"]["description"] = mutated_json(rng, {"n_ex": 2}).decode(errors="replace")
        else:
            header = mutated_tree(rng, header)
        text = as_json(header)
        raw = struct.pack("<Q", len(text)) + text + raw[8 + size :]
    return Input({name: raw, other: bases[other]}, links, same=True)


def read(folder: Path, bases: dict[str, bytes], same: bool) -> None:
    bank = Bank(folder)
    with _fixed():
        assert len(entries(bank)) <= 2
        # healed after the first, unless the name is a folder's, which stays
        for how in (compute, compute if (folder / next(iter(bases))).is_dir() else _never):
            found = recall(bank, DESCRIPTION, how)
            truth = compute()
            assert found.keys() == truth.keys()
            assert all(torch.equal(found[k], truth[k]) and found[k].dtype == truth[k].dtype for k in truth)


def _never() -> dict[str, torch.Tensor]:
    raise AssertionError("what was stored again is not read")


CASE = Case("bank", 8, bases, good, mutated, read)
