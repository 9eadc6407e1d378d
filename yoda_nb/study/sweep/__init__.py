"""Sweeps: subjects x systems x settings on all the machines there are, into one tidy table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from yoda_nb.errors import InputError
from yoda_nb.study.sweep.plan import Plan, Trial, crossed, make_plan, read_plan, trials
from yoda_nb.study.sweep.record import (
    DONE,
    FAILED,
    Entry,
    append,
    journal,
    read_journal,
    read_table,
    read_trials,
    table_of,
    write_plan,
    write_table,
)
from yoda_nb.study.sweep.trial import device_here, image_of, open_trial, run_trial
from yoda_nb.study.sweep.workers import QUEUES, Outcome, client_of, done_by

__all__ = [
    "FAILED",
    "QUEUES",
    "Plan",
    "Trial",
    "client_of",
    "crossed",
    "done_by",
    "image_of",
    "make_plan",
    "open_trial",
    "read_plan",
    "read_table",
    "read_trials",
    "sweep",
    "trials",
]
REFRESHED = 10.0  # seconds between writings of the table, or more where it takes long to write
SHARE = 0.05  # of the time, at most, that writing it takes


def sweep(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: str = "",
    queue: str = "",
    options: Mapping[str, Any] | None = None,
    trust_paths: bool = False,
    progress: bool = False,
) -> pd.DataFrame:
    """Do every trial of a plan that ``out`` does not hold yet; returns the table, which is ``out/table.parquet`` too.

    Where the workers are: ``workers.client_of``. What was done is not done again unless its files, its weights or the
    code have changed; what failed before is. A trial that fails twice is a row of state "failed" with its error.
    Raises InputError for a plan that cannot be done at all, and while another sweep writes into ``out``.
    """
    todo, out = trials(plan, trust_paths=trust_paths), Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out} ({error.strerror or error}): choose another.") from error
    with journal(out) as lines:
        write_plan(out, plan)
        entries = read_journal(out)
        left = [trial for trial in todo if (entry := entries.get(trial.key)) is None or entry.state != DONE]
        place = client_of(workers, scheduler=scheduler, queue=queue, options=options) if left else nullcontext()
        refresh = _now_and_then(lambda: write_table(out, table_of(todo, entries)))
        with place as client, tqdm(total=len(todo), initial=len(todo) - len(left), disable=not progress) as bar:
            failed = 0
            for outcome in done_by(_run, ((trial.key, trial) for trial in left), client):
                entries[outcome.key] = _entry(outcome)
                append(lines, entries[outcome.key])
                failed += bool(outcome.error)
                bar.set_postfix(failed=failed, refresh=False)
                bar.update()
                refresh()
        table = table_of(todo, entries)
        write_table(out, table)
    return table


def _run(trial: Trial, worker: Any) -> list[dict[str, Any]]:
    return run_trial(trial, device_here(worker))


def _entry(outcome: Outcome) -> Entry:
    state = FAILED if outcome.error else DONE
    return Entry(outcome.key, state, outcome.result or [], outcome.error, outcome.seconds, outcome.worker)


def _now_and_then(write: Callable[[], None]) -> Callable[[], None]:
    """Call ``write`` every ``REFRESHED`` seconds, or so rarely that it takes no more than ``SHARE`` of the time."""
    due = time.monotonic() + REFRESHED

    def called() -> None:
        nonlocal due
        if (begun := time.monotonic()) >= due:
            write()
            ended = time.monotonic()
            due = ended + max(REFRESHED, (ended - begun) / SHARE)

    return called
