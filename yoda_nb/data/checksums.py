"""Checksums of files as the manifest writes them: SHA-256, or ``git:`` and the id that git gives the same bytes.

The id of a git blob is SHA-1 of ``"blob " + size + "\\0" + content``.  A repository's listing states it for every
file, so a file can be verified that nobody here has downloaded yet.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from yoda_nb.images.nifti import sha256

GIT = "git:"


def normal(text: str) -> str:
    """A checksum in lower case; ValueError for what is neither 64 hexadecimal digits nor ``git:`` and 40."""
    if not re.fullmatch(rf"[0-9a-f]{{64}}|{GIT}[0-9a-f]{{40}}", text.lower()):
        raise ValueError(f"{text!r} is neither 64 hexadecimal digits nor {GIT} and 40")
    return text.lower()


def digest(path: str | Path, like: str) -> str:
    """The checksum of a file, of the kind of ``like``: SHA-256, or a git blob id."""
    return git_blob(path) if like.startswith(GIT) else sha256(path)


def matches(path: str | Path, checksum: str | None) -> bool:
    """Whether a file has this checksum; None, not stated, fits every file."""
    return checksum is None or digest(path, checksum) == checksum


def git_blob(path: str | Path) -> str:
    """``git:`` and the 40 hexadecimal digits of a file's blob id, read in blocks."""
    path = Path(path)
    state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return GIT + state.hexdigest()


def short(checksum: str) -> str:
    """Twelve digits that tell files of one name apart."""
    return checksum.removeprefix(GIT)[:12]
