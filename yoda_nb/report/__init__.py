"""Notebooks -> one self-contained site: checked parameters, papermill, then plain HTML.

``run_report`` is what ``make report`` calls; the three steps are in ``parameters``,
``execution`` and ``pages``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from yoda_nb.bank import remove_strays, write_atomic
from yoda_nb.report.execution import Run, run_notebooks
from yoda_nb.report.pages import has_tag, notebook_title, outputs_html, page_cells, render_page
from yoda_nb.report.parameters import Parameter, read_parameters, resolve_parameters
from yoda_nb.report.provenance import commit, machine, versions
from yoda_nb.volumes import InputError

__all__ = [
    "Parameter",
    "ReportResult",
    "Run",
    "read_parameters",
    "resolve_parameters",
    "run_report",
]


@dataclass(frozen=True)
class ReportResult:
    """The site's first page and what became of each notebook."""

    index: Path
    runs: tuple[Run, ...]
    seconds: float  # of this call

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "failed")


def run_report(
    notebooks: Sequence[Path],
    out: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    profile: str = "quick",
    jobs: int = 1,
    progress: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> ReportResult:
    """Execute the notebooks and write ``out/index.html`` with a page for each.

    ``parameters`` go to every notebook that declares them. Unchanged notebooks are reused from
    ``out/notebooks``; a failing one is shown with its error and stops no other. Raises InputError
    before any kernel starts if a parameter is unknown or ill-typed, a notebook cannot be read, or
    ``out`` cannot be written or belongs to a run in progress.
    """
    started = time.monotonic()
    notebooks = [Path(path) for path in notebooks]
    if not notebooks:
        raise InputError("there is no notebook to run; name at least one .ipynb file.")
    if len({path.stem for path in notebooks} | {"index"}) <= len(notebooks):
        raise InputError("two notebooks have the same name, or one is called index; rename one.")
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give 1 or more.")
    values = resolve_parameters(notebooks, parameters or {}, profile=profile)
    with _locked(out):
        runs = run_notebooks(values, out / "notebooks", jobs=jobs, progress=progress)
        _write_site(runs, out, started)
    return ReportResult(out / "index.html", tuple(runs), time.monotonic() - started)


def _write_site(runs: Sequence[Run], out: Path, started: float) -> None:
    """All pages, the index last: when it is there, everything it links to is."""
    titles = {run.name: notebook_title(run.notebook, run.name) for run in runs}
    headlines = [
        {"run": run, "html": html}
        for run in runs
        for cell in run.notebook.cells
        if cell.cell_type == "code" and has_tag(cell, "headline") and (html := outputs_html(cell))
    ]
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
    page = render_page(
        "index.html.j2",
        **common,
        title="Regression is all you need for medical image translation",
        runs=runs,
        headlines=headlines,
        shared=_shared_parameters(runs),
        facts=_facts(runs, time.monotonic() - started),
        versions=versions(),
    )
    write_atomic(out / "index.html", page)


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


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """``out``, made if need be and held against a second run; cleared of what a killed one left."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            for folder in (out, out / "notebooks"):
                remove_strays(folder)
            yield
    except Timeout as error:
        raise InputError(
            f"{out}: another report is being written there; wait for it or choose another folder."
        ) from error
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{out}: the report cannot be written there ({error.strerror}); choose another folder."
        ) from error
    except OSError as error:
        raise InputError(
            f"{out}: writing the report failed ({error.strerror or error}); free some space or "
            "choose another folder."
        ) from error
