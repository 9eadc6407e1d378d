"""What a sweep does: subjects x systems x settings x seeds, given by a small TOML file or by options."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from yoda_nb.data.manifest import Case
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import scheme
from yoda_nb.data.study import cases_in
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import read_card, shipped_file
from yoda_nb.store import VERSIONS, key_of, sampling_version
from yoda_nb.systems.models import load_model, shipped_models
from yoda_nb.systems.table import get_system, parse_settings

PHANTOMS = {"dataset": "phantom", "split": "test"}  # of the manifest that comes with the package


def _text(value: Any) -> str:
    """Text, which may be a path with bytes that are no UTF-8: pydantic's own check refuses those."""
    if not isinstance(value, str):
        raise ValueError("give text")
    return value


Text = Annotated[str, PlainValidator(_text)]


class Chosen(BaseModel):
    """A system with its settings; a list of values is a dimension of the sweep."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    model: Text | list[Text] = ""  # a shipped model or a file; "": the system's own, or by contrasts

    @property
    def settings(self) -> dict[str, list[Any]]:
        """Setting -> its values, as they were written."""
        given = self.model_extra or {}
        return {k: v if isinstance(v, list) else [v] for k, v in given.items()}


class Plan(BaseModel):
    """Fields of the TOML file; all but ``systems`` have defaults. See ``docs/reports.md``."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    study: Text = ""  # a manifest (.csv) or a BIDS folder; "": the phantoms of the package's manifest
    dataset: str | None = None
    split: str | None = None
    subjects: int | list[str] = Field(0, union_mode="left_to_right")  # the first so many or these; 0: all
    sources: list[str] = ["T1w", "T2w"]
    target: str = "FLAIR"
    seeds: list[int] = [0]
    mirror: Text = ""  # folder with copies of what a manifest names
    device: str = ""  # "": the worker's GPU if it has one
    systems: list[Chosen] = Field(min_length=1)


