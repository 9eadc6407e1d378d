"""Where the work is done: processes of this machine, a Dask scheduler, or jobs of a queue.

``done_by`` gives items to workers a window at a time, so that neither the scheduler nor the client ever holds more
than a few, however many there are; one that fails is tried once more, elsewhere if there is elsewhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from yoda_nb.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

QUEUES = {"slurm": "SLURM", "pbs": "PBS", "sge": "SGE", "lsf": "LSF", "oar": "OAR", "htcondor": "HTCondor"}
WINDOW = 4  # items a thread of the workers that are under way at once
TRIES = 2
HERE = "here"  # the name of no worker: this process

Item = TypeVar("Item")


@dataclass(frozen=True)
class Outcome:
    """What became of an item: its result, or one sentence on what was wrong."""

    key: str
    result: Any = None
    error: str = ""
    seconds: float = 0.0
    worker: str = ""


@contextmanager
def client_of(
    workers: int | None = None, *, scheduler: str = "", queue: str = "", options: Mapping[str, Any] | None = None
) -> Iterator[Client | None]:
    """A Dask client for ``workers`` workers, closed at the end; None for ``workers`` 0, which is this process.

    By default they are processes of this machine, as many as it has GPUs, else cores. ``scheduler`` is the address of
    one that runs; ``queue`` one of ``QUEUES``, whose jobs take ``options`` of dask-jobqueue (cores, memory, walltime,
    and what is in Dask's own configuration). Raises InputError where none can be had.
    """
    if workers is not None and workers < 0:
        raise InputError(f"workers is {workers}: give 0 for this process alone, or how many.")
    if scheduler and queue:
        raise InputError("A scheduler and a queue were given: choose one.")
    if workers == 0 and not scheduler and not queue:
        yield None
        return
    import distributed

    with ExitStack() as open_:
        try:
            if scheduler:
                client = open_.enter_context(distributed.Client(scheduler, timeout="20s"))
            else:
                cluster = _jobs(queue, workers, options or {}) if queue else _processes(workers)
                client = open_.enter_context(distributed.Client(open_.enter_context(cluster)))
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(f"No workers could be had{_at(scheduler or queue)}: {error}.") from error
        yield client


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _processes(count: int | None) -> Any:
    import dask
    import distributed

    n = count or torch.cuda.device_count() or cores()
    threads = str(max(1, cores() // n))
    spawned = {name: threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": spawned}):
        return distributed.LocalCluster(
            n_workers=n, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=logging.ERROR
        )


def _jobs(queue: str, count: int | None, options: Mapping[str, Any]) -> Any:
    if queue not in QUEUES:
        raise InputError(f"The queue {queue!r} is unknown: choose among {', '.join(QUEUES)}.")
    try:
        jobqueue = import_module("dask_jobqueue")  # an extra
    except ImportError:
        raise InputError("Queues need dask-jobqueue: pip install 'yoda-nb[cluster]'.") from None
    given = {"cores": 1, "memory": "8GB", "processes": 1} | dict(options)
    cluster = getattr(jobqueue, f"{QUEUES[queue]}Cluster")(**given)
    cluster.scale(jobs=count or 1)
    return cluster


def done_by(
    function: Callable[[Item, Any], Any], items: Iterable[tuple[str, Item]], client: Client | None
) -> Iterator[Outcome]:
    """Outcomes of ``function(item, name of the worker)``, as they come; ``items`` are (key, item), keys unique.

    An item whose function raises, or whose worker dies time and again, is tried once more and then given up:
    nothing that one item does stops the others.
    """
    if client is None:
        for key, item in items:
            yield next(o for k in range(TRIES) if not (o := _attempt(key, function, item)).error or k == TRIES - 1)
        return
    from distributed import as_completed

    waiting, under_way = iter(items), dict[Any, tuple[str, Item, int]]()
    finished = as_completed()

    def give(key: str, item: Item, n: int) -> None:
        future = client.submit(_attempt, key, function, item, key=f"{key}-{time.monotonic_ns()}", pure=False)
        under_way[future] = key, item, n
        finished.add(future)

    def fill() -> None:
        room = WINDOW * max(1, sum(client.nthreads().values())) - len(under_way)
        for key, item in islice(waiting, max(0, room)):
            give(key, item, 1)

    fill()
    for future in finished:
        key, item, n = under_way.pop(future)
        outcome = _outcome(key, future)
        future.release()
        if outcome.error and n < TRIES:
            give(key, item, n + 1)
        else:
            yield outcome
        fill()


def _outcome(key: str, future: Any) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if type(error).__name__ == "KilledWorker":
        return Outcome(key, error="Several workers died over it: it may need more memory than they have.")
    return Outcome(key, error=_say(error))


def _attempt(key: str, function: Callable[[Any, Any], Any], item: Any) -> Outcome:
    """Run the function here, in a worker or not, and say how it went."""
    name, begun = _worker(), time.monotonic()
    try:
        found = Outcome(key, function(item, name))
    except Exception as error:  # one bad item must not stop a night's work
        found = Outcome(key, error=_say(error))
    return replace(found, seconds=round(time.monotonic() - begun, 3), worker=str(name))


def _worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker().name
    except ValueError:
        return HERE


def _say(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".rstrip(": ")
