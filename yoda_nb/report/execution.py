"""Notebooks into executed notebooks: one process each, resumable, nothing half-written.

A notebook runs in a temporary folder and is moved into place when its last cell is done. Its
metadata then holds a fingerprint of all that determined it, and a run with the same fingerprint
is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nbformat

from yoda_nb.bank import write_atomic
from yoda_nb.report.parameters import read_notebook
from yoda_nb.report.provenance import fingerprint

KERNEL = "yoda-nb-report"
QUIET_SECONDS = 10.0  # a long notebook reports its cells no more often than this


@dataclass(frozen=True)
class Run:
    """What became of one notebook."""

    name: str  # the file name without suffix
    status: Literal["done", "reused", "failed"]
    seconds: float  # of execution, also where the result was reused
    parameters: Mapping[str, Any]
    notebook: nbformat.NotebookNode = field(repr=False)  # executed, up to the failure if any
    error: str | None = None  # "cell 7: ValueError: ..."


def run_notebooks(
    parameters: Mapping[Path, Mapping[str, Any]],
    folder: Path,
    *,
    jobs: int = 1,
    progress: Callable[[str], None] = print,
) -> list[Run]:
    """Execute each notebook with its parameters into ``folder``; a failure stops no other.

    Results come in the order of ``parameters``. On any interruption the workers are ended.
    """
    workers: list[subprocess.Popen] = []
    with _kernel_environment(folder, jobs) as environment:

        def execute(source: Path) -> Run:
            return _run(source, parameters[source], folder, environment, workers, progress)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                return list(pool.map(execute, parameters))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for worker in workers:
                    worker.terminate()
                raise


def _run(
    source: Path,
    parameters: Mapping[str, Any],
    folder: Path,
    environment: Mapping[str, str],
    workers: list[subprocess.Popen],
    progress: Callable[[str], None],
) -> Run:
    name, mark, stored = source.stem, fingerprint(source, parameters), folder / source.name
    if (record := _record(stored)).get("fingerprint") == mark:
        progress(f"{name}: unchanged, reused")
        return Run(name, "reused", record["seconds"], parameters, read_notebook(stored))

    progress(f"{name}: started")
    started = time.monotonic()
    output = Path(environment["JUPYTER_PATH"]) / source.name
    error = _execute(source, output, parameters, environment, workers, progress)
    seconds = round(time.monotonic() - started, 2)

    notebook = read_notebook(output if output.exists() else source)
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())
    ]
    if not error:  # without a record, a failed notebook runs again next time
        notebook.metadata["yoda_nb"] = {"fingerprint": mark, "seconds": seconds}
    write_atomic(stored, nbformat.writes(notebook).encode())
    if error:
        progress(f"{name}: FAILED at {error}")
        return Run(name, "failed", seconds, parameters, notebook, error)
    progress(f"{name}: done in {seconds:.0f} s")
    return Run(name, "done", seconds, parameters, notebook)


def _execute(
    source: Path,
    output: Path,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str],
    workers: list[subprocess.Popen],
    progress: Callable[[str], None],
) -> str | None:
    """Run the worker; None if all cells passed, else where and how it failed."""
    job = {
        "source": str(source.resolve()),
        "output": str(output),
        "parameters": dict(parameters),
        "kernel": KERNEL,
        "manager": _transport(output.parent / "run"),
    }
    # -P: the folder of worker.py must not shadow modules. The open stdin ends it with us.
    command = [sys.executable, "-P", str(Path(__file__).with_name("worker.py")), json.dumps(job)]
    pipe = subprocess.PIPE
    log_path = output.with_suffix(".log")
    with (
        open(log_path, "wb") as log,
        subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=log) as worker,
    ):
        workers.append(worker)
        total = len(read_notebook(source).cells)
        outcome = None
        started = told = time.monotonic()
        for line in worker.stdout:
            message = json.loads(line)
            if "bar" in message:
                progress(f"{source.stem}: {message['bar']}")
            elif "cell" not in message:
                outcome = message
            elif (now := time.monotonic()) - told >= QUIET_SECONDS:
                told = now
                cells = min(message["cell"], total)
                progress(f"{source.stem}: cell {cells} of {total}, {now - started:.0f} s")
    if outcome is None:
        tail = log_path.read_text(errors="replace").strip().splitlines()[-1:]
        return f"start: the worker ended early ({''.join(tail) or worker.returncode})"
    if outcome["error"] is None:
        return None
    return f"{_where(output, outcome['failed_cell'])}: {outcome['error']}"


def _transport(folder: Path) -> dict[str, str]:
    """How a kernel is reached: by its own sockets in a private folder, as ports can collide.

    Without a name of its own, every kernel would listen at ``kernel-ipc`` in the working folder.
    """
    if os.name == "nt":
        return {}
    return {"transport": "ipc", "ip": str(folder / uuid.uuid4().hex[:8])}


def _where(output: Path, failed: int | None) -> str:
    """The failing cell, counted from 1 in the notebook as its author sees it."""
    if failed is None:
        done = read_notebook(output).cells if output.exists() else []
        started = [i for i, cell in enumerate(done) if cell.get("execution_count")]
        return f"cell {max(started) + 1}" if started else "the first cell"
    cells = [
        cell
        for cell in read_notebook(output).cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())
    ]
    injected = sum("injected-parameters" in c.metadata.get("tags", ()) for c in cells[:failed])
    return f"cell {failed + 1 - injected}"


def _record(stored: Path) -> Mapping[str, Any]:
    try:
        return json.loads(stored.read_bytes())["metadata"]["yoda_nb"]
    except (OSError, ValueError, KeyError, TypeError):  # absent, or not a whole notebook of ours
        return {}


@contextmanager
def _kernel_environment(folder: Path, jobs: int) -> Iterator[dict[str, str]]:
    """The environment of the workers: our own kernel, quiet, with a fair share of the threads.

    A kernelspec for this very interpreter is written for the run, so that none needs to be
    installed and none installed elsewhere can take its place.
    """
    scratch = _scratch(folder)
    try:
        spec = scratch / "kernels" / KERNEL
        spec.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(
            json.dumps({"argv": argv, "display_name": "yoda-nb", "language": "python"})
        )
        (scratch / "run").mkdir()
        environment = {
            **os.environ,
            "JUPYTER_PATH": str(scratch),
            "JUPYTER_RUNTIME_DIR": str(scratch / "run"),
            "IPYTHONDIR": str(scratch / "ipython"),  # no user's start-up files, no history
            "YODA_NB_REPORT": "1",  # explorers show their static twin
            "TQDM_DISABLE": "1",  # bars are noise on a page; study.progress_bar has one that we pass on
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        if jobs > 1:
            share = str(max(1, (os.cpu_count() or 1) // jobs))
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                environment.setdefault(name, share)
        yield environment
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _scratch(folder: Path) -> Path:
    """A fresh private folder for a run into ``folder``, removing what a killed run left there.

    The name follows from ``folder`` (which its caller has locked), and is short: an IPC socket's
    path may have about 100 characters, more than macOS's own temporary folder leaves.
    """
    base = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
    user = os.getuid() if hasattr(os, "getuid") else 0
    mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:10]
    scratch = base / f"ynb-{user}-{mark}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    return scratch
