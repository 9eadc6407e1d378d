"""Training in several processes, and being asked to stop: SIGINT and SIGTERM, in any of them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


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
