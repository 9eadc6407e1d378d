"""Trained nets on disk: fp16 safetensors with a JSON model card beside each. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from yoda_nb.nets import Config, build, config_from_dict, config_to_dict
from yoda_nb.nifti import InputError, atomic

WEIGHTS = Path(__file__).parent / "weights"
FIELDS = ("sources", "target", "spacing_mm", "schedule", "n_train", "prediction", "training")  # of a card


@dataclass(frozen=True)
class Model:
    """A trained net and what it was trained for. ``net`` is float32, in eval mode, on the CPU."""

    name: str
    net: nn.Module
    config: Config
    card: dict
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


def save_model(net: nn.Module, path: Path, *, config: Config, card: dict) -> None:
    """Write ``path`` (.safetensors, fp16) and its card (.json), each whole or not at all.

    ``card`` must name sources, target, spacing_mm, schedule, n_train, prediction and training;
    InputError if it does not.
    """
    _check_fields(path, card, FIELDS)
    blob = save_tensors({k: v.detach().cpu().half().contiguous() for k, v in net.state_dict().items()})
    full = {**card, "net": config_to_dict(config), "sha256": hashlib.sha256(blob).hexdigest()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(blob)
    with atomic(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(full, indent=2) + "\n")


def load_model(name: str | os.PathLike) -> Model:
    """A shipped model by name ("ablations/base-0" for one in a folder), or a .safetensors file.

    Raises InputError, naming the file, for weights that are missing, truncated, changed since
    they were saved, pickled, or made for another architecture (the keys at fault are listed).
    """
    path = Path(name)
    shipped = WEIGHTS / f"{name}.safetensors"
    if not path.is_absolute() and shipped.is_file():
        path = shipped
    elif path.suffix == "" and not path.is_absolute():
        raise InputError(f"Model {str(name)!r} is not shipped: choose one of {shipped_models()} or give a path.")
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the path of a .safetensors file.")
    stat = path.stat()
    return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)


def shipped_models() -> list[str]:
    """Names of the denoisers that come with the package."""
    return sorted(p.stem for p in WEIGHTS.glob("*.safetensors") if "target" in read_card(p))


def is_shipped(name: str) -> bool:
    """Whether ``load_model`` knows this name."""
    return (WEIGHTS / f"{name}.safetensors").is_file()


def find_model(sources: tuple[str, ...], target: str | None, spacing: float) -> str:
    """The shipped model for these contrasts whose voxel size is closest (mm).

    Without ``target`` any target will do. Raises InputError listing what there is.
    """
    cards = {name: read_card(WEIGHTS / f"{name}.safetensors") for name in shipped_models()}
    fitting = [
        (abs(card["spacing_mm"] - spacing), name)
        for name, card in cards.items()
        if set(card["sources"]) == set(sources) and target in (None, card["target"])
    ]
    if not fitting:
        offer = "; ".join(f"{'+'.join(c['sources'])} to {c['target']}" for c in cards.values())
        raise InputError(
            f"No shipped model translates {'+'.join(sources)} to {target or 'anything'}: "
            f"there is {offer or 'none'}; train one with 'yoda-nb train' and pass it as model."
        )
    return min(fitting)[1]


@lru_cache(maxsize=8)
def _load(path: Path, modified: int, size: int) -> Model:
    if path.suffix != ".safetensors":
        raise InputError(f"{path} is not a .safetensors file: pickled weights are never opened.")
    card = read_card(path)
    _check_fields(path, card, (*FIELDS, "net", "sha256"))
    blob = path.read_bytes()
    digest = hashlib.sha256(blob).hexdigest()
    if digest != card["sha256"]:
        raise InputError(f"{path} does not match the checksum in its card: it is damaged, get it again.")
    try:
        state = load_tensors(blob)
        config = config_from_dict(card["net"])
        net = build(config)
    except (SafetensorError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a model ({error}): get it again.") from error
    wanted = net.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    wrong = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    if missing or extra or wrong:
        raise InputError(
            f"{path} does not fit the net of its card: missing {missing}, extra {extra}, "
            f"other shape {wrong}; use the card it was saved with."
        )
    net.load_state_dict({k: v.float() for k, v in state.items()})
    return Model(path.stem, net.eval().requires_grad_(False), config, card, digest)


def read_card(path: Path) -> dict:
    """The card beside a model's weights; InputError for one that is missing or no card."""
    card = path.with_suffix(".json")
    try:
        values = json.loads(card.read_text())
    except FileNotFoundError:
        raise InputError(f"{card} is missing: a model needs its card beside its weights.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{card} is not valid JSON ({error}): get the card again.") from error
    if not isinstance(values, dict):
        raise InputError(f"{card} holds no model card but {type(values).__name__}: get the card again.")
    return values


def _check_fields(path: Path, card: dict, fields: tuple[str, ...]) -> None:
    if lacking := [name for name in fields if name not in card]:
        card_path = Path(path).with_suffix(".json")
        raise InputError(f"The card {card_path} lacks {', '.join(lacking)}: a model cannot run without.")


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
