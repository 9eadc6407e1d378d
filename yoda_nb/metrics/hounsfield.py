"""Scores of a CT in Hounsfield units: errors in bone, soft tissue and air, and whether bone is where it is."""

from __future__ import annotations

from torch import Tensor

from yoda_nb.images.units import WINDOWS
from yoda_nb.metrics.downstream import dice

BONE, AIR = 300.0, -200.0  # HU: above and below these a voxel of the reference counts as bone or air


def to_hounsfield(image: Tensor, contrast: str) -> Tensor:
    """An image in [-1,1] of a contrast of ``units.WINDOWS`` in HU."""
    low, high = WINDOWS[contrast]
    return low + (high - low) * (image + 1) / 2


def hounsfield_scores(pred: Tensor, target: Tensor, mask: Tensor, contrast: str) -> dict[str, float]:
    """mae_hu, the mean absolute error in the mask; the same in the reference's bone, soft tissue and air; bone_dice.

    ``pred`` and ``target`` (1,D,H,W) in [-1,1], ``mask`` bool. What the reference has nothing of is left out.
    """
    made, known = (to_hounsfield(x, contrast) for x in (pred, target))
    error = (made - known).abs()
    parts = {"": mask, "_bone": known > BONE, "_soft": (known >= AIR) & (known <= BONE), "_air": known < AIR}
    inside = {name: part & mask for name, part in parts.items()}
    found = {f"mae_hu{name}": float(error[part].mean()) for name, part in inside.items() if part.any()}
    if inside["_bone"].any():
        found["bone_dice"] = dice((made > BONE) & mask, inside["_bone"])
    return found
