"""Checkpoints of a training: a run goes on from what it wrote, bit for bit, or not at all."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from inputs import Case, Input
from mutate import hostile, mutated_bytes

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.loop import fit

NET = UNetConfig((2,), (False,), groups=1, embedding=4, n_sources=1)
CONFIG = TrainConfig(net=NET, steps=4, batch_size=2, window=4, warmup=1, half=False, margin_mm=(2, 2, 2))


class Bases(NamedTuple):
    raw: bytes  # a checkpoint after two steps
    log: bytes
    other: bytes  # of another run
    after: dict[str, torch.Tensor]  # the average after one step more


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("../outside",)


def volumes() -> list[Volume]:
    mask = torch.zeros(1, 8, 8, 8, dtype=torch.bool)
    mask[:, 2:6, 2:6, 2:6] = True
    image = torch.where(mask, torch.linspace(-0.9, 0.9, 512).reshape(mask.shape), -1.0)
    return [Volume(image, mask, np.diag([2.0, 2, 2, 1]), ("T1w",), subject="cube", target=-image)]


def bases() -> Bases:
    with TemporaryDirectory() as name:
        out = Path(name)
        fit(volumes(), CONFIG, out=out / "a", stop_after=2, checkpoint_every=1)
        fit(volumes(), replace(CONFIG, seed=1), out=out / "b", stop_after=1)
        raw, log = ((out / "a" / file).read_bytes() for file in ("checkpoint.pt", "log.jsonl"))
        return Bases(raw, log, (out / "b" / "checkpoint.pt").read_bytes(), _gone_on(out / "a"))


def _gone_on(out: Path) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in fit(volumes(), CONFIG, out=out, stop_after=1).state_dict().items()}


def good(bases: Bases) -> Input:
    return Input({"checkpoint.pt": bases.raw, "log.jsonl": bases.log}, same=True)


def mutated(rng: Random, bases: Bases) -> Input:
    """Bytes changed, the content changed and written again, or a pickle that is none of ours."""
    how = rng.random()
    log = mutated_bytes(rng, bases.log) if rng.random() < 0.1 else bases.log
    if how < 0.6:
        return Input({"checkpoint.pt": mutated_bytes(rng, bases.raw, bases.other), "log.jsonl": log}, same=True)
    if how < 0.65:
        protocol = rng.choice((2, 4))
        return Input({"checkpoint.pt": pickle.dumps(rng.choice((Bomb(), {"step": Bomb()}, 7, [])), protocol)})
    if how < 0.68:
        return Input({"checkpoint.pt": bases.other, "log.jsonl": log})
    blob = torch.load(io.BytesIO(bases.raw), weights_only=True)
    for _ in range(rng.choice((1, 1, 2))):
        blob = _changed(rng, blob)
    file = io.BytesIO()
    torch.save(blob, file)
    return Input({"checkpoint.pt": file.getvalue(), "log.jsonl": log})


def _changed(rng: Random, tree: Any) -> Any:
    """A state with one of its values lacking, or another."""
    if isinstance(tree, torch.Tensor):
        return rng.choice((tree[:0] if tree.ndim else tree, tree.double(), tree + float("nan"), tree[None], 3))
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.05:
        return _near(rng, tree)
    name = rng.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
    changed = tree.copy()
    if rng.random() < 0.2:
        del changed[name]
    else:
        changed[name] = _changed(rng, tree[name])
    return changed


def _near(rng: Random, value: Any) -> Any:
    if type(value) in (int, float) and rng.random() < 0.5:
        return rng.choice((-value - 1, value * 10**6 + 9, float("nan"), str(value), float(value) + 0.5))
    return hostile(rng)


def read(folder: Path, bases: Bases, same: bool) -> None:
    after = _gone_on(folder)
    assert all(torch.isfinite(value).all() for value in after.values()), "the weights are no numbers"
    if same:
        assert all(torch.equal(value, bases.after[name]) for name, value in after.items()), "other weights than kept"
    again = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert type(again["step"]) is int and 0 < again["step"] <= CONFIG.steps, again["step"]
    assert 0 <= again["seconds"] < float("inf")


CASE = Case("checkpoints", 9, bases, good, mutated, read)
