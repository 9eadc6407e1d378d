"""Work in several processes, training in those of torchrun, and being asked to stop: SIGINT and SIGTERM, in any."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch
import torch.distributed as dist

from yoda_nb.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = 60.0  # s, for a worker that is told to end: a training writes its checkpoint first


def workers_context() -> SpawnContext:
    """How worker processes start, everywhere: as new ones.

    A fork of a process whose threads have worked (OpenMP's, in torch) inherits their locks without them, and may wait
    for ever.
    """
    return get_context("spawn")


def in_workers(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    silent: float | None = None,
    option: str = "--workers",
) -> Iterator[Result]:
    """``map(function, items)``, in order, by ``workers`` new processes, each with its share of this one's threads.

    Function, items and results are pickled: nothing of this process is shared.  With ``workers`` 1 all is done here.
    ``option`` is what people call the number of workers.  Raises what the function raises, and InputError for fewer
    than one worker, for workers that cannot start or die, and where none gives a result for ``silent`` seconds.
    """
    items = list(items)
    if workers < 1:
        raise InputError(f"{option} {workers} is not a number of processes: give 1 or more.")
    workers = min(workers, len(items))
    if workers < 2:
        yield from map(function, items)
        return
    others, mine = set(active_children()), set[BaseProcess]()
    died = f"A worker process could not start or died, probably out of memory: lower {option} (now {workers})."
    pool = ProcessPoolExecutor(workers, workers_context(), _begin, (max(1, torch.get_num_threads() // workers),))
    try:
        try:
            results = [pool.submit(_pickled, function, item) for item in items]
        except (OSError, AssertionError) as error:  # the latter where this process may have none
            raise InputError(died) from error
        mine = set(active_children()) - others
        for result in results:
            _await(result, results, silent, option)
            yield pickle.loads(result.result())
        pool.shutdown()
    except BrokenProcessPool as error:
        raise InputError(died) from error
    finally:  # after a failure or Ctrl-C nobody waits for what is still in hand
        pool.shutdown(wait=False, cancel_futures=True)
        _end(mine)


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)


def _pickled(function: Callable[[Item], object], item: Item) -> bytes:
    """A result as bytes of its own: torch would send tensors through shared memory, which containers have little of."""
    return pickle.dumps(function(item))


def _await(result: Future, results: list[Future], silent: float | None, option: str) -> None:
    """Wait for a result; InputError where none of all comes for ``silent`` seconds."""
    while not result.done():
        open_ = [r for r in results if not r.done()]
        if not wait(open_, timeout=silent, return_when=FIRST_COMPLETED).done:
            raise InputError(f"No worker process gave a result for {silent:g} s: set {option} to 1 to work without.")


def _end(processes: Iterable[BaseProcess]) -> None:
    """End processes that still run: asked until they do, for a training writes its checkpoint first; then made to."""
    until, running = time.monotonic() + PATIENCE, [process for process in processes if process.is_alive()]
    while running and time.monotonic() < until:
        for process in running:
            process.terminate()
        for process in running:
            process.join(0.5)
        running = [process for process in running if process.is_alive()]
    for process in running:
        process.kill()


@contextmanager
def process_group() -> Iterator[int]:
    """Join the processes torchrun started, if it did; yields this process's rank."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield dist.get_rank() if dist.is_initialized() else 0
        return
    # gloo beside nccl: asking whether to stop must not wait for the GPU
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in the yielded list in place of dying of them (main thread only)."""
    requests: list[int] = []

    def note(number: int, _frame) -> None:
        if requests and number == signal.SIGINT:
            raise KeyboardInterrupt("Training was stopped at once: the last checkpoint is kept.")
        requests.append(number)

    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield requests
        return
    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def any_process(stop: bool) -> bool:
    """Whether any process was asked to stop: all leave after the same step, or some would wait."""
    if not dist.is_initialized():
        return stop
    flag = torch.tensor(int(stop))
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)
