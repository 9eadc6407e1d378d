"""Finished runs -> the site: a page each, their figures as files, and a first page of findings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from yoda_nb.report.execution import Run
from yoda_nb.report.figures import remove_figures, write_figures
from yoda_nb.report.ledger import claims_json, claims_table, gather_claims
from yoda_nb.report.pages import has_tag, notebook_title, outputs_html, page_cells, render_page
from yoda_nb.report.provenance import commit, machine, versions
from yoda_nb.study.bank import write_atomic


def write_site(runs: Sequence[Run], out: Path, started: float) -> None:
    """All files, the index last: when it is there, everything it links to is."""
    runs = write_figures(runs, out)
    titles = {run.name: notebook_title(run.notebook, run.name) for run in runs}
    common = {"titles": titles, "pages": [run.name for run in runs]}
    for position, run in enumerate(runs):
        cells, sections = page_cells(run.notebook)
        page = render_page(
            "notebook.html.j2",
            **common,
            run=run,
            title=titles[run.name],
            cells=cells,
            sections=sections,
            before=runs[position - 1].name if position else None,
            after=runs[position + 1].name if position + 1 < len(runs) else None,
        )
        write_atomic(out / f"{run.name}.html", page)
    groups = [list(group) for _, group in groupby(runs, key=lambda run: run.source)]
    found = gather_claims(runs)
    write_atomic(out / "claims.json", claims_json(found))
    page = render_page(
        "index.html.j2",
        **common,
        title="Regression is all you need for medical image translation",
        runs=runs,
        groups=groups,
        headlines=_headlines([group[0] for group in groups]),
        claims=claims_table(found) if found else None,
        shared=_shared_parameters(runs),
        facts=_facts(runs, time.monotonic() - started),
        versions=versions(),
    )
    write_atomic(out / "index.html", page)
    _remove_others(runs, out)


def _headlines(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What the first page shows of each notebook; of several subjects the first one's."""
    return [
        {"run": run, "html": html}
        for run in runs
        for cell in run.notebook.cells
        if cell.cell_type == "code" and has_tag(cell, "headline") and (html := outputs_html(cell))
    ]


def _shared_parameters(runs: Sequence[Run]) -> dict[str, list[tuple[Any, list[str]]]]:
    """Each parameter's values and the notebooks that used each."""
    table: dict[str, dict[str, tuple[Any, list[str]]]] = {}
    for run in runs:
        for name, value in run.parameters.items():
            table.setdefault(name, {}).setdefault(repr(value), (value, []))[1].append(run.name)
    return {name: list(uses.values()) for name, uses in sorted(table.items())}


def _facts(runs: Sequence[Run], seconds: float) -> dict[str, Any]:
    """When, on what and how long: the figures of the index's last section."""
    seeds = sorted({str(run.parameters["seed"]) for run in runs if "seed" in run.parameters})
    return {
        "seed": ", ".join(seeds) or "none declared",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": seconds,
        "compute": sum(run.seconds for run in runs),
        "machine": machine(),
        "commit": commit() or "not a git checkout",
    }


def _remove_others(runs: Sequence[Run], out: Path) -> None:
    """Remove pages and figures of an earlier report into ``out`` that this one does not have.

    Executed notebooks stay: they are what a later report reuses.
    """
    remove_figures(runs, out)
    for notebook in (out / "notebooks").glob("*.ipynb"):
        if notebook.stem not in {run.name for run in runs}:
            (out / f"{notebook.stem}.html").unlink(missing_ok=True)
