"""Notebooks into executed notebooks: one process each, resumable, nothing half-written.

A notebook runs in a temporary folder and is moved into place when its last cell is done. Its
metadata then holds a fingerprint of all that determined it, and a run with the same fingerprint
is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import nbformat

from yoda_nb.errors import InputError
from yoda_nb.report.kernels import KERNEL, kernel_environment, transport
from yoda_nb.report.parameters import read_notebook
from yoda_nb.report.provenance import fingerprint
from yoda_nb.report.tasks import Task
from yoda_nb.store import write_atomic
from yoda_nb.sweep.workers import client_of, done_by

if TYPE_CHECKING:
    from distributed import Client

QUIET_SECONDS = 10.0  # a long notebook reports its cells no more often than this
TITLE = re.compile(r"^# +.+?(?=[ #]*$)", re.MULTILINE)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell an error of writing into a report's folder in one sentence, as InputError."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{folder}: the report cannot be written there ({error.strerror}); choose another folder."
        ) from error
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"{folder}: writing the report failed ({why}); free some space or choose another folder."
        ) from error


@dataclass(frozen=True)
class Run:
    """What became of one notebook."""

    name: str  # of its page and of the executed notebook, without suffix
    source: str  # the notebook's name; several runs share it where each is for one subject
    subject: str  # "" where the notebook is executed once
    status: Literal["done", "reused", "failed"]
    seconds: float  # of execution, also where the result was reused
    parameters: Mapping[str, Any]
    notebook: nbformat.NotebookNode = field(repr=False)  # executed, up to the failure if any
    error: str | None = None  # "cell 7: ValueError: ..."


def run_notebooks(
    tasks: Sequence[Task],
    folder: Path,
    *,
    jobs: int = 1,
    place: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = print,
) -> list[Run]:
    """Execute each task into ``folder``, the longest first; a failure stops no other.

    ``jobs`` at a time on this machine, or by the workers of a ``place`` (arguments of ``client_of``), which see the
    same folders. Results come in the order of ``tasks``. On any interruption the processes are ended.
    """
    tell = _narrator(progress, tasks)
    with client_of(**place) if place else nullcontext() as client:
        ordered = _longest_first(tasks, folder)
        runs = _run_by(client, ordered, folder, tell) if client else _run_here(ordered, folder, jobs, tell)
    return [runs[task.name] for task in tasks]


def _run_here(tasks: Sequence[Task], folder: Path, jobs: int, tell: Callable[..., None]) -> dict[str, Run]:
    workers: list[subprocess.Popen] = []
    with kernel_environment(folder, jobs) as environment:

        def execute(task: Task) -> tuple[str, Run]:
            return task.name, _run(task, folder, environment, workers, partial(tell, task.name))

        with ThreadPoolExecutor(jobs) as pool:
            try:
                return dict(pool.map(execute, tasks))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.terminate()
                raise


def _run_by(client: Client, tasks: Sequence[Task], folder: Path, tell: Callable[..., None]) -> dict[str, Run]:
    given = {task.name: replace(task, source=task.source.resolve()) for task in tasks}
    runs = dict[str, Run]()
    for outcome in done_by(partial(_run_alone, folder=folder.resolve()), given.items(), client):
        task, run = given[outcome.key], outcome.result
        if run is None:  # its worker died, twice
            empty = read_notebook(task.source)
            run = Run(task.name, task.source.stem, task.subject, "failed", 0.0, task.parameters, empty, outcome.error)
        runs[task.name] = run
        tell(task.name, f"{_ended(run)}, by {outcome.worker}", last=True)
    return runs


def _run_alone(task: Task, worker: Any, *, folder: Path) -> Run:
    """In a worker: with a scratch folder of this task's own, as several may run on one machine."""
    with kernel_environment(folder / task.name, 1) as environment:
        return _run(task, folder, environment, [], lambda *_, **__: None)


def _ended(run: Run) -> str:
    """What became of a notebook, in words."""
    if run.status == "failed":
        return f"FAILED at {run.error}"
    return "unchanged, reused" if run.status == "reused" else f"done in {run.seconds:.0f} s"


