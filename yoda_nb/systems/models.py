"""Models by name: those that come with the package, and files of one's own."""

from __future__ import annotations

import os
from functools import lru_cache
from math import prod
from pathlib import Path

from safetensors import safe_open

from yoda_nb.errors import InputError
from yoda_nb.nets.eight_bit import SCALE
from yoda_nb.nets.models import WEIGHTS, Model, model_name, note, read_card, read_model
from yoda_nb.papers import NETS


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
    path, shipped = Path(name), WEIGHTS / f"{name}.safetensors"
    if path.is_absolute() or path.suffix:
        return path if path.is_absolute() or not shipped.is_file() else shipped
    if shipped.is_file():
        return shipped
    if shipped.with_suffix(".json").is_file():
        raise InputError(
            f"The weights of {model_name(shipped)} are not in the package, which holds its card alone: "
            f"make them with '{read_card(shipped)['training']['command']}'."
        )
    raise InputError(f"Model {str(name)!r} is not shipped: choose one of {shipped_models()} or give a path.")


def shipped_models() -> list[str]:
    """Names of the denoisers that come with the package, those of the table of systems left out."""
    return sorted(p.stem for p in WEIGHTS.glob("*.safetensors") if "target" in read_card(p))


def is_shipped(name: str) -> bool:
    """Whether ``load_model`` finds weights under this name."""
    return (WEIGHTS / f"{name}.safetensors").is_file()


def find_model(sources: tuple[str, ...], target: str | None, spacing: float, *, steps: int = 1) -> str:
    """The shipped model for these contrasts whose voxel size is closest (mm).

    Without ``target`` any target will do, FLAIR before others. A system of several ``steps`` gets a model of diffusion,
    one of a single step rather one of regression alone. Raises InputError listing what there is.
    """
    cards = {name: read_card(WEIGHTS / f"{name}.safetensors") for name in shipped_models()}
    cards = {name: card for name, card in cards.items() if steps == 1 or not card.get("regression_only")}
    fitting = [
        (card["target"] != "FLAIR", abs(card["spacing_mm"] - spacing), not card.get("regression_only"), name)
        for name, card in cards.items()
        if set(card["sources"]) == set(sources) and target in (None, card["target"])
    ]
    if not fitting:
        offer = "; ".join(f"{'+'.join(c['sources'])} to {c['target']}" for c in cards.values())
        raise InputError(
            f"No shipped model translates {'+'.join(sources)} to {target or 'anything'}: "
            f"there is {offer or 'none'}; train one with 'yoda-nb train' and pass it as model."
        )
    return min(fitting)[-1]


def stored_parameters(name: str) -> int:
    """How many numbers a shipped model's file holds, read from its header alone."""
    with safe_open(WEIGHTS / f"{name}.safetensors", "pt") as file:
        names = [key for key in file.keys() if not key.endswith(SCALE)]  # noqa: SIM118
        return sum(prod(file.get_slice(name).get_shape()) for name in names)


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> Model:
    return read_model(path, NETS)
