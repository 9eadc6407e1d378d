"""The lessons as files of one's own, with or without the answers of their exercises."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from yoda_nb.data.places import GLOSSARY, NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.images.outputs import same_file
from yoda_nb.report.parameters import parse_notebook
from yoda_nb.store import write_atomic
from yoda_nb.study.exercises import MARK

ANSWER = re.compile(r"\s*<details\b.*?</details>\s*", re.DOTALL)
LEFT_OUT = (
    "*This copy contains neither the answer nor its computation. The cell above marks your answer. "
    "`yoda-nb notebooks DIR` copies the lessons with their answers.*"
)


def notebooks_in(folder: Path) -> list[Path]:
    """The notebooks of a folder, by name; hidden files and what lies below, such as Jupyter's checkpoints, are none."""
    return sorted(path for path in folder.glob("*.ipynb") if path.is_file() and not path.name.startswith("."))


def copy_lessons(out: Path, *, student: bool = False, force: bool = False, folder: Path = NOTEBOOKS) -> list[Path]:
    """Copy the notebooks of a folder to ``out``, for students without the answers; returns the files.

    The glossary that lessons link to goes with them, where the folder has it.

    Each is written whole or not at all. InputError, before any is written, where one is there and
    differs, unless ``force`` is given, and where ``out`` is the folder that they are copied from.
    """
    sources = notebooks_in(folder)
    if same_file(out, folder):
        raise InputError(f"{out} is the folder of the lessons themselves, which are only read: choose another folder.")
    if not sources:
        raise InputError(f"{folder} contains no notebook: install yoda-nb again.")
    copies = {
        out / path.name: without_answers(path.read_bytes(), path) if student else path.read_bytes() for path in sources
    }
    glossary = folder / GLOSSARY.name
    beside = {out / glossary.name: glossary.read_bytes()} if glossary.is_file() else {}
    other = [path.name for path, blob in (copies | beside).items() if path.exists() and path.read_bytes() != blob]
    if other and not force:
        raise InputError(f"{out} has {', '.join(other)} already, and they differ: choose another folder, or --force.")
    try:
        for path, blob in (copies | beside).items():
            write_atomic(path, blob)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error}): choose another folder.") from error
    return list(copies)


def without_answers(notebook: bytes, path: Path = Path("the notebook")) -> bytes:
    """A notebook as bytes whose answers are not in it, folded or computed; exercises still mark themselves.

    The cell that marks one keeps its first line and calls ``study.check_exercise``. InputError, naming ``path``,
    for what is no notebook.
    """
    found = parse_notebook(notebook, path)
    for cell in found.cells:
        if cell.cell_type == "markdown":
            cell.source = ANSWER.sub(f"\n\n{LEFT_OUT}\n\n", cell.source).strip()
        elif cell.cell_type == "code" and MARK in cell.source:
            question = cell.source.partition("\n")[0]
            cell.source = f'{question}\nstudy.check_exercise("{path.stem}", answer, globals())'
    return (nbformat.writes(found).rstrip("\n") + "\n").encode()
