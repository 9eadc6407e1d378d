"""What a preparation computed, kept in a folder under the hash of all that determines it."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.nifti import Grid, atomic, read_voxels, sha256, write_image
from yoda_nb.preparation.register import Registration
from yoda_nb.store import VERSIONS

INDEX = "prepared.json"  # written last: an entry without it, or with other images than it names, is none


@dataclass(frozen=True)
class Pieces:
    """What a preparation computes, apart from what follows from it at once."""

    images: dict[str, np.ndarray]  # (D, H, W) of one grid, float32, or bool for "mask" and "other mask"
    affine: np.ndarray  # (4, 4) of that grid to RAS mm
    grid: Grid  # of the reference's file
    registrations: dict[str, Registration]
    warnings: tuple[str, ...]


def recall(folder: Path, description: Mapping[str, Any], make: Callable[[], Pieces]) -> Pieces:
    """The pieces of a description (JSON types): read if they are kept whole in ``folder``, else made and kept.

    A damaged entry is made again. A folder that cannot be written gives a warning; the result is not lost.
    """
    text = json.dumps({"version": VERSIONS["preparation"], **description}, sort_keys=True)
    entry = folder / hashlib.sha256(text.encode()).hexdigest()
    try:
        return _read(entry)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (InputError, OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"the images kept in {entry} are damaged ({error}); they are made again", Doubt, stacklevel=2)
    pieces = make()
    try:
        _write(entry, pieces)
    except (InputError, OSError) as error:
        warnings.warn(f"the prepared images could not be kept in {folder}: {error}", Doubt, stacklevel=2)
    return pieces


def _write(entry: Path, pieces: Pieces) -> None:
    entry.mkdir(parents=True, exist_ok=True)
    d, h, w = pieces.images["mask"].shape
    files = {}
    for number, (name, image) in enumerate(pieces.images.items()):
        path = entry / f"{number}-{re.sub('[^0-9A-Za-z]+', '-', name)}.nii.gz"
        write_image(image.astype(np.float32), Grid((d, h, w), pieces.affine), path)
        files[name] = [path.name, sha256(path)]
    index = {
        "images": files,
        "affine": pieces.affine.tolist(),
        "grid": asdict(pieces.grid),
        "registrations": {name: asdict(found) for name, found in pieces.registrations.items()},
        "warnings": pieces.warnings,
    }
    with atomic(entry / INDEX) as part:
        part.write_text(json.dumps(index, indent=1, default=np.ndarray.tolist), encoding="utf-8")


def _read(entry: Path) -> Pieces:
    """The pieces of an entry; FileNotFoundError if there is none, ValueError and others if it is damaged."""
    index = json.loads((entry / INDEX).read_text(encoding="utf-8"))
    images = {}
    for name, (file, digest) in index["images"].items():
        if not (entry / file).is_file() or sha256(entry / file) != digest:
            raise ValueError(f"{file} is not what was written")
        images[name] = read_voxels(entry / file)[0]
    images |= {name: image > 0.5 for name, image in images.items() if name.endswith("mask")}
    grid, found = index["grid"], index["registrations"]
    grid |= {name: None if grid[name] is None else np.array(grid[name]) for name in ("affine", "qform", "sform")}
    grid |= {name: tuple(grid[name]) for name in ("shape", "doubts")}
    return Pieces(
        images,
        np.array(index["affine"]),
        Grid(**grid),
        {name: Registration(np.array(fit.pop("matrix")), **fit) for name, fit in found.items()},
        tuple(index["warnings"]),
    )
