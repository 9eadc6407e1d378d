"""A function in a forked child with a process group of its own: ended at any moment, with all that it started.

The parent has imported what is slow, so a child begins at once. It must run no threads and have computed nothing.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = resource.RLIM_INFINITY


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit status, None where it was killed, what it wrote, and after how long (s)."""

    status: int | None
    said: str
    seconds: float


def run(work: Callable[[], None], log: Path, *, kill_after: float | None = None, limit: int = UNLIMITED) -> Ended:
    """Run ``work`` in a child to its end, or kill its group ``kill_after`` seconds after it began.

    ``limit`` is how many bytes a file may have: writing more fails as on a full disk.
    """
    begun = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _child(work, log, writer, limit)
    os.close(writer)
    os.read(reader, 1)  # it leads a group of its own now
    os.close(reader)
    status = _wait(pid, None if kill_after is None else time.monotonic() + kill_after)
    killed = status is None
    if killed:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    else:
        _end_group(pid)
    return Ended(status, log.read_text(errors="replace"), time.monotonic() - begun)


def _wait(pid: int, until: float | None) -> int | None:
    """The exit status (minus the signal that ended it), or None where it still runs at that time."""
    while True:
        found, status = os.waitpid(pid, 0 if until is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if until is not None and time.monotonic() >= until:
            return None
        time.sleep(0.002)


def _end_group(pid: int) -> None:
    """End what a finished child left running."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _child(work: Callable[[], None], log: Path, ready: int, limit: int) -> None:
    status = 70
    try:
        os.setsid()
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.write(ready, b"1")
        os.close(ready)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", buffering=1) for n in (1, 2))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, UNLIMITED))
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        traceback.print_exc()
    finally:
        os._exit(status)
