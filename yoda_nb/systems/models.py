"""Models by name: those that come with the package, and files of one's own."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import lru_cache
from math import prod
from pathlib import Path

from safetensors import safe_open

from yoda_nb.data.layouts import CONTRASTS as SPELLINGS
from yoda_nb.diffusion.system import System
from yoda_nb.errors import InputError
from yoda_nb.images.units import SAME, canonical
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.eight_bit import SCALE
from yoda_nb.nets.models import (
    Card,
    Model,
    has_card,
    model_name,
    note,
    read_card,
    read_model,
    shipped_file,
    shipped_files,
)
from yoda_nb.systems.papers import NETS


def load_model(name: str | os.PathLike) -> Model:
    """A shipped model by name ("systems/adm" for one in a folder), or a .safetensors file.

    Raises InputError, naming the file, for weights that are missing, truncated, changed since
    they were saved, pickled, or made for another architecture (the keys at fault are listed).
    """
    try:
        path = weights_path(name)
        there = path.is_file()
    except OSError as error:  # a name that is too long
        raise InputError(f"{name} cannot be read ({error.strerror}): give the path of a .safetensors file.") from error
    if not there:
        raise InputError(f"{path} does not exist: give the path of a .safetensors file.")
    stat = path.stat()
    model = _load(path.resolve(), stat.st_mtime_ns, stat.st_size)
    note(path, model.sha256)
    return model


def weights_path(name: str | os.PathLike) -> Path:
    """The file that a model's name or path stands for; InputError for a name that has none."""
    path, shipped = Path(name), shipped_file(name)
    if path.is_absolute() or path.suffix:
        return path if path.is_absolute() or not shipped.is_file() else shipped
    if shipped.is_file():
        return shipped
    if has_card(shipped):
        raise InputError(
            f"The weights of {model_name(shipped)} are not in the package, which contains only its card: "
            f"make them with '{read_card(shipped)['training']['command']}'."
        )
    raise InputError(f"Model {str(name)!r} is not shipped: choose one of {shipped_models()} or give a path.")


def shipped_models() -> list[str]:
    """Names of the denoisers that come with the package, those of the table of systems left out."""
    return sorted({path.stem for path in shipped_files() if "target" in read_card(path)})


def is_shipped(name: str) -> bool:
    """Whether ``load_model`` finds weights under this name."""
    return shipped_file(name).is_file()


def find_model(sources: tuple[str, ...], target: str | None, spacing: float, *, steps: int = 1) -> str:
    """The shipped model for these contrasts whose voxel size is closest (mm).

    Without ``target`` it makes a FLAIR, or the one contrast that there is of these sources; but of a part of what a
    FLAIR is made of, such as T1w alone, the target has to be named. A system of several ``steps`` gets a model
    of diffusion, one of a single step rather one of regression alone. Raises InputError listing what there is.
    """
    cards = {name: read_card(shipped_file(name)) for name in shipped_models()}
    wanted = canonical(target or _usual_target(sources, cards.values()))
    fitting = [
        (abs(card["spacing_mm"] - spacing), not card.get("regression_only"), name)
        for name, card in cards.items()
        if (steps == 1 or not card.get("regression_only"))
        and {canonical(x) for x in card["sources"]} == {canonical(x) for x in sources}
        and canonical(card["target"]) == wanted
    ]
    if not fitting:
        raise InputError(_no_model(sources, target, cards.values()))
    return min(fitting)[-1]


def _usual_target(sources: Iterable[str], cards: Iterable[Card]) -> str:
    """What is made of sources where nobody says it: the one contrast there is, but FLAIR rather than any other."""
    given, cards = {canonical(name) for name in sources}, list(cards)
    makes = {card["target"] for card in cards if {canonical(name) for name in card["sources"]} == given}
    part = any(given < {canonical(name) for name in card["sources"]} for card in cards if card["target"] == "FLAIR")
    return makes.pop() if len(makes) == 1 and not part else "FLAIR"


def model_for(volume: Volume, spec: System, named: str | os.PathLike | None = None, contrast: str | None = None) -> str:
    """The model that a system uses on a volume: the one named, its own, or the shipped one that fits best.

    That one makes ``contrast``, by default the contrast of the volume's target. Raises InputError where none fits.
    """
    if named or spec.weights:
        return str(named or spec.weights)
    wanted = contrast or (None if volume.target is None else volume.contrast)
    return find_model(volume.sources, wanted, min(volume.spacing), steps=spec.n_steps)


def _no_model(sources: Collection[str], target: str | None, cards: Iterable[Card]) -> str:
    """Why no model was found: a name misspelt, a target not named, or no such translation."""
    offers = sorted({("+".join(card["sources"]), card["target"]) for card in cards})
    known = sorted({name for made, to in offers for name in (*made.split("+"), to)} | SAME.keys())
    for name in (*sources, *([target] if target else [])):
        if name not in known and (near := _near(name, known)):
            return f"There is no contrast {name!r}: did you mean {near}?"
    given = "+".join(sources)
    if target is None and (
        makes := [to for made, to in offers if set(made.split("+")) == set(map(canonical, sources))]
    ):
        return f"{given} alone makes {' or '.join(makes)}, not FLAIR: add --to {makes[0]}, or add an image."
    offer = "; ".join(f"{made} to {to}" for made, to in offers)
    return (
        f"No shipped model translates {given} to {target or 'FLAIR'}: there is {offer or 'none'}; train one with "
        "'yoda-nb train' and pass it as model."
    )


def _near(name: str, known: Iterable[str]) -> str | None:
    """The known contrast that a name stands for: by another spelling, by case, or by likeness."""
    lower = {other.lower(): other for other in known}
    word = name.lower()
    exact = lower.get(word) or lower.get(SPELLINGS.get(word, "").lower())
    return exact or next((lower[near] for near in get_close_matches(word, lower, n=1)), None)


def stored_parameters(name: str) -> int:
    """How many numbers a shipped model's file holds, read from its header alone."""
    with safe_open(shipped_file(name), "pt") as file:
        names = [key for key in file.keys() if not key.endswith(SCALE)]  # noqa: SIM118
        return sum(prod(file.get_slice(name).get_shape()) for name in names)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> Model:
    return read_model(path, NETS)
