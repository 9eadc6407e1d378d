"""Packs of volumes: cut, flipped, with other headers and values."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from inputs import Case, Input
from mutate import as_json, mutated_bytes, mutated_tree
from safetensors.torch import load, save

from yoda_nb.data.packs import read_pack, write_pack
from yoda_nb.images.volumes import Volume

ABOUT = ("shape", "affine", "sources", "contrast", "subject")


def bases() -> list[bytes]:
    """A pack with lesions and one without."""
    mask = torch.zeros(1, 5, 6, 7, dtype=torch.bool)
    mask[:, 1:4, 1:5, 2:6] = True
    image = torch.where(mask, torch.linspace(-1, 1, 210).reshape(mask.shape), -1.0)
    sick = mask & (image > 0.2)
    volumes = [
        Volume(torch.cat([image, -image]), mask, np.diag([2.0, 2, 3, 1]), ("T1w", "T2w"), target=image, lesions=lesions)
        for lesions in (sick, None)
    ]
    with TemporaryDirectory() as name:
        return [write_pack(volume, Path(name, "a.pack.safetensors")).read_bytes() for volume in volumes]


def good(bases: list[bytes]) -> Input:
    return _file(bases[0])


def mutated(rng: Random, bases: list[bytes]) -> Input:
    how, raw = rng.random(), rng.choice(bases)
    if how < 0.5:
        return _file(mutated_bytes(rng, raw, rng.choice(bases)))
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    if how < 0.85:  # what the file says of the volume, or of its tensors
        about = json.loads(header["__metadata__"]["volume"])
        if rng.random() < 0.8:
            text = as_json(mutated_tree(rng, about)).decode()
            if rng.random() < 0.1:
                text = rng.choice(("[" * 100_000, "{}", "", '{"a":' * 2000, mutated_bytes(rng, text.encode()).hex()))
            header["__metadata__"]["volume"] = text
        else:
            header = mutated_tree(rng, header)
        new = as_json(header)
        return _file(struct.pack("<Q", len(new)) + new + raw[8 + size :])
    state = load(raw)
    name = rng.choice(sorted(state))
    values = state[name]
    wrong = values.clone()
    wrong.view(-1)[rng.randrange(wrong.numel())] = (
        rng.choice((float("nan"), float("inf"), 3.0, -2.0)) if (values.is_floating_point()) else rng.randrange(256)
    )
    state[name] = rng.choice((wrong, wrong, values[..., :-1].contiguous(), values[:0], values.float(), values[None]))
    return _file(save({k: v.clone() for k, v in state.items()}, {"volume": header["__metadata__"]["volume"]}))


def _file(raw: bytes) -> Input:
    return Input({"a.pack.safetensors": raw})


def read(folder: Path, bases: list[bytes], same: bool) -> None:
    for dtype in (torch.float32, torch.float16):
        volume = read_pack(folder / "a.pack.safetensors", dtype=dtype)
        _check(volume)
        assert volume.source.dtype is dtype


def _check(volume: Volume) -> None:
    """Finite, within range, and of one shape; -1 outside of the mask."""
    assert volume.mask.dtype is torch.bool and volume.mask.shape == (1, *volume.shape) and volume.mask.any()
    assert volume.source.shape == (len(volume.sources), *volume.shape) and volume.sources
    assert volume.target is not None and volume.target.shape == volume.mask.shape
    images = torch.cat([volume.source, volume.target])
    assert torch.isfinite(images).all() and images.abs().max() <= 1, "values beyond [-1, 1]"
    assert (images[:, ~volume.mask[0]] == -1).all()
    assert volume.affine.shape == (4, 4) and volume.affine.dtype == float and np.isfinite(volume.affine).all()
    assert min(volume.spacing) > 0 and abs(np.linalg.det(volume.affine)) > 0
    assert all(type(word) is str for word in (*volume.sources, volume.contrast, volume.subject))
    if volume.lesions is not None:
        assert volume.lesions.shape == volume.mask.shape and not (volume.lesions & ~volume.mask).any()


CASE = Case("packs", 12, bases, good, mutated, read)
