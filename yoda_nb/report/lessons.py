"""The lessons as files of one's own, with or without the answers of their exercises."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.study.bank import write_atomic

ANSWER = re.compile(r"\s*<details\b.*?</details>\s*", re.DOTALL)
LEFT_OUT = (
    "*The answer is not in this copy. Nothing else is left out: the cell above tells whether yours is right, "
    "and `yoda-nb notebooks DIR` copies the lessons with their answers.*"
)


def copy_lessons(out: Path, *, student: bool = False, force: bool = False, folder: Path = NOTEBOOKS) -> list[Path]:
    """Copy the notebooks of a folder to ``out``, for students without the answers; returns the files.

    Each is written whole or not at all. InputError, before any is written, where one is there and
    differs, unless ``force`` is given.
    """
    sources = sorted(folder.glob("*.ipynb"))
    if not sources:
        raise InputError(f"{folder} holds no notebook: install yoda-nb again.")
    copies = {out / path.name: without_answers(path.read_bytes()) if student else path.read_bytes() for path in sources}
    other = [path.name for path, blob in copies.items() if path.exists() and path.read_bytes() != blob]
    if other and not force:
        raise InputError(f"{out} has {', '.join(other)} already, and they differ: choose another folder, or --force.")
    try:
        for path, blob in copies.items():
            write_atomic(path, blob)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}): choose another folder.") from error
    return list(copies)


def without_answers(notebook: bytes) -> bytes:
    """A notebook as bytes with each folded answer replaced by a sentence; exercises still mark themselves."""
    found = nbformat.reads(notebook.decode(), as_version=4)
    for cell in found.cells:
        if cell.cell_type == "markdown":
            cell.source = ANSWER.sub(f"\n\n{LEFT_OUT}\n\n", cell.source).strip()
    return (nbformat.writes(found).rstrip("\n") + "\n").encode()
