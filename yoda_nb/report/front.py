"""What the first page takes from the executed notebooks: one figure, one explorer, a sentence of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import nbformat
from markupsafe import Markup

from yoda_nb.figures.explorers.page import MIME as EXPLORER
from yoda_nb.report.execution import Run
from yoda_nb.report.pages import has_tag, inline_html, output_html

FIGURE_OF = "02_sampling_methods"  # the notebook whose first headline the page opens with
EXPLORER_OF = "03_perception_distortion"  # the notebook whose first explorer is on the page
QUESTION = re.compile(r"\*\*(.+?)\*\*", re.DOTALL)


def front_figure(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The first picture under the tag ``headline``, of the notebook that has the paper's figure if it is here."""
    for run in sorted(runs, key=lambda run: run.source != FIGURE_OF):
        for cell in run.notebook.cells:
            if cell.cell_type == "code" and has_tag(cell, "headline"):
                for output in cell.outputs:
                    if "<img" in (html := output_html(output) or ""):
                        return {"run": run, "html": html}
    return None


def front_explorer(runs: Sequence[Run]) -> dict[str, Any] | None:
    """The plane of perception and distortion, if its notebook is in the report."""
    for run in runs:
        if run.source == EXPLORER_OF:
            for cell in run.notebook.cells:
                for output in cell.get("outputs", ()):
                    if EXPLORER in output.get("data", {}):
                        return {"run": run, "html": output_html(output)}
    return None


def question(notebook: nbformat.NotebookNode) -> Markup:
    """What a notebook asks: the first bold text of its first cell; "" without any."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not (found := QUESTION.search(first.source)):
        return Markup()
    return inline_html(" ".join(found[1].split()))
