"""Rows of the table of systems: found by name, changed by settings, described for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from yoda_nb.diffusion.system import System
from yoda_nb.errors import InputError
from yoda_nb.images.units import canonical
from yoda_nb.nets.models import has_card, read_card, shipped_file
from yoda_nb.systems.models import find_model, is_shipped, stored_parameters
from yoda_nb.systems.papers import SYSTEMS

FIXED = ("name", "summary", "reference", "sampling", "paper", "weights")  # of a row: no settings


def describe_systems() -> list[dict[str, Any]]:
    """Every row with its paper, reference, state and cost, as plain values for a table or JSON.

    ``state`` is "ready", "weights not here" for a row of which only the card is, or "not trained";
    what nothing here knows is None. Rows without a model of their own are described by the default.
    """
    return [_described(row) for row in SYSTEMS.values()]


def _described(row: System) -> dict[str, Any]:
    known = {
        "name": row.name,
        "paper": row.paper,
        "does": row.summary,
        "reference": row.reference,
        "model": row.weights or "by contrasts",
        "evaluations": row.evaluations,
    }
    name = row.weights or find_model(("T1w", "T2w"), "FLAIR", 3.0)
    path = shipped_file(name)
    if not has_card(path):
        unknown = dict.fromkeys(("translates", "parameters", "slabs", "seconds", "machine"))
        return known | unknown | {"state": "not trained"}
    card = read_card(path)
    training = card["training"]
    return known | {
        "translates": f"{'+'.join(card['sources'])} to {card['target']}",
        "state": "ready" if is_shipped(name) else "weights not here",
        "parameters": stored_parameters(name) if is_shipped(name) else None,
        "slabs": training["slabs_seen"],
        "seconds": training["seconds"],
        "machine": training["machine"],
    }


def rows_for(sources: Collection[str], target: str) -> list[str]:
    """Names of the rows with a model here that makes ``target`` of these sources, or of some of them."""
    return [row.name for row in SYSTEMS.values() if _makes(row, sources, target)]


def _makes(row: System, sources: Collection[str], target: str) -> bool:
    try:
        name = row.weights or find_model(tuple(sources), target, 1.0, steps=row.n_steps)
    except InputError:
        return False
    if not is_shipped(name):
        return False
    card = read_card(shipped_file(name))
    makes = canonical(card["target"]) == canonical(target)
    return makes and {*map(canonical, card["sources"])} <= {*map(canonical, sources)}


def settings_of(system: System) -> dict[str, Any]:
    """The settings of a system by name: its own and those of its process, with their values."""
    own = {f.name: getattr(system, f.name) for f in fields(System) if f.name not in FIXED}
    return own | {f.name: getattr(system.sampling, f.name) for f in fields(system.sampling)}


def get_system(name: str, /, **overrides: Any) -> System:
    """A row of the table with settings changed; InputError for unknown names or values."""
    if name not in SYSTEMS:
        near = get_close_matches(name, SYSTEMS, n=1)
        hint = f"; perhaps {near[0]} was meant." if near else "."
        raise InputError(f"System {name!r} is unknown: choose one of {', '.join(SYSTEMS)}{hint}")
    row = SYSTEMS[name]
    _check_names(row, overrides)
    own = {f.name for f in fields(row.sampling)}
    sampling = replace(row.sampling, **{k: v for k, v in overrides.items() if k in own})
    return replace(row, sampling=sampling, **{k: v for k, v in overrides.items() if k not in own})


def parse_settings(name: str, words: Mapping[str, str]) -> dict[str, Any]:
    """A system's settings as words of a shell -> as values of their types; InputError for what cannot be one.

    "none" is None, "true" and "false" are bools, views are numbers with commas between.
    """
    row = get_system(name)
    _check_names(row, words)
    defaults = {f.name: f.default for part in (System, type(row.sampling)) for f in fields(part)}
    return {setting: _parsed(setting, word, defaults[setting]) for setting, word in words.items()}


def _check_names(row: System, names: Mapping[str, Any]) -> None:
    known = settings_of(row)
    if unknown := sorted(set(names) - set(known)):
        raise InputError(f"{row.name} has no setting {', '.join(unknown)}: choose among {', '.join(sorted(known))}.")


def _parsed(name: str, word: str, default: Any) -> Any:
    kind: type[Any] = int if default is None else type(default)  # jump_to alone may be none
    try:
        if kind is tuple:
            return tuple(int(part) for part in word.split(","))
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        return None if default is None and word.lower() == "none" else kind(word)
    except (ValueError, KeyError):
        wanted = {tuple: "numbers with commas between", bool: "true or false"}.get(kind, f"of type {kind.__name__}")
        raise InputError(f"{name}={word} is not a setting: {name} must be {wanted}.") from None
