"""A store of sampled volumes, addressed by everything that determines them.

Sampling is slow and deterministic, so a result is kept under the hash of its description: a
second run, another notebook or a slider reads it instead of sampling again. An entry is one
safetensors file that carries its description and a hash of its tensors; one that was cut,
flipped or renamed is noticed, reported and recomputed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic

# Part of the key of everything that is kept on disk. Raise a number when its piece gives other results (canaries,
# ``yoda-nb rebuild canaries``, find out); what was kept under the old number is then made again.
VERSIONS = {"sampling": 1, "preparation": 2, "phantoms": 1}
STRAY = re.compile(r"\.[0-9a-f]{32}-")  # how `atomic` begins the name of an unfinished file
STRAY_SECONDS = 3600.0  # a write takes seconds, so an older temporary file lost its writer


@dataclass(frozen=True)
class Bank:
    """A folder of entries, ``root/<key>.safetensors``; created at the first write."""

    root: Path


@dataclass(frozen=True)
class Entry:
    """What the bank holds under one key; ``description`` is None if it cannot be read."""

    key: str
    path: Path
    size: int  # bytes
    modified: float  # seconds since the epoch
    description: dict[str, Any] | None


def default_bank() -> Bank:
    """The bank in ``$YODA_NB_BANK``, else in the user's cache folder."""
    if named := os.environ.get("YODA_NB_BANK"):
        return Bank(Path(named).expanduser())
    import pooch

    return Bank(Path(pooch.os_cache("yoda-nb")) / "bank")


def key_of(description: Mapping[str, Any]) -> str:
    """The SHA-256, in hex, of the description as canonical JSON; order of names is irrelevant.

    Tensors and arrays count by dtype, shape and bytes. A value of a type that says nothing about
    its content (a path, a function) raises TypeError: pass what is in it instead.
    """
    return hashlib.sha256(canonical_json(description).encode()).hexdigest()


def canonical_json(description: Mapping[str, Any]) -> str:
    """The description as JSON with sorted names, every tensor replaced by its hash."""
    return json.dumps(_plain(description), sort_keys=True, separators=(",", ":"))


def recall(
    bank: Bank, description: Mapping[str, Any], compute: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The tensors of ``description``: read if the bank holds them whole, else computed and stored.

    Returns contiguous CPU tensors of the dtype that ``compute`` gave, the same bits either way.
    The versions of torch and of sampling are added to the description; weights belong in it as a hash. If two
    processes ask for one entry, one computes it and the other waits and reads. A bank that cannot be written
    (read-only, full) gives a warning, not an error: the result is never lost.
    """
    text = canonical_json({"versions": sampling_version(), **description})
    path = bank.root / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"
    if (found := _stored(path, text)) is not None:
        return found
    with _alone(path):
        if (found := _stored(path, text)) is not None:  # another process was quicker
            return found
        tensors = {name: _own(value) for name, value in compute().items()}
        try:
            remove_strays(bank.root, STRAY_SECONDS)
            metadata = {"description": text, "sha256": key_of(tensors)}
            write_atomic(path, save(tensors, metadata))
        except (OSError, InputError) as error:
            warnings.warn(f"the result could not be stored in {bank.root}: {error}", stacklevel=2)
    return tensors


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep an entry for one process: who comes while it is being sampled waits, and then reads it.

    The lock is the system's, so it goes with a process that is killed. Where none can be had (a
    folder that cannot be written) nobody waits and the work may be done twice.
    """
    lock = FileLock(path.parent / "locks" / path.stem)
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _stored(path: Path, text: str) -> dict[str, Tensor] | None:
    """The tensors stored under a description; None without them, with a warning where they are damaged."""
    if not path.exists():
        return None
    try:
        return _read(path, text)
    except (SafetensorError, OSError, ValueError) as error:
        warnings.warn(f"the stored result {path} is damaged ({error}); it is computed again", stacklevel=3)
        return None


def entries(bank: Bank) -> list[Entry]:
    """All entries, newest first; reads headers only."""
    found = (_entry(path) for path in bank.root.glob("*.safetensors"))
    return sorted(filter(None, found), key=lambda entry: (-entry.modified, entry.key))


def clear(bank: Bank, *, older_than: float = 0.0) -> int:
    """Remove the entries written more than ``older_than`` seconds ago; returns how many."""
    if older_than < 0:
        raise InputError(f"older_than is {older_than} seconds; give zero or more.")
    limit = time.time() - older_than
    old = [entry for entry in entries(bank) if older_than == 0 or entry.modified < limit]
    for entry in old:
        entry.path.unlink(missing_ok=True)
    remove_strays(bank.root, older_than)
    return len(old)


def sampling_version() -> dict[str, int | str]:
    """What shapes a sample beside its description."""
    return {"sampling": VERSIONS["sampling"], "torch": torch.__version__}


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file, and its folder if need be: others see the old content or the new, no part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        part.write_bytes(data)


def remove_strays(folder: Path, older_than: float = 0.0) -> None:
    """Remove what killed writers left in a folder more than ``older_than`` seconds ago."""
    limit = time.time() - older_than
    for path in folder.glob(".*-*"):
        try:
            if STRAY.match(path.name) and path.stat().st_mtime <= limit:
                path.unlink()
        except FileNotFoundError:  # its writer finished, or another process was quicker
            continue


def _read(path: Path, text: str) -> dict[str, Tensor]:
    """The tensors of an entry; ValueError if it is not what was stored under ``text``."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if metadata.get("description") != text:
        raise ValueError("its description does not match its name")
    if metadata.get("sha256") != key_of(tensors):
        raise ValueError("its content does not match its checksum")
    return tensors


def _entry(path: Path) -> Entry | None:
    """What is under ``path``; None if another process has just removed it."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})["description"])
    except (SafetensorError, OSError, ValueError, KeyError, RecursionError):
        description = None
    return Entry(path.stem, path, stat.st_size, stat.st_mtime, description)


def _own(tensor: Tensor) -> Tensor:
    """A contiguous CPU copy: what a later read gives back, and nobody else's memory."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _plain(value: Any) -> Any:
    """``value`` in JSON's types, or TypeError."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _plain(torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape))
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest = hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()
        return {"tensor": [str(value.dtype), list(value.shape), digest]}
    if isinstance(value, Mapping):
        if bad := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"a description has names of type str only, not {bad[0]!r}")
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        items = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"dataclass": type(value).__qualname__, **items}
    raise TypeError(f"a description cannot hold a {type(value).__name__}: {value!r}")
