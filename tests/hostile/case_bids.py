"""BIDS folders: read, and written to as derivatives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from inputs import SECRET, Case, Input
from mutate import as_json, hostile, mutated_bytes, mutated_json, mutated_tree

from yoda_nb.data.bids import read_bids, write_derivative
from yoda_nb.data.fetch import inside
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid, read_voxels
from yoda_nb.images.volumes import Volume

IMAGES = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_FLAIR.nii")
TABLE = b"participant_id\tsplit\tage\nsub-01\ttrain\t41\nsub-02\ttest\tn/a\n"
DESCRIPTION = {"Name": "two", "BIDSVersion": "1.10.0", "DatasetType": "raw", "GeneratedBy": [{"Name": "x"}]}
DERIVATIVE = {**DESCRIPTION, "DatasetType": "derivative", "DatasetLinks": {"raw": "../raw"}}
CALL = {
    "subject": "sub-01",
    "session": None,
    "contrast": "FLAIR",
    "system": "yoda-regression",
    "model": "tiny",
    "model_sha256": "0" * 64,
    "seed": 0,
    "settings": {"n_ex": 1, "times": [1, 2]},
    "desc": "synthetic",
}
PARTS = (
    "sub-01",
    "sub-é",
    "sub-",
    "ses-1",
    "anat",
    "sub-01_T1w.nii.gz",
    "sub-02_ses-a_run-2_T1w.nii",
    "a\nb",
    "x" * 250,
)


def bases() -> None:
    return None


def good(_: None) -> Input:
    files = {f"raw/{name}": b"image" for name in IMAGES}
    files |= {"raw/participants.tsv": TABLE, "raw/dataset_description.json": as_json(DESCRIPTION)}
    return Input({**files, "out/dataset_description.json": as_json(DERIVATIVE), "call.json": as_json(CALL)})


def mutated(rng: Random, _: None) -> Input:
    """A folder with names, tables, descriptions or links changed, and what is to be written beside it."""
    files, links = dict(good(None).files), {}
    for _ in range(rng.choice((1, 1, 2))):
        how = rng.random()
        if how < 0.2:
            old = rng.choice(IMAGES)
            files["raw/" + _renamed(rng, old)] = files.pop(f"raw/{old}", b"")
        elif how < 0.35:
            files["raw/participants.tsv"] = _table(rng)
        elif how < 0.6:
            files["out/dataset_description.json"] = mutated_json(rng, DERIVATIVE, TABLE)
        elif how < 0.85:
            files["call.json"] = as_json(mutated_tree(rng, CALL))
        else:
            name = rng.choice((*IMAGES, "sub-03/anat/sub-03_T1w.nii.gz", "sub-04", "participants.tsv"))
            links[f"raw/{name}"] = rng.choice((SECRET, "../" * 4 + "secret/secret.nii.gz", "../" * 3, "nowhere", "."))
    return Input(files, links)


def _renamed(rng: Random, name: str) -> str:
    parts = name.split("/")
    at = rng.randrange(len(parts))
    new = rng.choice((rng.choice(PARTS), str(hostile(rng))[:100], parts[at].upper(), parts[at] + "_x-1"))
    return "/".join(part for part in (*parts[:at], new.replace("/", "_"), *parts[at + 1 :]) if part not in ("", ".."))


def _table(rng: Random) -> bytes:
    if rng.random() < 0.5:
        return mutated_bytes(rng, TABLE, TABLE[::-1])
    word = str(hostile(rng)).encode(errors="surrogatepass")
    return TABLE.replace(rng.choice((b"train", b"sub-02", b"split", b"\t", b"\n", b"participant_id")), word, 1)


def read(folder: Path, _: None, same: bool) -> None:
    refused = None
    try:
        _check_cases(folder / "raw")
    except InputError as error:
        refused = error
    _check_written(folder)
    if refused:
        raise refused


def _check_cases(raw: Path) -> None:
    splits: dict[str, set[str]] = {}
    for case in read_bids(raw):
        assert case.images and case.subject.lower().startswith("sub-")
        splits.setdefault(case.subject.partition("_ses-")[0], set()).add(case.split)
        for image in case.images.values():
            path = raw / image.uri
            assert path.is_file() and inside(path, raw) and not image.trusted, path
    assert all(len(found) == 1 and found <= {"train", "val", "test", "n/a"} for found in splits.values())


def _check_written(folder: Path) -> None:
    """A derivative is whole: the image as it was given, a sidecar and a description of plain JSON."""
    call: dict[str, Any] = json.loads((folder / "call.json").read_bytes())
    if not isinstance(call, dict) or call.keys() != CALL.keys() or not _plain(call):
        return  # no such call can be written in Python, or it breaks the types that are stated
    out, files = folder / "out", {"T1w": folder / "raw" / IMAGES[0]}
    volume = _volume()
    assert volume.target is not None
    path = write_derivative(volume.target, volume, out, sources=files, raw=folder / "raw", **call)
    assert inside(path, out)
    assert np.array_equal(read_voxels(path)[0], (volume.target[0].numpy() + 1) / 2)
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    for document in (sidecar, out / "dataset_description.json"):
        assert isinstance(json.loads(document.read_text(encoding="utf-8"), parse_constant=_no_constant), dict)


def _plain(call: dict[str, Any]) -> bool:
    """Whether the types are those of the function; what is in ``settings`` may be anything."""
    return all(
        type(value) in ((str, type(None)) if name == "session" else (type(CALL[name]),)) for name, value in call.items()
    )


def _volume() -> Volume:
    image = torch.linspace(-1, 1, 24).reshape(1, 2, 3, 4)
    grid = Grid((2, 3, 4), np.eye(4))
    found = Volume(image, torch.ones(1, 2, 3, 4, dtype=torch.bool), np.eye(4), ("T1w",), grid=grid)
    return replace(found, target=image)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


CASE = Case("bids", 10, bases, good, mutated, read)
