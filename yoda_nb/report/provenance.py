"""Where a result comes from: code, versions, values and machine, as a hash and in words."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from yoda_nb.data.places import commit as commit
from yoda_nb.images.nifti import sha256
from yoda_nb.store import key_of
from yoda_nb.sweep.record import FILES
from yoda_nb.sweep.workers import cores
from yoda_nb.systems.papers import PAPERS

CONTENT = (".py", ".js", ".css", ".json", ".jsonl", ".csv", ".gz", "")  # endings; "" of lists of checksums
APART = ("report", "cli", "scans", "bench")  # rooms that change no lesson
VERSIONED = ("yoda-nb", "torch", "monai", "numpy", "scipy", "nibabel", "matplotlib", "papermill")


def versions() -> dict[str, str]:
    """Python and the packages that results depend on, by name."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def fingerprint(source: Path, parameters: Mapping[str, Any]) -> str:
    """A hash of all that determines a run: notebook, values, named files, package, versions."""
    files = {str(path): sha256(path) for path in named_files(parameters)}
    return key_of(
        {
            "notebook": hashlib.sha256(source.read_bytes()).hexdigest(),
            "parameters": dict(parameters),
            "files": files,
            "package": package_hash(),
            "versions": versions(),
        }
    )


def named_files(parameters: Mapping[str, Any]) -> list[Path]:
    """The files that parameters name: paths, those of "T1w=a.nii.gz,T2w=b.nii.gz", and a sweep's folder."""
    words = [value for value in parameters.values() if isinstance(value, str)]
    pieces = [piece for word in words for piece in (word, *word.split(","))]
    parts = dict.fromkeys(part.strip() for piece in pieces for part in (piece, piece.partition("=")[2]))
    paths = [Path(os.path.expanduser(part)) for part in parts if part and "\0" not in part]
    return [path for named in paths for path in (named, *(named / name for name in FILES)) if _is_file(path)]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long to be a name
        return False


@cache
def package_hash() -> str:
    """A hash of the code that lessons can run, in this package and those of the papers, and of cards and tables.

    Weights and samples count by the checksums in their cards and indexes.
    """
    tops = dict.fromkeys(["yoda_nb", *(module.__name__.partition(".")[0] for module in PAPERS.values())])
    digest = hashlib.sha256()
    for folder in [Path(str(sys.modules[top].__file__)).parent for top in tops]:
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.suffix in CONTENT and parts[0] not in APART and path.is_file():
                digest.update("/".join(parts).encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def machine() -> str:
    """Processor, cores, memory and GPU in one line."""
    import torch

    from yoda_nb.nets.models import processor

    parts = [processor(), f"{cores()} cores", platform.system()]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)
