"""What is shipped of a study, made again: samples and tables of evidence (``yoda-nb rebuild``).

What is shipped and still fits is left as it is, so a stopped rebuild goes on where it was. Tables
that others are made from are read as they are shipped, so that the way there does not matter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pandas.api.types import is_float_dtype

from yoda_nb.data.places import commit
from yoda_nb.diffusion.system import System
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import describe_machine, processor, recording
from yoda_nb.store import write_atomic
from yoda_nb.study.sampling import samples
from yoda_nb.study.shipping import find_shipped, keep_shipped, ship, shipped_path
from yoda_nb.study.subjects import get_profile, load_subjects
from yoda_nb.systems.models import load_model, model_for
from yoda_nb.systems.table import get_system
from yoda_papers.ledger import evidence, versions
from yoda_papers.ledger.ahead import draw_ahead
from yoda_papers.ledger.canaries import fingerprint
from yoda_papers.ledger.evidence import FETCHED, MAKERS, PLANNED, SHIPPED_STUDY, Study
from yoda_papers.yoda import benchmark

SAMPLES = ("lessons", "benchmark")  # those of the notebooks' subjects, and of the table of systems
WRITTEN = (
    "yoda_papers/evidence",
    "yoda_papers/weights",
    "yoda_nb/nets/weights",
    "docs",
)  # by rebuilding: leaves a commit clean

Say = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """What one shipped file holds: a system on a subject."""

    volume: Volume
    system: str
    model: str
    settings: dict[str, Any]

    @property
    def spec(self) -> System:
        return get_system(self.system, **self.settings)

    @property
    def weights(self) -> str:
        return load_model(self.model).sha256

    @property
    def path(self) -> Path:
        return shipped_path(self.volume, self.spec, SHIPPED_STUDY[1], self.weights)

    @property
    def fits(self) -> bool:
        """Whether it is shipped, whole, and of this subject."""
        try:
            return find_shipped(self.volume, self.spec, SHIPPED_STUDY[1], self.weights) is not None
        except InputError:  # damaged, or left without its checksum
            return False

    def __str__(self) -> str:
        settings = ", ".join(f"{k} {v}" for k, v in self.settings.items())
        return (
            f"{self.volume.subject} {self.system} ({settings})" if settings else f"{self.volume.subject} {self.system}"
        )


def shipped_samples(groups: Iterable[str] = SAMPLES) -> list[Sample]:
    """Everything that is shipped of these groups: "lessons" and "benchmark"."""
    groups = known(groups, SAMPLES, "group of samples")
    found = [sample for name in groups for sample in (_lessons if name == "lessons" else _benchmark)()]
    return list({sample.path: sample for sample in found}.values())  # some show one set of trajectories twice


def _lessons() -> Iterator[Sample]:
    """What the notebooks show of the quick profile's subjects, and the first one's sweep."""
    settings = get_profile(SHIPPED_STUDY[0])
    for k, v in enumerate(load_subjects(settings.subjects)):
        model = model_for(v, get_system("yoda-diffusion"))
        yield Sample(v, "yoda-regression", model, {})
        yield Sample(v, "yoda-diffusion", model, {"n_ex": max(settings.n_ex), "n_steps": settings.n_steps})
        yield from (Sample(v, "yoda-ddim", model, {"n_steps": n}) for n in settings.ddim)
        for n in settings.sweep if k == 0 else ():
            yield from (
                Sample(v, "yoda-ddim", model, {"n_steps": n, "sigma": s}) for s in ("zero", "posterior", "fresh")
            )


def _benchmark() -> Iterator[Sample]:
    """The slower systems' images of the first subject, which the explorer of notebook 24 shows."""
    for v in load_subjects(1):
        for entry in benchmark.entries(Study(*SHIPPED_STUDY)):
            slow = get_system(entry.system, **entry.settings).evaluations >= benchmark.SLOW
            if entry.trained and slow:
                yield Sample(v, entry.system, entry.weights, dict(entry.settings))


def rebuild_samples(todo: Iterable[Sample], *, device: str | None = "cpu", say: Say = print) -> list[Path]:
    """Draw and ship samples, from the bank where it has them; returns the files."""
    find_device(device)
    todo, written = list(todo), []
    for k, sample in enumerate(todo, 1):
        options: dict[str, Any] = {"seed": SHIPPED_STUDY[1], "device": device, "model": sample.model}
        drawn = samples(sample.volume, sample.system, progress=True, shipped=False, **options, **sample.settings)
        path = ship(sample.volume, sample.spec, SHIPPED_STUDY[1], sample.weights, drawn)
        say(f"{k}/{len(todo)} {sample}: {path.name}, {path.stat().st_size / 1e6:.1f} MB")
        written.append(path)
    return written


def remove_other_samples() -> list[Path]:
    """Remove the shipped files that nothing asks for any more; returns them."""
    return keep_shipped([sample.path for sample in shipped_samples()])


