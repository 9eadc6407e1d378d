"""The lesion segmenter's net, and its weights and card on disk. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from monai.networks.nets import UNet
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from yoda_nb.models import WEIGHTS
from yoda_nb.nifti import InputError, atomic

SHIPPED = "segmenter"
CHANNELS, THICKNESS = (24, 48, 96), 5


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter: net (N, thickness, A, B) in [-1,1] -> (N, 1, A, B) lesion logits.

    ``net`` is float32, in eval mode, on the CPU.
    """

    name: str
    net: nn.Module
    card: dict
    sha256: str  # of the weights file

    @property
    def threshold(self) -> float:
        """The probability above which a voxel is lesion, chosen on validation phantoms."""
        return float(self.card["threshold"])

    @property
    def spacing(self) -> float:
        """Voxel size in mm that the net was trained at."""
        return float(self.card["spacing_mm"])

    @property
    def thickness(self) -> int:
        return int(self.card["net"]["thickness"])

    @property
    def divisor(self) -> int:
        """Slice sides must be multiples of this."""
        return 2 ** (len(self.card["net"]["channels"]) - 1)


def build_segmenter(channels: tuple[int, ...] = CHANNELS, thickness: int = THICKNESS) -> nn.Module:
    """A small residual U-Net over slabs of one contrast, one halving a level.

    Batch normalisation, because it is fixed once trained: layers that normalise every slice by
    itself would hide how bright a lesion is against the brain.
    """
    return UNet(2, thickness, 1, channels=channels, strides=(2,) * (len(channels) - 1), num_res_units=2, norm="batch")


def save_segmenter(net: nn.Module, path: str | os.PathLike, *, card: dict) -> None:
    """Write ``path`` (.safetensors, fp16) and its card (.json), each whole or not at all.

    ``card`` must hold what a ``Segmenter`` reads: threshold, spacing_mm, net {channels, thickness}.
    """
    _check_card(Path(path), card)
    state = {k: v.detach().cpu() for k, v in net.state_dict().items() if v.is_floating_point()}
    blob = save_tensors({k: v.half().contiguous() for k, v in state.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(blob)
    with atomic(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({**card, "sha256": hashlib.sha256(blob).hexdigest()}, indent=2) + "\n")


def load_segmenter(name: str | os.PathLike = SHIPPED) -> Segmenter:
    """The shipped segmenter, or a .safetensors file with its card beside it.

    Raises InputError, naming the file, for weights that are missing, changed since they were
    saved, or made for another net.
    """
    path = Path(name) if Path(name).suffix else WEIGHTS / f"{name}.safetensors"
    if path.suffix != ".safetensors" or not path.is_file():
        raise InputError(f"There is no segmenter at {path}: give {SHIPPED!r} or the path of a .safetensors file.")
    return _load(path.resolve(), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path: Path, modified: int) -> Segmenter:
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The card {path.with_suffix('.json')} is missing or damaged: get it again.") from error
    _check_card(path, card)
    blob = path.read_bytes()
    digest = hashlib.sha256(blob).hexdigest()
    if digest != card.get("sha256"):
        raise InputError(f"{path} does not match the checksum in its card: it is damaged, get it again.")
    try:
        net = build_segmenter(tuple(card["net"]["channels"]), card["net"]["thickness"])
        state = {k: v.float() for k, v in load_tensors(blob).items()}
        counters = {k: v for k, v in net.state_dict().items() if not v.is_floating_point()}
        net.load_state_dict(state | counters)  # the batch counters are not saved, and not used to infer
    except (SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not fit the net of its card: use the card it was saved with.") from error
    return Segmenter(path.stem, net.eval().requires_grad_(False), card, digest)


def _check_card(path: Path, card: dict) -> None:
    try:
        fine = 0 < card["threshold"] < 1 and card["spacing_mm"] > 0 and {"channels", "thickness"} <= set(card["net"])
    except (KeyError, TypeError):
        fine = False
    if not fine:
        raise InputError(f"The card of {path} lacks a valid threshold, spacing_mm or net: a segmenter needs them.")




