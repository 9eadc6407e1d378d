"""The tables behind the verdicts: one row a subject, made by one function each.

Computing all of them takes over four hours on two cores, so those of the quick profile are shipped as
compressed CSV with checksums (``yoda_papers/evidence/tables``). ``yoda-nb rebuild evidence`` makes them again and
``yoda-nb rebuild canaries`` recomputes one subject of each. The index beside them records machine, libraries, commit,
date, version and weights. A table is outdated when its version or its weights have changed; code is not compared. Any
other profile or seed computes, with samples from the bank.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from filelock import FileLock
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import has_card, read_card, shipped_file
from yoda_nb.store import write_atomic
from yoda_nb.study.sampling import samples as draw
from yoda_nb.study.subjects import Profile, get_profile, load_subjects
from yoda_nb.systems.models import weights_path
from yoda_nb.systems.papers import PAPERS as INSTALLED
from yoda_papers.ledger.hospitals import FETCHED
from yoda_papers.ledger.versions import other_libraries, version_of

TABLES = Path(__file__).parents[1] / "evidence" / "tables"
INDEX = TABLES / "index.json"
SHIPPED_STUDY = ("quick", 0)  # profile and seed
DIGITS = 7  # of a number in a shipped table


def claims_of(paper: ModuleType) -> ModuleType:
    """What a paper offers to the ledger: its submodule ``claims`` if it has one, else the module itself."""
    name = f"{paper.__name__}.claims"
    return import_module(name) if hasattr(paper, "__path__") and find_spec(name) else paper


# paper -> module with TABLES, EFFECTS and NOTES, all optional; PLANNED names tables that are made only where asked for
PAPERS = {name: claims_of(paper) for name, paper in INSTALLED.items()}
MAKERS: dict[str, Callable[[Study], pd.DataFrame]] = {
    name: make for paper in PAPERS.values() for name, make in getattr(paper, "TABLES", {}).items()
}
PLANNED = frozenset(
    name for paper in PAPERS.values() for name in getattr(paper, "PLANNED", ())
)  # made only where asked for
_used: ContextVar[set[str] | None] = ContextVar("used", default=None)


@dataclass(frozen=True)
class Study:
    """Which evidence: a profile, a seed of sampling, where to compute. InputError for a device that is not here."""

    profile: str = "quick"
    seed: int = 0
    device: str = ""
    fresh: bool = False  # compute even what is shipped, tables and samples alike
    own: tuple[Volume, ...] = ()  # these subjects instead of the ledger's
    eyes: tuple[tuple[str, str], ...] = ()  # a user's own extractors beside those of the project: name, weights
    models: tuple[tuple[str, str], ...] = ()  # subject, the model of YODA to use; others: the one that fits best
    kept: frozenset[str] = frozenset()  # trainings whose rows a table has already: who makes it leaves them out

    def __post_init__(self) -> None:
        find_device(self.device)

    @classmethod
    def of_run(cls, profile: str, seed: int = 0, device: str = "") -> Study:
        """The study whose verdicts a notebook shows: the run's own in the profile full, else the shipped
        one, whatever the run's seed and device, for another takes hours."""
        find_device(device)
        return cls(profile, seed, device) if profile == "full" else cls(*SHIPPED_STUDY)

    @property
    def settings(self) -> Profile:
        return get_profile(self.profile)

    @property
    def volumes(self) -> list[Volume]:
        """``own``, or the manifest's first test phantoms: as many as the profile asks for."""
        return list(self.own) or _volumes(self.settings.evidence)

    def more(self, n: int) -> list[Volume]:
        """The first ``n`` test phantoms, where the profile's few leave an effect open that costs little."""
        return list(self.own) or _volumes(self.count(n))

    def count(self, n: int) -> int:
        """How many ``more`` gives."""
        return len(self.own) or (self.settings.evidence if self.profile == "tiny" else n)

    def table(self, name: str) -> pd.DataFrame:
        """An evidence table by name: shipped, or computed now (once in a process)."""
        if name in FETCHED and not self.ships(name):
            raise InputError(f"The table {name!r} is of data that are fetched: make it with 'yoda-nb rebuild {name}'.")
        if name not in MAKERS and name not in FETCHED:
            raise InputError(f"There is no evidence {name!r}: choose among {', '.join(MAKERS)}.")
        if self.own:
            return MAKERS[name](self)
        if self.ships(name):
            note_used(name)
            return read_shipped(name)
        return _computed(name, self).copy()

    def ships(self, name: str) -> bool:
        """Whether ``table`` would give a shipped table."""
        return not self.own and not self.fresh and (self.profile, self.seed) == SHIPPED_STUDY and name in index()

    def makes(self, model: str) -> bool:
        """Whether a table is to have a model's rows now: it was trained, and they are not kept.

        Raises InputError, naming the command that makes them, for weights that are not here.
        """
        return has_card(shipped_file(model)) and model not in self.kept and weights_path(model).exists()

    def samples(self, volume: Volume, system: str, **settings: Any) -> Tensor:
        """``study.samples`` with this study's seed, device and models."""
        options: dict[str, Any] = {"seed": self.seed, "device": self.device or None, "shipped": not self.fresh}
        options["model"] = dict(self.models).get(volume.subject)
        return draw(volume, system, **(options | settings))