def rebuild_evidence(
    names: Iterable[str] = (),
    *,
    force: bool = False,
    add: bool = False,
    device: str | None = None,
    workers: int = 1,
    say: Say = print,
) -> list[str]:
    """Make and ship the tables that do not fit (with ``force`` all of these names); returns what was made.

    A table that another is made from comes first, and is made too where it does not fit. ``workers`` processes
    first sample a share each into the bank. With ``add`` rows of trainings that a table knows are kept and those of
    the others put to them: their weights need not be here, and InputError says where they are no longer the same.
    """
    names = known(names or set(MAKERS) - PLANNED, MAKERS, "table")
    wanted = frozenset(names if force or add else ())
    study = _Rebuilt(*SHIPPED_STUDY, device=device or "", fresh=True, say=say, wanted=wanted, add=add)
    while todo := [name for name in names if study.lacks(name)]:
        if workers > 1:
            draw_ahead(todo[0], study, workers, say)
        study.table(todo[0])
    return study.made


def fits(name: str) -> bool:
    """Whether a shipped table is whole and of today's version, weights and tables that it is made from."""
    about = evidence.index().get(name)
    if about is None or evidence.outdated(name):
        return False
    try:
        evidence.read_shipped(name)
    except InputError:
        return False
    return all(evidence.index().get(other, {}).get("sha256") == it for other, it in about.get("tables", {}).items())


def bump(name: str, reason: str) -> int:
    """Raise the version of a table from today's commit; returns it. InputError for an unknown table or no reason."""
    known([name], {**MAKERS, **FETCHED}, "table")
    if not reason.strip():
        raise InputError("A new version needs a reason: say with --reason what changes the numbers.")
    now, version = where_and_when(), versions.version_of(name) + 1
    raised = {"version": version, "reason": reason, "date": now["date"], "commit": now["commit"]}
    entries = versions.raises() | {name: [*versions.raises().get(name, []), raised]}
    write_atomic(versions.VERSIONS, (json.dumps(entries, indent=1, sort_keys=True) + "\n").encode())
    for cached in (versions.raises, evidence.outdated):
        cached.cache_clear()
    return version


@dataclass
class _Making:
    """What is noted while a table is made."""

    weights: dict[str, str] = field(default_factory=dict)  # of the tables it is made from
    tables: dict[str, str] = field(default_factory=dict)  # those tables and their checksums
    seconds: float = 0.0  # spent on them


@dataclass(frozen=True)
class _Rebuilt(Study):
    """The shipped study while its tables are made: a table is read as shipped, and made first if it must be."""

    say: Say = field(default=print, compare=False)
    wanted: frozenset[str] = frozenset()  # to be made even where they fit
    add: bool = False  # to what is shipped
    made: list[str] = field(default_factory=list, compare=False)
    open: list[_Making] = field(default_factory=list, compare=False)  # from the outer to the inner

    def lacks(self, name: str) -> bool:
        return name not in self.made and (name in self.wanted or not fits(name))

    def table(self, name: str) -> pd.DataFrame:
        begun = time.monotonic()
        if self.lacks(name):
            self._make(name)
        about = evidence.index()[name]
        for outer in self.open[-1:]:
            outer.weights |= about["weights"]
            outer.tables[name] = about["sha256"]
            outer.seconds += time.monotonic() - begun
        return evidence.read_shipped(name)

    def _make(self, name: str) -> None:
        self.say(f"{name}: computing")
        begun, now = time.monotonic(), _Making()
        before = self._known(name) if self.add and name in evidence.index() else {}
        self.open.append(now)
        try:
            with recording() as weights:
                table = MAKERS[name](replace(self, kept=frozenset(before)))
        finally:
            self.open.pop()
        seconds = time.monotonic() - begun - now.seconds
        if before:
            table, now.weights = _joined(name, evidence.read_shipped(name), table), before | now.weights
        about = {"profile": self.profile, "seed": self.seed, "seconds": round(seconds), **where_and_when(self.device)}
        about |= {"rows": len(table), "tables": now.tables, "subject": fingerprint(*Study(*SHIPPED_STUDY).more(1))}
        evidence.ship(name, table, weights | now.weights, about)
        self.made.append(name)
        self.say(f"{name}: {len(table)} rows in {seconds:.0f} s")

    def _known(self, name: str) -> dict[str, str]:
        """The weights that the rows of a shipped table were made by; InputError where one has changed since."""
        if changed := evidence.outdated(name):
            raise InputError(f"Nothing can be added to {name}: {changed[0]} is no longer what its rows were made by.")
        return dict(evidence.index()[name]["weights"])


def _joined(name: str, old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Rows put to those of a shipped table; InputError where some are there already by all that is no score."""
    told = [column for column in old if not is_float_dtype(old[column])]
    if told and len(new) and old[told].astype(str).merge(new[told].astype(str)).size:
        raise InputError(f"{name} is made as a whole, so nothing can be added to it: leave --add away.")
    return pd.concat([old, new], ignore_index=True)


def where_and_when(device: str = "") -> dict[str, Any]:
    """Machine, libraries, commit and date of what is being made; files that rebuilding writes are no changes."""
    cpu = device.startswith("cpu")
    return {
        "machine": f"CPU {processor()}, {torch.get_num_threads()} threads" if cpu else describe_machine(),
        "libraries": versions.libraries(),
        "commit": commit(WRITTEN) or "none",
        "date": datetime.now(UTC).date().isoformat(),
    }


def known(names: Iterable[str], there: Iterable[str], what: str) -> list[str]:
    """The names, in the order of ``there``, or all; InputError for one that is not there."""
    names, there = set(names), list(there)
    if unknown := sorted(names - set(there)):
        raise InputError(f"There is no {what} {unknown[0]!r}: choose among {', '.join(there)}.")
    return [name for name in there if name in names or not names]
