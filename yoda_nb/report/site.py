"""Finished runs -> the site: a page each, their figures as files, the claims, and a first page of findings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from yoda_nb.data.places import GLOSSARY
from yoda_nb.report.execution import Run
from yoda_nb.report.figures import remove_figures, write_figures
from yoda_nb.report.front import front_explorer, front_figure, question
from yoda_nb.report.ledger import by_paper, claims_json, gather_claims, legend, share, tally, warnings
from yoda_nb.report.memory import in_gib
from yoda_nb.report.pages import document_html, notebook_title, page_cells, render_page
from yoda_nb.report.plain import TITLE, by_answer
from yoda_nb.report.provenance import commit, machine, versions
from yoda_nb.report.story import sentences
from yoda_nb.store import write_atomic

PAGES = ("index.html", "claims.html", "claims.json", "reproduces.html", "made.html")  # beside those of notebooks


def write_site(runs: Sequence[Run], out: Path, started: float, peak: int | None = None) -> None:
    """All files, the index last: when it is there, everything it links to is. ``peak`` is the memory so far."""
    runs = write_figures(runs, out)
    titles = {run.name: notebook_title(run.notebook, run.name) for run in runs}
    found = gather_claims(runs)
    common = {"titles": titles, "pages": [run.name for run in runs], "has_claims": bool(found)}
    for position, run in enumerate(runs):
        cells, sections = page_cells(run.notebook)
        page = render_page(
            "notebook.html.j2",
            **common,
            here=run.name,
            run=run,
            title=titles[run.name],
            cells=cells,
            sections=sections,
            before=runs[position - 1].name if position else None,
            after=runs[position + 1].name if position + 1 < len(runs) else None,
        )
        write_atomic(out / f"{run.name}.html", page)
    write_atomic(out / "claims.json", claims_json(found))
    told = {
        "papers": by_paper(found),
        "tally": tally(found),
        "legend": legend(found),
        "share": share(found, runs),
        "warnings": warnings(found),
    }
    write_atomic(out / "claims.html", render_page("claims.html.j2", **common, **told, here="claims", title="Claims"))
    plain = render_page("plain.html.j2", **common, **told, answers=by_answer(found), here="reproduces", title=TITLE)
    write_atomic(out / "reproduces.html", plain)
    glossary = document_html(GLOSSARY.read_text(encoding="utf-8"))
    page = render_page("glossary.html.j2", **common, document=glossary, here="glossary", title="Glossary")
    write_atomic(out / "glossary.html", page)
    facts = _facts(runs, time.monotonic() - started, peak)
    page = render_page(
        "made.html.j2",
        **common,
        here="made",
        title="How this report was made",
        runs=runs,
        shared=_shared_parameters(runs),
        facts=facts,
        versions=versions(),
    )
    write_atomic(out / "made.html", page)
    groups = [list(group) for _, group in groupby(runs, key=lambda run: run.source)]
    page = render_page(
        "index.html.j2",
        **common,
        **told,
        here="index",
        title="Regression is all you need for medical image translation",
        runs=runs,
        groups=groups,
        questions={run.name: question(run.notebook) for run in runs},
        figure=front_figure(runs),
        sentences=sentences(found),
        explorer=front_explorer(runs),
        facts=facts,
    )
    write_atomic(out / "index.html", page)
    _remove_others(runs, out)


def _shared_parameters(runs: Sequence[Run]) -> dict[str, list[tuple[Any, list[str]]]]:
    """Each parameter's values and the notebooks that used each."""
    table: dict[str, dict[str, tuple[Any, list[str]]]] = {}
    for run in runs:
        for name, value in run.parameters.items():
            table.setdefault(name, {}).setdefault(repr(value), (value, []))[1].append(run.name)
    return {name: list(uses.values()) for name, uses in sorted(table.items())}


def _facts(runs: Sequence[Run], seconds: float, peak: int | None) -> dict[str, Any]:
    """When, on what, how long and with how much memory."""
    seeds = sorted({str(run.parameters["seed"]) for run in runs if "seed" in run.parameters})
    return {
        "seed": ", ".join(seeds) or "none declared",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": seconds,
        "compute": sum(run.seconds for run in runs),
        "peak": in_gib(peak),
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
