"""Notebooks -> one self-contained site: checked parameters, papermill, then plain HTML.

``run_report`` is what ``make report`` calls; the steps are in ``parameters``, ``tasks``,
``execution`` and ``site``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import InputError
from yoda_nb.images.outputs import check_outputs, same_file
from yoda_nb.report.execution import Run, run_notebooks, writing
from yoda_nb.report.figures import FOLDER
from yoda_nb.report.memory import PeakMemory
from yoda_nb.report.parameters import Parameter, read_parameters, resolve_parameters
from yoda_nb.report.provenance import named_files
from yoda_nb.report.site import PAGES, write_site
from yoda_nb.report.tasks import Task, plan
from yoda_nb.store import remove_strays
from yoda_nb.sweep.workers import cores

MOST_JOBS = 4  # by default: each kernel takes about a gigabyte

__all__ = ["Parameter", "ReportResult", "Run", "read_parameters", "resolve_parameters", "run_report"]


@dataclass(frozen=True)
class ReportResult:
    """The site's first page and what became of each notebook."""

    index: Path
    runs: tuple[Run, ...]
    seconds: float  # of this call
    peak_bytes: int | None = None  # memory at its highest, all processes together; None where it cannot be told

    @property
    def failed(self) -> tuple[Run, ...]:
        return tuple(run for run in self.runs if run.status == "failed")


def run_report(
    notebooks: Sequence[Path],
    out: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    profile: str = "quick",
    subjects: Sequence[str] = (),
    manifest: Path = MANIFEST,
    jobs: int | None = None,
    place: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> ReportResult:
    """Execute the notebooks and write ``out/index.html`` with a page for each.

    ``parameters`` go to every notebook that declares them; with ``subjects`` a notebook that
    declares ``subject`` gets a page for each. ``jobs`` notebooks run at a time and share the
    threads, by default as many as there are cores, at most four; with a ``place`` (arguments of
    ``study.sweep.client_of``) they run on a sweep's workers instead. Unchanged notebooks are reused
    from ``out/notebooks``; a failing one is shown with its error and stops no other. Raises
    InputError before any kernel starts if a parameter or subject is unknown or ill-typed, a
    notebook cannot be read, or ``out`` cannot be written, holds the notebooks or belongs to a run in progress.
    """
    started = time.monotonic()
    notebooks = [Path(path) for path in notebooks]
    if not notebooks:
        raise InputError("there is no notebook to run; name at least one .ipynb file.")
    if bad := [path for path in notebooks if not path.name.isprintable()]:
        raise InputError(f"{bad[0]}: the notebook's name holds invisible characters or is not UTF-8; rename it.")
    if len({path.stem for path in notebooks}) < len(notebooks):
        raise InputError("two notebooks have the same name; rename one or name it once.")
    if jobs is None:
        jobs = min(cores(), MOST_JOBS)
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give 1 or more.")
    elsewhere = bool(place and (place.get("scheduler") or place.get("queue")))
    values = resolve_parameters(notebooks, parameters or {}, profile=profile, elsewhere=elsewhere)
    tasks = plan(values, subjects, manifest=manifest)
    _check_apart(out, tasks)
    with _locked(out), PeakMemory() as memory:
        runs = run_notebooks(tasks, out / "notebooks", jobs=min(jobs, len(tasks)), place=place, progress=progress)
        with writing(out):
            write_site(runs, out, started, memory.peak)
    return ReportResult(out / "index.html", tuple(runs), time.monotonic() - started, memory.peak)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """``out``, made if need be and held against a second run; cleared of what a killed one left."""
    lock = FileLock(out / ".lock", timeout=0)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{out}: another report is being written there; wait for it or choose another folder."
            ) from error
    try:
        with writing(out):
            for folder in (out, out / "notebooks", out / FOLDER):
                remove_strays(folder)
        yield
    finally:
        lock.release()


def _check_apart(out: Path, tasks: Sequence[Task]) -> None:
    """InputError for executed notebooks that would lie over or beside those that are read, or pages over files."""
    for task in tasks:
        if same_file(out / "notebooks", task.source.parent):
            raise InputError(
                f"-o {out} would write executed notebooks into {task.source.parent}, whose notebooks are only read: "
                "choose another folder."
            )
    pages = {f"-o's {name}": out / name for name in (*(f"{task.name}.html" for task in tasks), *PAGES)}
    check_outputs(pages, {f"the file {path}": path for task in tasks for path in named_files(task.parameters)})