@dataclass(frozen=True)
class Trial:
    """One image of a sweep: whose, by what, and with which seed."""

    case: Case
    system: str
    settings: tuple[tuple[str, Any], ...] = ()
    seed: int = 0
    model: str = ""
    sources: tuple[str, ...] = ("T1w", "T2w")
    target: str = "FLAIR"
    mirror: str = ""
    device: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of what decides the result: content of files, system, weights, seed, device and versions."""
        return _key(self, sha256, _weights)

    def known(self, digest: Callable[[Path], str], weights: Callable[[str], list[str]]) -> Trial:
        """This trial, its key made with these ways to read files and weights."""
        vars(self)["key"] = _key(self, digest, weights)  # as cached_property keeps it
        return self


def read_plan(path: str | Path) -> dict[str, Any]:
    """Fields of a TOML file; paths in it start at its folder. Raises InputError where it is no TOML."""
    path = Path(path)
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # of Unicode, of TOML, of huge numbers, of nesting
        raise InputError(f"{path} is not a valid plan of a sweep: {error}.") from None
    beside = {k: str(path.parent / v) for k in ("study", "mirror") if isinstance(v := fields.get(k), str) and v}
    return fields | beside


def make_plan(fields: Mapping[str, Any]) -> Plan:
    """A checked plan; InputError names the first field that is wrong."""
    try:
        plan = Plan.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the plan"
        raise InputError(f"In the sweep's plan {where} is wrong: {first['msg']}.") from None
    if plan.study or plan.dataset or plan.split:
        return plan
    return plan.model_copy(update=PHANTOMS)


def trials(plan: Plan, cases: list[Case] | None = None, *, trust_paths: bool = False) -> list[Trial]:
    """All images of a plan, one subject's after the other; ``cases`` are what ``cases_of`` gives, where it is known.

    Raises InputError for unknown names and values.
    """
    common: dict[str, Any] = {"sources": tuple(plan.sources), "target": plan.target}
    common |= {"mirror": plan.mirror, "device": plan.device}
    ways = [way for chosen in plan.systems for way in _ways(chosen)]
    found = [
        Trial(case, name, settings, seed, model, **common)
        for case in chosen(plan, cases_of(plan, trust_paths) if cases is None else cases)
        for (name, model, settings), seed in product(ways, plan.seeds)
    ]
    if not found:
        raise InputError("The sweep's plan asks for no image: give at least one subject, seed and value.")
    digest, weights = cache(sha256), cache(_weights)  # many trials share a file: each is read once
    return list({trial.known(digest, weights).key: trial for trial in found}.values())  # each once


def check_place(device: str, *, elsewhere: bool = False) -> None:
    """InputError for a device that is not here, or, where the work is done elsewhere, that is none."""
    if not elsewhere or kind_of(device) not in ("cpu", "cuda"):
        find_device(device)


def cases_of(plan: Plan, trust_paths: bool = False) -> list[Case]:
    """The subjects that a plan chooses among; InputError where there are none."""
    return cases_in(plan.study or MANIFEST, dataset=plan.dataset, split=plan.split, trust_paths=trust_paths)


def chosen(plan: Plan, cases: list[Case]) -> list[Case]:
    """Those of the subjects that a plan names; InputError for one that is not there."""
    if isinstance(plan.subjects, int):
        if plan.subjects < 0:
            raise InputError(f"subjects is {plan.subjects}: give how many, or 0 for all.")
        return cases[: plan.subjects or None]
    known = {case.subject: case for case in cases}
    if lacking := [name for name in plan.subjects if name not in known]:
        raise InputError(f"There is no subject {lacking[0]!r}: choose among {', '.join(list(known)[:20])}.")
    return [known[name] for name in plan.subjects]


def _ways(chosen: Chosen) -> Iterator[tuple[str, str, tuple[tuple[str, Any], ...]]]:
    """Name, model and settings for every combination of a system's values."""
    models = chosen.model if isinstance(chosen.model, list) else [chosen.model]
    names = list(chosen.settings)
    for values in product(*chosen.settings.values()):
        settings = parse_settings(chosen.name, {k: _word(v) for k, v in zip(names, values, strict=True)})
        get_system(chosen.name, **settings)  # checks the values too
        for model in models:
            if model:
                load_model(model)
            yield chosen.name, model, tuple(settings.items())


def _word(value: Any) -> str:
    """A value of TOML as the shell spells it: lists with commas, true and false in small letters."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key(trial: Trial, digest: Callable[[Path], str], weights: Callable[[str], list[str]]) -> str:
    case = trial.case
    images = {**case.images, **({} if case.anatomy is None else {"anatomy": case.anatomy})}
    description = {
        "versions": {**VERSIONS, **sampling_version()},
        "dataset": case.dataset,
        "subject": case.subject,
        "files": {name: _content(image, case.root, digest) for name, image in images.items()},
        "system": trial.system,
        "contrasts": [*trial.sources, trial.target],
        "settings": dict(trial.settings),
        "seed": trial.seed,
        "weights": weights(trial.model or get_system(trial.system, **dict(trial.settings)).weights or ""),
        "device": kind_of(trial.device),
    }
    return key_of(description)


def kind_of(device: str = "") -> str:
    """The kind of a device, cpu or cuda; without a name that of the one that this machine would take."""
    return device.partition(":")[0] or find_device().type


def _content(image: Any, root: Path, digest: Callable[[Path], str]) -> list[Any]:
    """What identifies a file of a case: its content where it is here, else the checksum that is stated."""
    path = root / image.uri
    try:
        return [image.uri, digest(path) if not scheme(image.uri) and path.is_file() else image.sha256]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): check the file.") from error


def _weights(name: str) -> list[str]:
    """Hashes of the weights that may be used: of the named model, or of all that are chosen among by contrasts."""
    if name:
        return [load_model(name).sha256]
    return sorted(str(read_card(shipped_file(each))["sha256"]) for each in shipped_models())


def crossed(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """[("n_steps", "8"), ("n_steps", "16")] -> {"n_steps": ["8", "16"]}: what an option says several times."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
