"""What a sweep has done so far: a journal of trials, and the table that is made from it.

``journal.jsonl`` gets a line for every trial that ends, so nothing that was done is lost with a killed process; a
line that was cut is left out and its trial done again. ``table.parquet`` is written anew from it every few seconds,
whole or not at all, in the order of the plan and without times, so that the same plan gives the same table.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd
from filelock import FileLock, Timeout

from yoda_nb.errors import InputError, printable
from yoda_nb.images.nifti import atomic
from yoda_nb.sweep.plan import Plan, Trial, make_plan
from yoda_nb.sweep.plan import trials as trials_of
from yoda_nb.systems.table import SYSTEMS, settings_of

JOURNAL, TABLE, PLAN = "journal.jsonl", "table.parquet", "plan.json"
FILES = (JOURNAL, TABLE, PLAN)
DONE, FAILED = "done", "failed"
FIRST = ("trial", "dataset", "subject", "split", "system", "model", "seed")  # columns; then the settings
SCORES = ("ssim", "psnr", "mae", "mse", "data_range", "noise")  # of every image; others follow
COLUMNS = (*FIRST, "state", "error", "reference", *SCORES)  # of every table
SETTINGS = frozenset(name for row in SYSTEMS.values() for name in settings_of(row))


@dataclass(frozen=True)
class Entry:
    """A line of the journal: what became of a trial, how long it took (s) and where."""

    key: str
    state: str
    rows: list[dict[str, Any]]
    error: str = ""
    seconds: float = 0.0
    worker: str = ""
    device: str = ""  # "cpu" or "cuda", "" where no image was made


def read_journal(folder: str | Path) -> dict[str, Entry]:
    """Key -> the last entry of a trial; lines that were cut or are none are left out."""
    path, found = Path(folder) / JOURNAL, dict[str, Entry]()
    if not path.exists():
        return found
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[entry.key] = entry
    return found


@contextmanager
def journal(folder: Path) -> Iterator[IO[str]]:
    """The journal of a folder to append to, whole lines, for one process alone; InputError while another writes."""
    lock = FileLock(folder / f".{JOURNAL}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"Another sweep writes into {folder}: wait for it, or choose another folder.") from None
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror or error}): choose another folder.") from error
    try:
        path = folder / JOURNAL
        cut = path.exists() and not _ends(path)
        lines = path.open("a", encoding="utf-8")
        try:
            lines.write("\n" if cut else "")
            yield lines
        finally:
            _close(lines)
    finally:
        lock.release()


def _close(lines: IO[str]) -> None:
    """Close the journal; what a full disk did not take before is tried again, so this too may fail."""
    try:
        lines.close()
    except OSError as error:
        raise _full(lines, error) from error


def _full(lines: IO[str], error: OSError) -> InputError:
    return InputError(f"cannot write {lines.name} ({error.strerror or error}): free some space, then start again.")


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def append(lines: IO[str], entry: Entry) -> None:
    """Write an entry at once, so that a killed process loses none."""
    try:
        lines.write(json.dumps(asdict(entry)) + "\n")
        lines.flush()
    except OSError as error:
        raise _full(lines, error) from error


def table_of(trials: Sequence[Trial], entries: Mapping[str, Entry]) -> pd.DataFrame:
    """A row for every ended trial and reference, in the order of the trials.

    Columns trial (its place in the plan), dataset, subject, split, system, model, seed, the settings, state ("done" |
    "failed"), error, reference, ``SCORES`` and every other score that an image has, on the [0,1] scale or as its name
    says. A trial that failed has no scores; what is no UTF-8 in a name is escaped.
    """
    names = {name: column_of(name) for trial in trials for name, _ in trial.settings}
    ended = [(place, trial, entry) for place, trial in enumerate(trials) if (entry := entries.get(trial.key))]
    rows = [
        {
            "trial": place,
            **{k: getattr(trial.case, k) for k in ("dataset", "subject", "split")},
            **{"system": trial.system, "model": trial.model or None, "seed": trial.seed},
            **{column: _cell(dict(trial.settings).get(name)) for name, column in names.items()},
            **{"state": entry.state, "error": entry.error or None},
            **row,
        }
        for place, trial, entry in ended
        for row in entry.rows or [{"reference": None}]
    ]
    first = [*FIRST, *names.values(), "state", "error", "reference"]
    scores = list(dict.fromkeys([*SCORES, *(name for row in rows for name in row if name not in first)]))
    table = pd.DataFrame(rows, columns=[*first, *scores])
    kinds = dict.fromkeys(scores, "float64") | {"trial": "int64", "seed": "int64"}
    words = {name: "string" for name in first if name not in kinds and name not in names.values()}
    settings = {column: table[column].convert_dtypes() for column in names.values()}
    table = table.astype(kinds | words).assign(**settings)
    return table.assign(**{name: table[name].map(printable, na_action="ignore").astype("string") for name in words})


def column_of(setting: str) -> str:
    """The column of a setting: its name, or ``setting_NAME`` where a score or another column is called so."""
    return f"setting_{setting}" if setting in COLUMNS else setting


def is_setting(column: str) -> bool:
    """Whether a column of a table holds a setting of some system."""
    return column not in COLUMNS and column.removeprefix("setting_") in SETTINGS


def _cell(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def write_plan(folder: Path, plan: Plan) -> None:
    """Keep a plan beside its table, so that a row's image can be found again."""
    with atomic(folder / PLAN) as part:
        part.write_text(json.dumps(plan.model_dump(), indent=1) + "\n", encoding="utf-8")


def read_trials(folder: str | Path) -> list[Trial]:
    """The trials of a sweep's folder, in the order that column ``trial`` counts; InputError where there is no plan."""
    path = Path(folder) / PLAN
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a valid plan of a sweep ({error}): make one with 'yoda-nb sweep'.") from None
    return trials_of(make_plan(fields), trust_paths=True)  # who swept had decided on that


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """The table as one Parquet file, which readers find whole at any time."""
    with atomic(folder / TABLE) as part, part.open("wb") as file:  # pyarrow takes no path that is not UTF-8
        table.to_parquet(file, index=False)


def read_table(folder: str | Path) -> pd.DataFrame:
    """The table of a sweep's folder, or of a Parquet file; InputError where there is none."""
    path = Path(folder)
    path = path / TABLE if path.is_dir() else path
    try:
        with path.open("rb") as file:
            return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a table of a sweep ({error}): make one with 'yoda-nb sweep'.") from None
