"""Samples that come with the package, so that a first look need not wait for slow sampling.

They are what ``study.samples`` gives inside the mask, rounded to 1/511 and compressed: an error of 0.0006 beside
an acquisition's noise of 0.08. They answer for the manifest's phantoms on a CPU only; ``YODA_NB_SHIPPED=0``
samples everything anew, and ``yoda-nb rebuild samples`` makes them again.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Collection, Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from yoda_nb.diffusion.system import Sampling, System
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.store import write_atomic
from yoda_nb.systems.papers import PAPERS

# folders of installed papers; new samples go to the first
SAMPLES = [
    *dict.fromkeys(p.SAMPLES for p in PAPERS.values() if hasattr(p, "SAMPLES")),
    Path(__file__).parent / "samples",
]
SUMS = "SHA256SUMS"
SCALE = 511.0  # levels on either side of 0
# Another processor rounds the phantom's voxels differently; another phantom differs by far more.
SAME = 1e-3
UNNAMED = ("name", "summary", "reference", "sampling", "paper", "weights")  # of a system: what no image depends on


def find_shipped(volume: Volume, spec: System, seed: int, weights: str) -> Tensor | None:
    """The shipped samples (n_ex,1,D,H,W) in [-1,1] of a phantom, None if there are none.

    ``weights`` is the model's sha256. Raises InputError for a file that is not the shipped one.
    """
    path = shipped_path(volume, spec, seed, weights)
    if os.environ.get("YODA_NB_SHIPPED") == "0" or not path.exists():
        return None
    blob = path.read_bytes()
    if _sums(path.parent).get(path.name) != sha256(blob).hexdigest():
        raise InputError(f"{path} is not the file that was shipped: get it again or set YODA_NB_SHIPPED=0.")
    try:
        stored = load(blob)
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read ({error}): get it again or set YODA_NB_SHIPPED=0.") from error
    if not torch.equal(volume.mask.sum(), stored["voxels"]) or not _same(volume, stored["means"]):
        return None
    values = _unpacked(stored["values"]).reshape(-1, int(stored["voxels"]))  # (n_ex, voxels)
    samples = torch.full((len(values), *volume.mask.shape), -1.0)
    samples[:, volume.mask] = values.float() / SCALE
    return samples


def ship(volume: Volume, spec: System, seed: int, weights: str, samples: Tensor) -> Path:
    """Store samples (n_ex,1,D,H,W) in [-1,1] among the shipped ones, and their checksum."""
    stored = {
        "values": _packed((samples[:, volume.mask] * SCALE).round().to(torch.int16)),
        "voxels": volume.mask.sum(),
        "means": source_means(volume),
    }
    path = shipped_path(volume, spec, seed, weights)
    blob = save(stored)
    write_atomic(path, blob)
    _write_sums({**_sums(path.parent), path.name: sha256(blob).hexdigest()})
    return path


def keep_shipped(paths: Collection[Path]) -> list[Path]:
    """Remove all shipped samples but these, and their checksums; returns what was removed."""
    names = {path.name for path in paths}
    others = sorted(path for path in SAMPLES[0].glob("*.safetensors") if path.name not in names)
    _write_sums({name: digest for name, digest in _sums(SAMPLES[0]).items() if name in names})
    for path in others:
        path.unlink()
    return others


def shipped_path(volume: Volume, spec: System, seed: int, weights: str) -> Path:
    """Where such samples are shipped: a file name from all that is exact on every machine."""
    # what is as it always was does not count: a new setting renames no file
    parts: list[System | Sampling] = [spec, spec.sampling]
    settings = {
        f.name: getattr(part, f.name)
        for part in parts
        for f in fields(part)
        if f.name not in UNNAMED and getattr(part, f.name) != f.default
    }
    settings["process"] = type(spec.sampling).__name__
    known = [volume.subject, volume.sources, volume.contrast, tuple(volume.shape), settings, seed, weights]
    digest = sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    places = [folder / f"{volume.subject}-{digest[:16]}.safetensors" for folder in SAMPLES]
    return next((path for path in places if path.exists()), places[0])


def _packed(values: Tensor) -> Tensor:
    """int16 as compressed bytes (N,) uint8: all low bytes, then all high ones, which are nearly alike."""
    planes = values.flatten().view(torch.uint8).reshape(-1, 2).T.contiguous()
    return torch.frombuffer(bytearray(lzma.compress(planes.numpy().tobytes())), dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Tensor:
    """Inverse of ``_packed``, flat."""
    planes = torch.frombuffer(bytearray(lzma.decompress(packed.numpy().tobytes())), dtype=torch.uint8)
    return planes.reshape(2, -1).T.contiguous().view(torch.int16).flatten()


def source_means(volume: Volume) -> Tensor:
    """(C,) mean of each source inside the mask."""
    return torch.stack([channel[volume.mask[0]].mean() for channel in volume.source])


def _same(volume: Volume, means: Tensor) -> bool:
    return torch.allclose(source_means(volume), means, rtol=0, atol=SAME)


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _write_sums(sums: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write_atomic(SAMPLES[0] / SUMS, text.encode())
