"""The lesion segmenter: its net, and what its card adds to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import nn

from yoda_nb.errors import InputError
from yoda_nb.nets.models import Card, note, read_net, save_net, shipped_file

SEGMENTERS = {3.0: "segmenter", 1.5: "segmenter-fine"}  # voxel size in mm -> weights
SHIPPED = SEGMENTERS[3.0]
CHANNELS, THICKNESS = (24, 48, 96), 5


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter: net (N, thickness, A, B) in [-1,1] -> (N, 1, A, B) lesion logits.

    ``net`` is float32, in eval mode, on the CPU.
    """

    name: str
    net: nn.Module
    card: Card
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
    from monai.networks.nets import UNet  # seconds: only where it is built

    return UNet(2, thickness, 1, channels=channels, strides=(2,) * (len(channels) - 1), num_res_units=2, norm="batch")


def save_segmenter(net: nn.Module, path: str | os.PathLike, *, card: Card) -> None:
    """Write ``path`` (.safetensors, fp16) and its card (.json), each whole or not at all.

    ``card`` must hold what a ``Segmenter`` reads: threshold, spacing_mm, net {channels, thickness}.
    """
    _check_card(Path(path), card)
    save_net(net, Path(path), card=card)


def load_segmenter(name: str | os.PathLike = SHIPPED) -> Segmenter:
    """The shipped segmenter, or a .safetensors file with its card beside it.

    Raises InputError, naming the file, for weights that are missing, changed since they were
    saved, or made for another net.
    """
    path = Path(name) if Path(name).suffix else shipped_file(name)
    if path.suffix != ".safetensors" or not path.is_file():
        raise InputError(f"There is no segmenter at {path}: give {SHIPPED!r} or the path of a .safetensors file.")
    segmenter = _load(path.resolve(), path.stat().st_mtime_ns)
    note(path, segmenter.sha256)
    return segmenter


@lru_cache(maxsize=4)
def _load(path: Path, modified: int) -> Segmenter:
    def build(card: Card) -> nn.Module:
        _check_card(path, card)
        return build_segmenter(tuple(card["net"]["channels"]), card["net"]["thickness"])

    return Segmenter(path.stem, *read_net(path, build))


def _check_card(path: Path, card: Card) -> None:
    try:
        fine = 0 < card["threshold"] < 1 and card["spacing_mm"] > 0 and {"channels", "thickness"} <= set(card["net"])
    except (KeyError, TypeError):
        fine = False
    if not fine:
        raise InputError(f"The card of {path} has no valid threshold, spacing_mm or net: a segmenter needs all three.")
