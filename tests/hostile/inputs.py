"""A hostile input: the files and links of one folder, kept as a small JSON file where it found a fault."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

SECRET = "../secret/secret.nii.gz"  # from the folder that is given: a file that nobody may open


@dataclass(frozen=True)
class Input:
    """Files (path -> bytes) and symbolic links (path -> where to) of a folder that is given.

    ``same``: what is read from it must be the original's content, or nothing.
    """

    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    same: bool = False

    def write(self, folder: Path) -> None:
        """Put it on the disk; what cannot be called so there is left out."""
        for name, data in self.files.items():
            path = _placed(folder, name)
            if path is not None:
                path.write_bytes(data)
        for name, target in self.links.items():
            path = _placed(folder, name)
            if path is not None:
                path.unlink(missing_ok=True)
                os.symlink(target, path)

    def text(self, kind: str, note: str) -> str:
        """As a regression file."""
        files = {name: base64.b64encode(zlib.compress(data, 9)).decode() for name, data in self.files.items()}
        document = {"kind": kind, "note": note, "files": files, "links": dict(self.links), "same": self.same}
        return json.dumps(document, indent=1, sort_keys=True) + "\n"

    def name(self, kind: str) -> str:
        """Of its regression file."""
        return f"{kind}-{hashlib.sha256(self.text(kind, '').encode()).hexdigest()[:12]}.json"


@dataclass(frozen=True)
class Case:
    """One kind of input: how its good files are made, mutated, and read."""

    kind: str
    share: int  # of the inputs, relative to the others
    bases: Callable[[], Any]  # made once; good inputs and what they hold
    good: Callable[[Any], Input]  # one that must be read right
    mutated: Callable[[Random, Any], Input]
    read: Callable[[Path, Any, bool], None]  # of a folder: InputError, or AssertionError for nonsense


def read_regression(path: Path) -> tuple[str, Input]:
    """The kind and the input of a regression file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    files = {name: zlib.decompress(base64.b64decode(data)) for name, data in document["files"].items()}
    return document["kind"], Input(files, document["links"], document["same"])


def _placed(folder: Path, name: str) -> Path | None:
    """The path of a file of the input, its folder made; None where the system does not allow such a name."""
    path = folder / name
    try:
        if ".." in path.parts or not path.is_relative_to(folder):
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        return None if path.is_dir() else path
    except (OSError, ValueError):
        return None
