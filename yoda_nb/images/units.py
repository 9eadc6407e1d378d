"""Intensities by modality: what is in Hounsfield units, in which window it is learned, what part counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from torch import Tensor

Value = TypeVar("Value")

# Names of data sets for a contrast that models know by another: an angiogram is a time-of-flight image, and a CT that
# was deformed to MR images (Gold Atlas) is a CT
SAME = {"MRA": "TOF", "angio": "TOF", "CTdef": "CT"}


def _each_name(values: dict[str, Value]) -> dict[str, Value]:
    """Values of contrasts, under every name of each."""
    return values | {name: values[same] for name, same in SAME.items() if same in values}


AIR = -1000.0  # HU
# (low, high) in HU, mapped to -1 and 1 wherever an image of such a contrast is normalised, scored or written
# of a CTA as narrow as blood and bone can still be told apart: Koch (3.1) takes -50 to 350, where both are white
WINDOWS = _each_name({"CT": (AIR, 2000.0), "CTA": (-100.0, 600.0)})
# windows in HU that readers look through
VIEWED = _each_name(
    {
        "CT": {"whole range": WINDOWS["CT"], "brain": (0.0, 80.0), "bone": (-400.0, 1600.0)},
        "CTA": {"angio": (-50.0, 350.0), "whole range": WINDOWS["CTA"]},
    }
)

# How much brighter than the bulk of an image its brightest tissue may be: FLAIR lesions, fresh blood
HEAD_ROOM = _each_name({"TOF": 3.0})
USUAL_ROOM = 1.4


def canonical(contrast: str) -> str:
    """The name that models know a contrast by: TOF for MRA, CT for CTdef, any other as it is."""
    return SAME.get(contrast, contrast)


def called(contrast: str, names: Iterable[str]) -> str | None:
    """What a contrast is called among ``names``: its own name if it is there, else another of it, else None."""
    names = list(names)
    same = [name for name in names if canonical(name) == canonical(contrast)]
    return contrast if contrast in names else next(iter(same), None)


def hounsfield(contrast: str) -> bool:
    """Whether images of a contrast are in Hounsfield units, which mean the same in every file."""
    return contrast in WINDOWS


def width(contrast: str) -> float:
    """HU between -1 and 1 of a contrast that is in Hounsfield units."""
    low, high = WINDOWS[contrast]
    return high - low


def to_hounsfield(image: Tensor, contrast: str) -> Tensor:
    """An image in [-1,1] of a contrast of ``WINDOWS`` in HU."""
    low, high = WINDOWS[contrast]
    return low + (high - low) * (image + 1) / 2


def in_window(image: Tensor, contrast: str, window: tuple[float, float]) -> Tensor:
    """An image in [-1,1] of a contrast of ``WINDOWS``, of which the HU of a window become [-1,1] and are cut off."""
    low, high = window
    return (2 * (to_hounsfield(image, contrast) - low) / (high - low) - 1).clamp(-1, 1)


def part_of(contrasts: Iterable[str]) -> str:
    """The part of the body that counts for these contrasts, "brain" or "head": a CT shows the skull.

    "head" is all that is no air, so of a pelvis the body.
    """
    return "head" if any(hounsfield(name) for name in contrasts) else "brain"
