"""Trained nets on disk: safetensors of 16 or 8 bits with a JSON model card beside each. Nothing is unpickled.

What reads a model notes it, so that a table of evidence can tell the weights it rests on
(``recording``).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic
from yoda_nb.nets.base import Config, config_from_dict, config_to_dict
from yoda_nb.nets.eight_bit import narrowed, widened

WEIGHTS = Path(__file__).parent / "weights"
CARDS = "cards.jsonl.gz"  # of a folder of models: a line for each model whose weights are not shipped
FOLDERS = [WEIGHTS]  # where shipped models are found, in this order; installed papers add theirs (``systems.papers``)
FIELDS = ("sources", "target", "spacing_mm", "schedule", "n_train", "prediction", "training")  # of a card

NARROW = 64  # a number on a card that is no larger asks for little, whatever the weights

Card = dict[str, Any]
Build = Callable[[Card], nn.Module]
_read: ContextVar[dict[str, str] | None] = ContextVar("read", default=None)


class _Said(BaseModel):
    """What a card says that running its net relies on, beside the net itself."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    sources: list[str] = Field(min_length=1)
    target: str = Field(min_length=1)
    spacing_mm: float = Field(ge=0.1, le=50)
    schedule: str
    n_train: int = Field(ge=1, le=100_000)
    prediction: str
    options: dict[str, Any] = {}
    net: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A trained net and what it was trained for. ``net`` is float32, in eval mode, on the CPU."""

    name: str
    net: nn.Module
    config: Config
    card: Card
    sha256: str  # of the weights file

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.card["sources"])

    @property
    def contrast(self) -> str:
        return self.card["target"]

    @property
    def spacing(self) -> float:
        """Voxel size in mm that the net was trained at."""
        return float(self.card["spacing_mm"])


def known_of(card: Card) -> dict[str, str]:
    """What a card says of its model's training and errors, by the fields of a sidecar."""
    scores = card.get("scores")
    return {
        "ModelTitle": str(card.get("title", "")),
        "ModelTrainedOn": str(card["training"].get("data", "not stated")),
        "ModelLimits": str(card.get("limits", "not stated")),
        "ModelScores": json.dumps(scores) if scores else "none stated on its card",
    }


def save_model(net: nn.Module, path: Path, *, config: Config, card: Card, bits: int = 16) -> None:
    """Write ``path`` (.safetensors, fp16 or 8 ``bits``) and its card (.json), each whole or not at all.

    ``card`` must name sources, target, spacing_mm, schedule, n_train, prediction and training;
    InputError if it does not.
    """
    check_fields(path, card, FIELDS)
    save_net(net, path, card={**card, "net": config_to_dict(config)}, bits=bits)


def read_model(path: Path, kinds: Mapping[str, type[Config]]) -> Model:
    """A model and its card; ``kinds`` maps the kind on a card to its configuration.

    Raises InputError, naming the file, for what :func:`read_net` refuses.
    """

    def build(card: Card) -> nn.Module:
        check_fields(path, card, (*FIELDS, "net"))
        _check_card(path, card)
        config = config_from_dict(card["net"], kinds)
        if config.n_sources != len(card["sources"]):
            n = len(card["sources"])
            raise InputError(f"The card of {path} names {n} sources for a net of {config.n_sources}: get it again.")
        return config.build()

    net, card, digest = read_net(path, build)
    return Model(path.stem, net, config_from_dict(card["net"], kinds), card, digest)


def _check_card(path: Path, card: Card) -> None:
    """InputError for a card with values of other types than a net needs to run, or of a net beyond its weights."""
    try:
        _Said.model_validate(card)
    except ValidationError as error:
        first = error.errors()[0]
        said = f"its card, {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise InputError(f"{path} cannot be read as a model ({said}): get it again.") from error
    with safe_open(path, "pt") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    widest = max((side for shape in shapes if 0 not in shape for side in shape), default=0)
    for name, value in card["net"].items():
        sizes = value if isinstance(value, list) else [value]
        if len(sizes) > len(shapes) or any(type(n) is int and not 0 <= n <= max(widest, NARROW) for n in sizes):
            raise InputError(
                f"{path} cannot be read as a model ({name} on its card is beyond its weights): get it again."
            )


def save_net(net: nn.Module, path: Path, *, card: Card, bits: int = 16) -> None:
    """Write the weights of any net as fp16 to ``path`` and its card, with their sha256, beside them.

    With 8 ``bits`` as int8 with a scale for each output channel. Counters, which are no weights, are left out.
    """
    state = {k: v.detach().cpu().half().contiguous() for k, v in net.state_dict().items() if v.is_floating_point()}
    blob = save_tensors(narrowed(state) if bits == 8 else state)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(blob)
    with atomic(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**card, "sha256": hashlib.sha256(blob).hexdigest()}, indent=2) + "\n")


