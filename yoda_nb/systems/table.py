"""The table of systems: one file a family, one row a system."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace

from yoda_nb.diffusion import SIGMAS
from yoda_nb.models import WEIGHTS, find_model, is_shipped, load_model, read_card
from yoda_nb.nets import n_parameters
from yoda_nb.systems import backbones, bridges, fast_unet, selfrdb, syndiff, yoda
from yoda_nb.systems.base import Job, Process, System
from yoda_nb.systems.vp import vp
from yoda_nb.volumes import InputError

FAMILIES = (yoda, selfrdb, fast_unet, bridges, backbones, syndiff)
SYSTEMS: dict[str, System] = {row.name: row for family in FAMILIES for row in family.ROWS}
PROCESSES: dict[str, Callable[[Job], Process]] = {
    "vp": vp,
    "slices": backbones.slices_process,
    "bridge": bridges.bridge_process,
    "recursive": selfrdb.recursive,
}
FIXED = ("name", "summary", "reference", "seed", "weights", "process")  # of a row: not to be overridden


def describe_systems() -> list[dict[str, object]]:
    """Every row with its seed, reference, state and cost, as plain values for a table or JSON.

    ``state`` is "ready", or "not trained" for a row whose model is not shipped; what only the card
    of a model knows is then None. Rows without a model of their own are described by the default.
    """
    return [_described(row) for row in SYSTEMS.values()]


def _described(row: System) -> dict[str, object]:
    known = {"name": row.name, "seed": row.seed, "does": row.summary, "reference": row.reference,
             "model": row.weights or "by contrasts", "evaluations": row.evaluations}  # fmt: skip
    name = row.weights or find_model(("T1w", "T2w"), "FLAIR", 3.0)
    card = read_card(WEIGHTS / f"{name}.safetensors") if is_shipped(name) else None
    if card is None:
        unknown = dict.fromkeys(("translates", "parameters", "slabs", "seconds", "machine"))
        return known | unknown | {"state": "not trained"}
    training = card["training"]
    return known | {
        "translates": f"{'+'.join(card['sources'])} to {card['target']}", "state": "ready",
        "parameters": n_parameters(load_model(name).net), "slabs": training["slabs_seen"],
        "seconds": training["seconds"], "machine": training["machine"],
    }  # fmt: skip


def get_system(name: str, **overrides) -> System:
    """A row of the table with fields replaced; InputError for unknown names or values."""
    if name not in SYSTEMS:
        raise InputError(f"System {name!r} is unknown: choose one of {', '.join(SYSTEMS)}.")
    known = {f.name for f in fields(System)} - set(FIXED)
    if unknown := sorted(set(overrides) - known):
        raise InputError(f"{name} has no setting {', '.join(unknown)}: choose among {', '.join(sorted(known))}.")
    system = replace(SYSTEMS[name], **overrides)
    if (
        system.sigma not in SIGMAS or system.combine not in ("rms", "mean")
        or system.n_ex < 1 or not 0 <= system.noise < float("inf")
    ):  # fmt: skip
        raise InputError(
            f"{name} takes sigma {' | '.join(SIGMAS)}, combine rms | mean, n_ex of at least 1 and "
            f"noise of at least 0, got {system.sigma}, {system.combine}, {system.n_ex} and {system.noise}."
        )
    if not system.views or set(system.views) - {0, 1, 2}:
        raise InputError(f"{name} looks along views 0, 1 and 2 (sagittal, coronal, axial), got {system.views}.")
    if min(system.corrections, system.slice_size) < 0 or system.recursions < 1:
        raise InputError(f"{name} takes corrections and slice_size of at least 0 and recursions of at least 1.")
    return system


def parse_settings(words: Mapping[str, str]) -> dict[str, object]:
    """Settings as words of a shell -> as values of their types; InputError for what cannot be one.

    "none" is None, "true" and "false" are bools, views are numbers with commas between.
    """
    defaults = {f.name: f.default for f in fields(System) if f.name not in FIXED}
    if unknown := sorted(set(words) - set(defaults)):
        raise InputError(f"There is no setting {', '.join(unknown)}: choose among {', '.join(sorted(defaults))}.")
    return {name: _parsed(name, word, defaults[name]) for name, word in words.items()}


def _parsed(name: str, word: str, default: object) -> object:
    kind = int if default is None else type(default)  # jump_to alone may be none
    try:
        if kind is tuple:
            return tuple(int(part) for part in word.split(","))
        if kind is bool:
            return {"true": True, "false": False}[word.lower()]
        return None if default is None and word.lower() == "none" else kind(word)
    except (ValueError, KeyError):
        wanted = {tuple: "numbers with commas between", bool: "true or false"}.get(kind, f"of type {kind.__name__}")
        raise InputError(f"{name}={word} is not a setting: {name} must be {wanted}.") from None