def note_used(name: str) -> None:
    """Tell ``shipped_tables`` of a table that is read."""
    if (used := _used.get()) is not None:
        used.add(name)


@contextmanager
def shipped_tables() -> Iterator[set[str]]:
    """Collect the names of the shipped tables that are read within."""
    used: set[str] = set()
    token = _used.set(used)
    try:
        yield used
    finally:
        _used.reset(token)


def basis(*names: str, study: Study | None = None) -> str:
    """In words, whether tables are shipped and from where, or of this run: for captions."""
    study = study or Study()
    shipped = [name for name in names if study.ships(name)]
    if not shipped:
        return "Computed in this run."
    about = {name: index()[name] for name in shipped}
    made = sorted({f"{a['machine']}, commit {a['commit']}, {a['date']}" for a in about.values()})
    named = ", ".join(name if (v := a["version"]) == 1 else f"{name}, version {v}" for name, a in about.items())
    old = [name for name in shipped if outdated(name)]
    warning = f" OUTDATED: {', '.join(old)}, by version or weights." if old else ""
    return f"Shipped evidence ({named}): {'; '.join(made)}.{warning}"


def libraries_note(*names: str) -> str:
    """In words, with which other libraries than those here shipped tables were made; "" where all agree."""
    told = {name: other_libraries(index()[name]["libraries"]) for name in names}
    by = {what: [name for name in names if told[name] == what] for what in told.values() if what}
    return "; ".join(f"{', '.join(of)} made with {what}" for what, of in by.items())


def read_shipped(name: str) -> pd.DataFrame:
    """A shipped table; InputError if it is not the one that was shipped."""
    path = TABLES / f"{name}.csv.gz"
    try:
        blob = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):  # not there, or not whole
        blob = b""
    if hashlib.sha256(blob).hexdigest() != index()[name]["sha256"]:
        raise InputError(f"{path} is not the table that was shipped: get it again, or run yoda-nb rebuild evidence.")
    return from_csv(blob)


def to_csv(table: pd.DataFrame) -> bytes:
    """A table as it is shipped."""
    return table.to_csv(index=False, float_format=f"%.{DIGITS}g", na_rep="nan", lineterminator="\n").encode()


def from_csv(blob: bytes) -> pd.DataFrame:
    """Inverse of ``to_csv``, to the digits that are kept."""
    return pd.read_csv(BytesIO(blob), keep_default_na=False, na_values=["nan"])


def ship(name: str, table: pd.DataFrame, weights: Mapping[str, str], about: Mapping[str, Any]) -> None:
    """Store a table among the shipped ones with the weights it was made by; ``about`` says how it was made.

    The checksum is that of the CSV inside: compressors differ in their bytes.
    """
    blob = to_csv(table)
    write_atomic(TABLES / f"{name}.csv.gz", gzip.compress(blob, mtime=0))
    rests_on = {"weights": dict(sorted(weights.items())), "version": version_of(name)}
    with _index_lock():
        index.cache_clear()  # another process may have written since
        entries = index() | {name: {"sha256": hashlib.sha256(blob).hexdigest(), **about, **rests_on}}
        write_atomic(INDEX, (json.dumps(dict(sorted(entries.items())), indent=1) + "\n").encode())
    index.cache_clear()
    outdated.cache_clear()


@contextmanager
def _index_lock() -> Iterator[None]:
    """The index for one process alone; InputError where its folder cannot be written."""
    lock = FileLock(INDEX.with_name(f".{INDEX.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        raise InputError(
            f"{INDEX.parent} cannot be written ({error.strerror or error}): use an installation of your own."
        ) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@cache
def outdated(name: str) -> tuple[str, ...]:
    """What has changed since a shipped table was made: "version", or the names of weights that are others or gone."""
    about = index()[name]
    changed = [model for model, digest in about["weights"].items() if _current(model) != digest]
    return (*(["version"] if version_of(name) != about["version"] else []), *changed)


def _current(model: str) -> str | None:
    """The sha256 of a model as its card states it now."""
    path = shipped_file(model)
    return read_card(path).get("sha256") if has_card(path) else None


@cache
def index() -> dict[str, dict[str, Any]]:
    """Shipped table -> how it was made."""
    return json.loads(INDEX.read_text()) if INDEX.exists() else {}


_subjects: list[Volume] = []  # the first test phantoms, as many as have been asked for


def _volumes(n: int) -> list[Volume]:
    if len(_subjects) < n:
        _subjects[:] = load_subjects(n)
    return _subjects[:n]


@cache
def _computed(name: str, study: Study) -> pd.DataFrame:
    print(f"evidence '{name}': computing", file=sys.stderr, flush=True)
    return MAKERS[name](study)
