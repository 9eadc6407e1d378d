"""Models: weights and cards, also those whose checksum somebody fitted to the damage; what is read translates."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from inputs import Case, Input
from mutate import as_json, mutated_bytes, mutated_json, mutated_tree
from safetensors.torch import load, save

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import read_model, save_model
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.systems.papers import NETS
from yoda_nb.systems.run import translate

Files = tuple[bytes, dict[str, Any]]  # weights and card
CARD = {
    "sources": ["T1w"],
    "target": "FLAIR",
    "spacing_mm": 3.0,
    "schedule": "linear",
    "n_train": 1000,
    "prediction": "v",
    "views": [0, 1, 2],
    "options": {},
    "training": {"seed": 0},
}
CONFIGS = (
    MonaiUNetConfig((4, 8), (False, True), 1, 4, 2, n_sources=1, thickness=1),
    UNetConfig((2, 4), (False, False), groups=1, embedding=4, n_sources=1, thickness=3),
)


def bases() -> list[Files]:
    """Two nets, each with weights of 16 and of 8 bits."""
    found = []
    with TemporaryDirectory() as name:
        for config in CONFIGS:
            torch.manual_seed(0)
            for bits in (16, 8):
                path = Path(name, "net.safetensors")
                save_model(config.build(), path, config=config, card=CARD, bits=bits)
                found.append((path.read_bytes(), json.loads(path.with_suffix(".json").read_bytes())))
    return found


def good(bases: list[Files]) -> Input:
    return Input({"net.safetensors": bases[0][0], "net.json": as_json(bases[0][1])})


def mutated(rng: Random, bases: list[Files]) -> Input:
    """Card or weights changed; half of the changed weights with a checksum that was fitted to them."""
    blob, card = rng.choice(bases)
    text = as_json(card)
    how = rng.random()
    if how < 0.5:
        text = mutated_json(rng, card, text)
    elif how < 0.6:  # the net alone, deeper down
        text = as_json({**card, "net": mutated_tree(rng, card["net"])})
    else:
        other = rng.choice(bases)[0]
        blob = rng.choice((_bytes, _bytes, _header, _weights, lambda *_: other))(rng, blob, other)
        if rng.random() < 0.7:
            text = as_json({**card, "sha256": hashlib.sha256(blob).hexdigest()})
    return Input({"net.safetensors": blob, "net.json": text})


def _bytes(rng: Random, blob: bytes, other: bytes) -> bytes:
    return mutated_bytes(rng, blob, other)


def _header(rng: Random, blob: bytes, other: bytes) -> bytes:
    """The header of a safetensors file as a document changed, with the length that belongs to it."""
    size = struct.unpack("<Q", blob[:8])[0]
    text = as_json(mutated_tree(rng, json.loads(blob[8 : 8 + size])))
    return struct.pack("<Q", len(text)) + text + blob[8 + size :]


def _weights(rng: Random, blob: bytes, other: bytes) -> bytes:
    """Weights that are no numbers, too large, of another type or shape, missing or too many."""
    state = load(blob)
    name = rng.choice(sorted(state))
    weight = state[name]
    flat = weight.clone().flatten()
    flat[rng.randrange(len(flat))] = rng.choice((float("nan"), float("inf"), 6e4)) if weight.is_floating_point() else 9
    changes = {
        name: [flat.reshape(weight.shape), weight.double(), weight.to(torch.uint8), weight[None], weight[:0]],
        "": [weight],
        "x" * 300: [weight],
        name + ".scale": [weight[:1], torch.zeros(())],
    }
    new = rng.choice(list(changes))
    state[new] = rng.choice(changes[new])
    if rng.random() < 0.2:
        del state[rng.choice(sorted(state))]
    return save({k: v.clone().contiguous() for k, v in state.items()})


def read(folder: Path, bases: list[Files], same: bool) -> None:
    path = folder / "net.safetensors"
    model = read_model(path, NETS)
    assert all(torch.isfinite(value).all() for value in model.net.state_dict().values()), "weights are no numbers"
    assert model.sources and all(type(name) is str for name in model.sources), model.sources
    assert type(model.contrast) is str and model.contrast, model.contrast
    assert np.isfinite(model.spacing) and model.spacing > 0, model.spacing
    volume = _volume()
    image = translate(volume, "yoda-regression", model=path, device="cpu").target
    assert image is not None and image.shape == volume.mask.shape and torch.isfinite(image).all()
    assert image.min() >= -1 and image.max() <= 1 and (image[~volume.mask] == -1).all()


def _volume() -> Volume:
    mask = torch.zeros(1, 6, 6, 6, dtype=torch.bool)
    mask[:, 2:4, 2:4, 2:4] = True
    image = torch.where(mask, torch.linspace(-0.9, 0.9, 216).reshape(mask.shape), -1.0)
    return Volume(image, mask, np.diag([3.0, 3, 3, 1]), ("T1w",), subject="cube")


CASE = Case("models", 12, bases, good, mutated, read)