def _longest_first(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """In the order of what they took last time, so that none is left to run alone at the end.

    Those that never ran come first, as they are given: they may take any time.
    """
    return sorted(tasks, key=lambda task: -_record(folder / f"{task.name}.ipynb").get("seconds", math.inf))


def _narrator(progress: Callable[[str], None], tasks: Sequence[Task]) -> Callable[..., None]:
    """``tell(name, event, last=False)``: one whole line an event, for a terminal and a log alike.

    It begins with the time since the start and how many notebooks are not finished.
    """
    started, lock, left = time.monotonic(), Lock(), {task.name for task in tasks}

    def tell(name: str, event: str, *, last: bool = False) -> None:
        with lock:  # notebooks run side by side
            left.difference_update({name} if last else ())
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            progress(f"[{minutes}:{seconds:02} · {len(left)} left] {name}: {event}")

    return tell


def _run(
    task: Task, folder: Path, environment: Mapping[str, str], workers: list[subprocess.Popen], tell: Callable[..., None]
) -> Run:
    mark, stored = fingerprint(task.source, task.parameters), folder / f"{task.name}.ipynb"
    run = partial(Run, task.name, task.source.stem, task.subject)
    if (kept := _kept(stored, mark)) is not None:
        ended = run("reused", _record(stored)["seconds"], task.parameters, kept)
        tell(_ended(ended), last=True)
        return ended

    tell("started")
    started = time.monotonic()
    output = Path(environment["JUPYTER_PATH"]) / stored.name
    error = _execute(task, output, environment, workers, tell)
    seconds = round(time.monotonic() - started, 2)

    notebook = _executed(output) or read_notebook(task.source)
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())
    ]
    if task.subject:
        _entitle(notebook, task.subject)
    if not error:  # without a record, a failed notebook runs again next time
        notebook.metadata["yoda_nb"] = {"fingerprint": mark, "seconds": seconds, "sha256": _content(notebook)}
    with writing(folder.parent):
        write_atomic(stored, nbformat.writes(notebook).encode(errors="backslashreplace"))
    ended = run("failed" if error else "done", seconds, task.parameters, notebook, error)
    tell(_ended(ended), last=True)
    return ended


def _entitle(notebook: nbformat.NotebookNode, subject: str) -> None:
    """Name the subject in the first level-one heading, in place."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := TITLE.search(cell.source)):
            cell.source = f"{cell.source[: found.end()]} · {subject}{cell.source[found.end() :]}"
            return


def _execute(
    task: Task, output: Path, environment: Mapping[str, str], workers: list[subprocess.Popen], tell: Callable[..., None]
) -> str | None:
    """Run the worker; None if all cells passed, else where and how it failed."""
    source = output.with_suffix(".source.ipynb")  # papermill notes its path, which the user's need not be UTF-8
    source.write_bytes(task.source.read_bytes())
    job = {
        "source": str(source),
        "output": str(output),
        "parameters": dict(task.parameters),
        "kernel": KERNEL,
        "manager": transport(output.parent / "run"),
    }
    # -P: the folder of worker.py must not shadow modules. The open stdin ends it with us.
    command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), json.dumps(job)]
    pipe = subprocess.PIPE
    log_path = output.with_suffix(".log")
    try:
        with open(log_path, "wb") as log:
            started_worker = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=log)
    except OSError as error:
        return f"start: the notebook's process cannot start ({error.strerror or error})"
    with started_worker as worker:
        workers.append(worker)
        total = len(read_notebook(task.source).cells)
        outcome = None
        started = told = time.monotonic()
        for line in worker.stdout or ():
            message = json.loads(line)
            if "bar" in message:
                tell(message["bar"])
            elif "cell" not in message:
                outcome = message
            elif (now := time.monotonic()) - told >= QUIET_SECONDS:
                told = now
                cells = min(message["cell"], total)
                tell(f"cell {cells} of {total}, {now - started:.0f} s")
    if outcome is None:
        tail = log_path.read_text(errors="replace").strip().splitlines()[-1:]
        return f"start: the worker ended early ({''.join(tail) or worker.returncode})"
    if outcome["error"] is None:
        return None
    return f"{_where(output, outcome['failed_cell'])}: {outcome['error']}"


def _where(output: Path, failed: int | None) -> str:
    """The failing cell, counted from 1 in the notebook as its author sees it."""
    done = _executed(output)
    cells = done.cells if done else []
    if failed is None or not cells:
        started = [i for i, cell in enumerate(cells) if cell.get("execution_count")]
        return f"cell {max(started) + 1}" if started else "the first cell"
    cells = [cell for cell in cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())]
    injected = sum("injected-parameters" in c.metadata.get("tags", ()) for c in cells[:failed])
    return f"cell {failed + 1 - injected}"


def _executed(output: Path) -> nbformat.NotebookNode | None:
    """The notebook as far as it was executed; None where nothing whole was written."""
    try:
        return read_notebook(output, strict=False)
    except InputError:
        return None


def _kept(stored: Path, mark: str) -> nbformat.NotebookNode | None:
    """The executed notebook if it is there, whole, and of this fingerprint."""
    record = _record(stored)
    if record.get("fingerprint") != mark:
        return None
    try:
        notebook = read_notebook(stored, strict=False)
    except InputError:
        return None
    return notebook if record.get("sha256") == _content(notebook) else None


def _content(notebook: nbformat.NotebookNode) -> str:
    """A hash of the cells: one that was changed since is not what was executed."""
    return hashlib.sha256(json.dumps(notebook.cells, sort_keys=True).encode()).hexdigest()


def _record(stored: Path) -> Mapping[str, Any]:
    """What an executed notebook says of its run; nothing where it is absent, or no whole notebook of ours."""
    try:
        record = json.loads(stored.read_bytes())["metadata"]["yoda_nb"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    known = isinstance(record, dict) and type(record.get("seconds")) in (int, float)
    return record if known and 0 <= record["seconds"] < math.inf else {}
