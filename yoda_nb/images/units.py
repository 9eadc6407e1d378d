"""Intensities by modality: what is in Hounsfield units, in which window it is learned, what part counts."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

AIR = -1000.0  # HU
# (low, high) in HU, mapped to -1 and 1 wherever an image of such a contrast is normalised, scored or written
# of a CTA as narrow as blood and bone can still be told apart: seed 001 (3.1) takes -50 to 350, where both are white
WINDOWS = {"CT": (AIR, 2000.0), "CTA": (-100.0, 600.0)}
# windows in HU that readers look through
VIEWED = {
    "CT": {"whole range": WINDOWS["CT"], "brain": (0.0, 80.0), "bone": (-400.0, 1600.0)},
    "CTA": {"angio": (-50.0, 350.0), "whole range": WINDOWS["CTA"]},
}

# How much brighter than the bulk of an image its brightest tissue may be: FLAIR lesions, fresh blood
HEAD_ROOM = {"TOF": 3.0}
USUAL_ROOM = 1.4


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
    """The part of the body that counts for these contrasts, "brain" or "head": a CT shows the skull."""
    return "head" if any(hounsfield(name) for name in contrasts) else "brain"