def read_net(path: Path, build: Build) -> tuple[nn.Module, Card, str]:
    """The net that ``build`` makes of a card, with its weights, frozen; the card; the weights' sha256.

    Raises InputError, naming the file, for weights that are missing, truncated, changed since
    they were saved, pickled, or made for another architecture (the keys at fault are listed).
    """
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not a .safetensors file: pickled weights are never opened.")
    card = read_card(path)
    check_fields(path, card, ("sha256",))
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the path of a .safetensors file.")
    blob = path.read_bytes()
    if hashlib.sha256(blob).hexdigest() != card["sha256"]:
        raise InputError(f"{path} does not match the checksum in its card: it is damaged, get it again.")
    try:
        state, net = widened(load_tensors(blob)), build(card)
    except InputError:
        raise
    except (
        SafetensorError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as a model ({said[:200]}): get it again.") from error
    if not all(bool(torch.isfinite(weight).all()) for weight in state.values()):
        raise InputError(f"{path} contains weights that are not finite: get it again.")
    note(path, card["sha256"])
    return fitted(net, state, str(path)), card, card["sha256"]


def fitted(net: nn.Module, state: Mapping[str, Tensor], what: str) -> nn.Module:
    """``net`` with the weights ``state`` as float32, frozen, in eval mode.

    InputError, beginning with ``what``, lists every key or shape that does not fit.
    """
    own = net.state_dict()
    counters = {k for k, v in own.items() if not v.is_floating_point()}  # not used to infer
    problems = {
        "missing": sorted(own.keys() - state.keys() - counters),
        "extra": sorted(state.keys() - own.keys()),
        "of another shape": sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape),
    }
    if found := [f"{kind}: {', '.join(keys)}" for kind, keys in problems.items() if keys]:
        raise InputError(f"{what} does not fit its net ({'; '.join(found)}): use the card or file of that net.")
    weights = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    net.load_state_dict(weights, strict=False)
    return net.eval().requires_grad_(False)


def has_card(path: Path) -> bool:
    """Whether a model has a card: a file beside its weights, or a line of the table of a shipped folder."""
    return path.with_suffix(".json").is_file() or _listed(path) is not None


def _listed(path: Path) -> Card | None:
    """The card of a shipped model whose weights are not here, from the table ``CARDS`` of its folder."""
    for folder in FOLDERS:
        table = folder / CARDS
        if path.is_relative_to(folder) and table.is_file():
            return _cards(table, table.stat().st_mtime_ns).get(path.relative_to(folder).with_suffix("").as_posix())
    return None


@lru_cache(maxsize=8)
def _cards(table: Path, modified: int) -> dict[str, Card]:
    lines = gzip.decompress(table.read_bytes()).decode().splitlines()
    return {row["model"]: row["card"] for row in map(json.loads, lines)}


def gather_cards(folder: Path) -> list[str]:
    """Move the cards of models without weights into the table of their folder; returns the names moved.

    A card in a file replaces the line of its model.
    """
    table = folder / CARDS
    cards = dict(_cards(table, table.stat().st_mtime_ns)) if table.is_file() else {}
    alone = [path for path in sorted(folder.rglob("*.json")) if not path.with_suffix(".safetensors").exists()]
    moved = {path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text()) for path in alone}
    rows = [{"model": name, "card": card} for name, card in sorted({**cards, **moved}.items())]
    with atomic(table) as part:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        part.write_bytes(gzip.compress(text.encode(), mtime=0))
    for path in alone:
        path.unlink()
    return list(moved)


def read_card(path: Path) -> Card:
    """The card of a model, from the file beside its weights or its folder's table.

    Raises InputError for a card that is missing or damaged.
    """
    card = path.with_suffix(".json")
    if not card.is_file() and (listed := _listed(path)) is not None:
        return listed
    try:
        values = json.loads(card.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{card} is missing: a model needs its card beside its weights.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{card} is not valid JSON ({error}): get the card again.") from error
    if not isinstance(values, dict):
        raise InputError(f"{card} is not a model card but a {type(values).__name__}: get the card again.")
    return values


def check_fields(path: Path, card: Card, fields: tuple[str, ...]) -> None:
    """InputError for a card that lacks one of ``fields``."""
    if lacking := [name for name in fields if name not in card]:
        card_path = Path(path).with_suffix(".json")
        raise InputError(f"The card {card_path} has no {', '.join(lacking)}: a model needs them.")


def model_name(path: Path) -> str:
    """What ``load_model`` calls weights that come with the package; else the file's own name."""
    path = Path(path).resolve()
    for folder in FOLDERS:
        if path.is_relative_to(folder.resolve()):
            return path.relative_to(folder.resolve()).with_suffix("").as_posix()
    return path.name


def shipped_file(name: str | os.PathLike) -> Path:
    """The weights' file of a shipped model, of which only the card may be there; in the first folder if neither is."""
    places = [folder / f"{name}.safetensors" for folder in FOLDERS]
    return next((path for path in places if path.is_file() or has_card(path)), places[0])


def shipped_files() -> list[Path]:
    """The weights' files at the top of all folders of shipped models."""
    return [path for folder in FOLDERS for path in sorted(folder.glob("*.safetensors"))]


@contextmanager
def recording() -> Iterator[dict[str, str]]:
    """Collect name and sha256 of the weights that are read, or read again from memory, within."""
    seen: dict[str, str] = {}
    token = _read.set(seen)
    try:
        yield seen
    finally:
        _read.reset(token)


def note(path: Path, sha256: str) -> None:
    """Tell ``recording`` of weights in use: for those who keep nets in memory."""
    seen = _read.get()
    if seen is not None:
        seen[model_name(path)] = sha256


@lru_cache(maxsize=1)
def processor() -> str:
    """The processor's name, as the system tells it."""
    if (info := Path("/proc/cpuinfo")).exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if names:
            return names[0].partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine() -> str:
    """Processor and threads, or the GPU's name: for cards and tables that report seconds."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU {processor()}, {torch.get_num_threads()} threads"
