"""Processes that try inputs one after the other; one that hangs or dies is told of and replaced."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import guard
import torch
from trial import Result, Work, tried

MEMORY = 4 * 2**30  # bytes that reading may ask for
WAITED = 120.0  # seconds after which a process that only waits is ended


def worker(pipe: Connection, bases: dict[str, Any], folder: Path) -> None:
    """Try what comes through the pipe, with an end to memory and without progress bars."""
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        _try_all(pipe, bases, Path(tempfile.mkdtemp(dir=folder)))


def _try_all(pipe: Connection, bases: dict[str, Any], box: Path) -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    (box / "secret").mkdir()
    (box / "secret" / "secret.nii.gz").write_bytes(b"secret")
    while (work := pipe.recv()) is not None:
        _end_after(2 * guard.SECONDS)
        pipe.send(tried(work, bases, box))
        shutil.rmtree(box / "given", ignore_errors=True)


def _end_after(seconds: float) -> None:
    """Let the system end this process after so much work: for code that does not hear the alarm."""
    limit = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


class Worker:
    """A process, its pipe, and what it is at since when."""

    def __init__(self, bases: dict[str, Any], folder: Path):
        context = multiprocessing.get_context("fork")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=worker, args=(other, bases, folder), daemon=True)
        self.process.start()
        other.close()
        self.work: Work | None = None
        self.since = 0.0

    def give(self, work: Work) -> None:
        self.work, self.since = work, time.monotonic()
        self.pipe.send(work)

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def run(works: Iterable[Work], jobs: int, bases: dict[str, Any], deadline: float) -> Iterator[Result]:
    """The results of all works, as they come; a process that hangs or dies is a fault and replaced."""
    todo = iter(works)
    with tempfile.TemporaryDirectory(prefix="yoda-nb-fuzz-", ignore_cleanup_errors=True) as folder:
        workers = [Worker(bases, Path(folder)) for _ in range(jobs)]
        try:
            idle, busy = list(workers), list[Worker]()
            while True:
                while idle and time.monotonic() < deadline and (work := next(todo, None)) is not None:
                    busy.append(idle.pop())
                    busy[-1].give(work)
                if not busy:
                    return
                ready = wait([one.pipe for one in busy], timeout=1.0)
                for one in [w for w in busy if w.pipe in ready or time.monotonic() - w.since > WAITED]:
                    busy.remove(one)
                    result, alive = _answer(one, one.pipe in ready)
                    idle.append(one if alive else _replaced(one, workers, bases, Path(folder)))
                    yield result
        finally:
            for one in workers:
                one.end()


def _answer(one: Worker, ready: bool) -> tuple[Result, bool]:
    assert one.work is not None
    if not ready:
        return Result(one.work, "", "fault", f"Hang: not done after {WAITED:g} s"), False
    try:
        return one.pipe.recv(), True
    except EOFError:
        one.process.join()
        status = one.process.exitcode
        what = "Hang: deaf to its alarm" if status == -signal.SIGXCPU else f"Crash: the process ended with {status}"
        return Result(one.work, "", "fault", what), False


def _replaced(one: Worker, workers: list[Worker], bases: dict[str, Any], folder: Path) -> Worker:
    one.end()
    workers.remove(one)
    workers.append(Worker(bases, folder))
    return workers[-1]
