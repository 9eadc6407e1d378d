"""Notebooks as a report reads them: lessons that are copied, and executed ones that are reused and shown."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import nbformat
from inputs import Case, Input
from mutate import as_json, mutated_json, mutated_tree

from yoda_nb.report import execution, provenance
from yoda_nb.report.lessons import copy_lessons
from yoda_nb.report.site import write_site
from yoda_nb.report.tasks import Task

FIGURE = {"name": "dot", "svg": "<svg></svg>", "png": "", "csv": "a,b\n1,2\n"}
MIME = "application/vnd.yoda-nb.figure+json"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _notebook(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    lines = "# One\n\n**A question?** With $x^2$ in it.\n\n## Part\n\n<details><summary>Answer</summary>42</details>"
    cells = [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": lines},
        {
            "cell_type": "code",
            "execution_count": 1,
            "id": "b",
            "metadata": {"tags": ["hide"]},
            "outputs": outputs,
            "source": "print(1)",
        },
    ]
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


LESSON = _notebook([])
OUTPUTS: list[dict[str, Any]] = [
    {"output_type": "stream", "name": "stdout", "text": "1\n"},
    {
        "output_type": "display_data",
        "metadata": {},
        "data": {MIME: FIGURE, "image/png": PIXEL, "text/plain": "dot", "text/html": "<b>dot</b>"},
    },
    {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": ["\x1b[31mno"]},
]


def bases() -> bytes:
    """The executed notebook with the record that lets it be used again."""
    document = _notebook(OUTPUTS)
    with TemporaryDirectory() as name:
        path = Path(name, "one.ipynb")
        path.write_bytes(as_json(LESSON))
        with _fixed():
            mark, content = provenance.fingerprint(path, {}), execution._content(nbformat.from_dict(document))
        document["metadata"]["yoda_nb"] = {"fingerprint": mark, "seconds": 1.5, "sha256": content}
    return as_json(document)


def _fixed():
    return patch.multiple(provenance, package_hash=lambda: "fixed", versions=lambda: {})


def good(bases: bytes) -> Input:
    return Input({"lessons/one.ipynb": as_json(LESSON), "report/notebooks/one.ipynb": bases})


def mutated(rng: Random, bases: bytes) -> Input:
    lesson, stored = as_json(LESSON), bases
    if rng.random() < 0.4:
        lesson = mutated_json(rng, LESSON, bases)
    elif rng.random() < 0.4:
        stored = mutated_json(rng, json.loads(bases), lesson)
    else:  # below what a look at the format can see
        document = json.loads(bases)
        place = rng.choice((document["metadata"]["yoda_nb"], document["cells"][1], document["cells"][0]))
        changed = mutated_tree(rng, place)
        if isinstance(changed, dict):
            place.clear()
            place.update(changed)
        stored = as_json(document)
    return Input({"lessons/one.ipynb": lesson, "report/notebooks/one.ipynb": stored})


def read(folder: Path, bases: bytes, same: bool) -> None:
    """Lessons are copied for students; a report takes what is stored, or runs it again, and shows it."""
    source, out = folder / "lessons" / "one.ipynb", folder / "report"
    (copy,) = copy_lessons(folder / "copies", student=True, folder=source.parent)
    assert "<summary>Answer" not in nbformat.read(copy, as_version=4).cells[0].get("source", "")
    task = Task("one", source, {})
    # the kernel's work: the notebook as it is when executed
    with _fixed(), patch.object(execution, "_execute", lambda _, output, *__: output.write_bytes(bases) and None):
        environment = {"JUPYTER_PATH": str(folder)}
        run = execution._run(task, out / "notebooks", environment, [], lambda *_, **__: None)
        with patch.multiple("yoda_nb.report.site", commit=lambda: "", machine=lambda: "", versions=lambda: {}):
            write_site([run], out, 0.0)
    assert run.status in ("done", "reused") and 0 <= run.seconds < float("inf")
    page = (out / "one.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype") and page.rstrip().endswith("</html>")
    assert {path.name for path in folder.iterdir()} <= {"lessons", "report", "copies", "one.ipynb"}


CASE = Case("notebooks", 5, bases, good, mutated, read)
