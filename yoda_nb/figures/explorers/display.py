"""Explorers on the screen of a notebook: one live widget a call, none left behind."""

from __future__ import annotations

import os
from typing import Any

from yoda_nb.figures.explorers.core import Content
from yoda_nb.figures.explorers.page import MIME, bundle, twin

# cell -> (its execution, the widgets it shows): a cell that runs again closes what it had shown
_shown: dict[str, tuple[str, list]] = {}


def front_of(explorer: Content):
    """A new live widget of an explorer."""
    from yoda_nb.figures.explorers.widget import Front  # anywidget: only where a widget is shown

    return Front(spec=dict(explorer.spec), frames=dict(explorer.frames), state=dict(explorer.spec["initial"]))


def show(explorer: Content, *, alt: str, caption: str = "") -> None:
    """Display the live widget or, under YODA_NB_REPORT, what the report makes a live part of."""
    from IPython.display import display

    data: dict[str, Any] = {"text/html": twin(explorer, alt, caption), "text/plain": alt}
    if os.environ.get("YODA_NB_REPORT"):
        data[MIME] = bundle(explorer, caption=caption)
    else:
        front = front_of(explorer)
        front.spec = {**front.spec, "caption": caption}
        whole = explorer.around(front) if explorer.around else front
        _remember(whole)
        data["application/vnd.jupyter.widget-view+json"] = whole.get_view_spec()
    display(data, raw=True)


def _remember(widget) -> None:
    """Close what this cell showed when it ran before; a front end that names no cells keeps all."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    parent = kernel.get_parent() if kernel else {}
    cell, run = parent.get("metadata", {}).get("cellId"), parent.get("header", {}).get("msg_id")
    if cell is None:
        return
    before, old = _shown.get(cell, (run, []))
    if before != run:
        for gone in old:
            close(gone)
        old = []
    _shown[cell] = (run, [*old, widget])


def close(widget) -> None:
    """Close a widget and those inside it."""
    for child in getattr(widget, "children", ()):
        close(child)
    widget.close()
