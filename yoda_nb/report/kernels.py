"""Where the notebooks of a report run: this interpreter, in a scratch folder of the run's own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yoda_nb.errors import InputError
from yoda_nb.report.provenance import commit
from yoda_nb.sweep.workers import cores

KERNEL = "yoda-nb-report"


@contextmanager
def kernel_environment(folder: Path, jobs: int) -> Iterator[dict[str, str]]:
    """The environment of the workers: our own kernel, quiet, with a fair share of the threads.

    A kernelspec for this very interpreter is written for the run, so that none needs to be
    installed and none installed elsewhere can take its place.
    """
    scratch = _scratch(folder)
    try:
        spec = scratch / "kernels" / KERNEL
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "yoda-nb", "language": "python"}))
        environment = {
            **os.environ,
            "JUPYTER_PATH": str(scratch),
            "JUPYTER_RUNTIME_DIR": str(scratch / "run"),
            "IPYTHONDIR": str(scratch / "ipython"),  # no user's start-up files, no history
            "YODA_NB_REPORT": "1",  # explorers show their static twin, figures bring their files
            "YODA_NB_STAMP": _stamp(),  # what the files of a figure say they were made by
            "TQDM_DISABLE": "1",  # bars are noise on a page; study.progress_bar has one that we pass on
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        if jobs > 1:
            share = str(max(1, cores() // jobs))
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
                environment.setdefault(name, share)
        yield environment
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def transport(folder: Path) -> dict[str, str]:
    """How a kernel is reached: by its own sockets in a private folder, as ports can collide.

    Without a name of its own, every kernel would listen at ``kernel-ipc`` in the working folder.
    """
    if os.name == "nt":
        return {}
    return {"transport": "ipc", "ip": str(folder / uuid.uuid4().hex[:8])}


def _stamp() -> str:
    made_by = f"yoda-nb {importlib.metadata.version('yoda-nb')}"
    return f"{made_by}, commit {found}" if (found := commit()) else made_by


def _scratch(folder: Path) -> Path:
    """A fresh private folder for a run into ``folder``, removing what a killed run left there.

    The name follows from ``folder`` (which its caller has locked), and is short: an IPC socket's
    path may have about 100 characters, more than macOS's own temporary folder leaves.
    """
    base = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
    user = os.getuid() if hasattr(os, "getuid") else 0
    mark = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:10]
    scratch = base / f"ynb-{user}-{mark}"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for part in (scratch, scratch / "run", scratch / "kernels", scratch / "kernels" / KERNEL):
            part.mkdir(mode=0o700)
    except OSError as error:
        why = error.strerror or error
        raise InputError(
            f"{scratch}: notebooks need a temporary folder there ({why}); free some space in {base}."
        ) from error
    return scratch
