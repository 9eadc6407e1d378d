"""Sweeps: subjects x systems x settings on all the machines there are, into one tidy table."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from yoda_nb.data.manifest import Case
from yoda_nb.data.study import check_study_output
from yoda_nb.errors import InputError
from yoda_nb.images.outputs import check_outputs
from yoda_nb.nets.devices import device_here
from yoda_nb.sweep.plan import Plan, Trial, cases_of, check_place, crossed, kind_of, make_plan, read_plan, trials
from yoda_nb.sweep.record import (
    COLUMNS,
    DONE,
    FAILED,
    FILES,
    Entry,
    append,
    is_setting,
    journal,
    read_journal,
    read_table,
    read_trials,
    table_of,
    write_plan,
    write_table,
)
from yoda_nb.sweep.trial import image_of, open_trial, run_trial
from yoda_nb.sweep.workers import QUEUES, Outcome, client_of, done_by

__all__ = [
    "COLUMNS",
    "FAILED",
    "FILES",
    "QUEUES",
    "Plan",
    "Trial",
    "client_of",
    "crossed",
    "done_by",
    "image_of",
    "is_setting",
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

    Where the workers are: ``workers.client_of``. What was done is not done again unless its files, its weights, the
    code or the kind of device have changed; what failed before is. A trial that fails, twice unless its input cannot be
    used, is a row of state "failed" with its error. Raises InputError for a plan that cannot be done at all, for an
    ``out`` in the study that is read, and while another sweep writes into ``out``.
    """
    out = Path(out)
    check_place(plan.device, elsewhere=bool(scheduler or queue))
    cases = cases_of(plan, trust_paths)
    _check_out(out, plan, cases)
    todo = trials(plan, cases)
    wanted = "" if scheduler or queue else kind_of(plan.device)  # other machines choose by themselves
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out} ({error.strerror or error}): choose another.") from error
    with journal(out) as lines:
        write_plan(out, plan)
        entries = read_journal(out)
        left = [trial for trial in todo if not _answers(entries.get(trial.key), wanted)]
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


def _check_out(out: Path, plan: Plan, cases: Sequence[Case]) -> None:
    """InputError for results that would lie in the study that is read, or over its manifest."""
    check_study_output(out, cases)
    check_outputs({f"-o's {name}": out / name for name in FILES}, {"the study": plan.study or None})


def _answers(entry: Entry | None, wanted: str) -> bool:
    """Whether a trial is done, and on a device of the wanted kind; "" takes any."""
    return entry is not None and entry.state == DONE and (not wanted or entry.device in ("", wanted))


def _run(trial: Trial, worker: Any) -> tuple[str, list[dict[str, Any]]]:
    device = device_here(worker)
    return kind_of(trial.device or device or "cpu"), run_trial(trial, device)


def _entry(outcome: Outcome) -> Entry:
    device, rows = outcome.result or ("", [])
    state = FAILED if outcome.error else DONE
    return Entry(outcome.key, state, rows, outcome.error, outcome.seconds, outcome.worker, device)


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
