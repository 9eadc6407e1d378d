"""Where the work is done: processes of this machine, a Dask scheduler, or jobs of a queue.

``done_by`` gives items to workers a window at a time, so that neither the scheduler nor the client ever holds more
than a few, however many there are. One that fails is tried once more, elsewhere if there is elsewhere, unless its
input cannot be used, which another try does not change.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from yoda_nb.errors import InputError, printable

if TYPE_CHECKING:
    from distributed import Client

QUEUES = {"slurm": "SLURM", "pbs": "PBS", "sge": "SGE", "lsf": "LSF", "oar": "OAR", "htcondor": "HTCondor"}
SUBMITS = {"slurm": "sbatch", "pbs": "qsub", "sge": "qsub", "lsf": "bsub", "oar": "oarsub", "htcondor": "condor_submit"}
CONNECT = 60  # s, until a scheduler answers and has a worker
WINDOW = 4  # items a thread of the workers that are under way at once
TRIES = 2
LOST = "The connection to the workers was lost: start again, what is done is kept."
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
    final: bool = True  # another try would end the same


@contextmanager
def client_of(
    workers: int | None = None, *, scheduler: str = "", queue: str = "", options: Mapping[str, Any] | None = None
) -> Iterator[Client | None]:
    """A Dask client for ``workers`` workers, closed at the end; None for ``workers`` 0, which is this process.

    By default they are processes of this machine, as many as it has GPUs, else cores. ``scheduler`` is the address of
    one that runs; ``queue`` one of ``QUEUES``, whose jobs take ``options`` of dask-jobqueue (cores, memory, walltime,
    and what is in Dask's own configuration). Raises InputError where there are none.
    """
    if workers is not None and workers < 0:
        raise InputError(f"workers is {workers}: give 0 for only this process, or a number of workers.")
    if scheduler and queue:
        raise InputError("A scheduler and a queue were given: choose one.")
    if workers == 0 and not scheduler and not queue:
        yield None
        return
    import distributed

    with ExitStack() as open_:
        try:
            cluster = None if scheduler else _jobs(queue, workers, options or {}) if queue else _processes(workers)
            if cluster is not None:
                open_.callback(_close, cluster)
            client = distributed.Client(scheduler if cluster is None else cluster, timeout=CONNECT)
            open_.callback(_close, client)
            if scheduler:
                client.wait_for_workers(1, timeout=CONNECT)
        except InputError:
            raise
        except Exception as error:  # of many kinds, by sockets, processes, Dask and queues
            raise InputError(_not_started(scheduler, queue, error)) from error
        yield client


def _close(opened: Any) -> None:
    """Close a client or a cluster; what fails then costs no result."""
    try:
        opened.close()
    except Exception as error:
        warnings.warn(f"the workers did not end as they should ({_say(error)})", stacklevel=2)


def _not_started(scheduler: str, queue: str, error: Exception) -> str:
    """Why there are no workers, and what to do, in one sentence."""
    why = _say(error).rstrip(".") or type(error).__name__
    if scheduler:
        return (
            f"No workers at the scheduler {scheduler} ({why}): give the address of a scheduler that runs, such as "
            f"tcp://10.0.0.1:8786, with at least one 'dask worker ADDRESS'."
        )
    if queue:
        return f"The queue {queue} takes no jobs ({why}): start on a machine that can submit to it, or give --workers."
    return f"The worker processes could not start ({why}): use fewer --workers, or 0 to use only this process."


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    if not shutil.which(SUBMITS[queue]):
        raise InputError(f"The queue {queue} needs the command {SUBMITS[queue]}, which is not here: start where it is.")
    given = {"cores": 1, "memory": "8GB", "processes": 1} | dict(options)
    cluster = getattr(jobqueue, f"{QUEUES[queue]}Cluster")(**given)
    cluster.scale(jobs=count or 1)
    return cluster


def done_by(
    function: Callable[[Item, Any], Any], items: Iterable[tuple[str, Item]], client: Client | None
) -> Iterator[Outcome]:
    """Outcomes of ``function(item, name of the worker)``, as they come; ``items`` are (key, item), keys unique.

    An item whose function raises, or whose worker dies time and again, is tried once more and then given up; one whose
    function raises InputError is given up at once. Nothing that one item does stops the others. Raises InputError
    where the connection to the workers is lost.
    """
    if client is None:
        for key, item in items:
            yield next(o for k in range(TRIES) if (o := _attempt(key, function, item)).final or k == TRIES - 1)
        return
    from distributed import as_completed

    waiting, under_way = iter(items), dict[Any, tuple[str, Item, int]]()
    finished = as_completed()

    def give(key: str, item: Item, n: int) -> None:
        future = client.submit(_attempt, key, function, item, key=f"{key}-{time.monotonic_ns()}", pure=False)
        under_way[future] = key, item, n
        finished.add(future)

    def fill() -> None:
        room = WINDOW * max(1, _threads(client)) - len(under_way)
        for key, item in islice(waiting, max(0, room)):
            give(key, item, 1)

    fill()
    for future in finished:
        key, item, n = under_way.pop(future)
        outcome = _outcome(key, future)
        future.release()
        if not outcome.final and n < TRIES:
            give(key, item, n + 1)
        else:
            yield outcome
        fill()


def _threads(client: Client) -> int:
    try:
        return sum(client.nthreads().values())
    except (OSError, TimeoutError) as error:
        raise InputError(LOST) from error


def _outcome(key: str, future: Any) -> Outcome:
    if future.status in ("cancelled", "lost"):
        raise InputError(LOST)
    error = future.exception()
    if error is None:
        return future.result()
    if type(error).__name__ == "KilledWorker":
        return Outcome(key, error="Several workers died over it: it may need more memory than they have.", final=False)
    return Outcome(key, error=_say(error), final=False)


def _attempt(key: str, function: Callable[[Any, Any], Any], item: Any) -> Outcome:
    """Run the function here, in a worker or not, and say how it went."""
    name, begun = _worker(), time.monotonic()
    try:
        found = Outcome(key, function(item, name))
    except Exception as error:  # one bad item must not stop a night's work
        found = Outcome(key, error=_say(error), final=isinstance(error, InputError))
    return replace(found, seconds=round(time.monotonic() - begun, 3), worker=str(name))


def _worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker().name
    except ValueError:
        return HERE


def _say(error: BaseException) -> str:
    text = printable(str(error))
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}".rstrip(": ")
