"""The figures of a report as files: SVG, PNG and the plotted numbers, linked below each picture.

``plots.show_figure`` brings them along in the displayed object, so that they are kept in the
executed notebook and a figure and its files can never come from two runs.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import nbformat

from yoda_nb.figures.plots.base import FIGURE_MIME
from yoda_nb.report.execution import Run
from yoda_nb.store import write_atomic

FOLDER = "figures"
OURS = re.compile(r".+-\d\d-[\w-]+\.(svg|png|csv)")  # in a folder that may hold other files


def write_figures(runs: Sequence[Run], out: Path) -> list[Run]:
    """Write the files of all figures below ``out/figures``; the runs with links to them.

    Each file is whole at any time; those that no run made are left for ``remove_figures``.
    """
    linked = []
    for run in runs:
        notebook = deepcopy(run.notebook)
        for number, data in enumerate(_figures(notebook), 1):
            files = _files(f"{run.name}-{number:02}", data[FIGURE_MIME])
            for name, content in files.items():
                write_atomic(out / FOLDER / name, content)
            data["text/html"] = _with_links(data["text/html"], files)
        linked.append(replace(run, notebook=notebook))
    return linked


def remove_figures(runs: Sequence[Run], out: Path) -> None:
    """Remove the figure files that none of the runs made."""
    made = {
        name
        for run in runs
        for number, data in enumerate(_figures(run.notebook), 1)
        for name in _files(f"{run.name}-{number:02}", data[FIGURE_MIME])
    }
    for path in (out / FOLDER).glob("*.*"):
        if OURS.fullmatch(path.name) and path.name not in made:
            path.unlink()


def _figures(notebook: nbformat.NotebookNode) -> Iterator[dict[str, Any]]:
    """The data of every output that brings the files of a figure, in order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if FIGURE_MIME in output.get("data", {}):
                yield output.data


def _files(stem: str, figure: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> content."""
    stem = f"{stem}-{figure['name']}"
    files = {f"{stem}.svg": _bytes(figure["svg"]), f"{stem}.png": base64.b64decode(figure["png"])}
    return files | ({f"{stem}.csv": _bytes(figure["csv"])} if figure["csv"] else {})


def _with_links(html: str, files: Mapping[str, bytes]) -> str:
    """The figure with links to its files as its last line."""
    links = " · ".join(f'<a href="{FOLDER}/{escape(name)}">{Path(name).suffix[1:].upper()}</a>' for name in files)
    head, end, tail = html.rpartition("</figure>")
    return f'{head}<p class="note">This figure as {links}</p>{end}{tail}'


def _bytes(text: str) -> bytes:
    """Text as UTF-8; what UTF-8 cannot hold is escaped."""
    return text.encode(errors="backslashreplace")
