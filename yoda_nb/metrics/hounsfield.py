"""Scores of a CT in Hounsfield units: errors in bone, soft tissue and air, bone and vessels where they are, grain."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from yoda_nb.images.masks import grown
from yoda_nb.images.units import canonical, to_hounsfield
from yoda_nb.metrics.downstream import dice

BONE = {"CT": 300.0, "CTA": 550.0}  # HU from which on a voxel of the reference counts as bone; blood has up to 500
AIR = -200.0  # HU below which it counts as air
VESSEL = 150.0  # HU from which on blood with a contrast agent counts
MARROW = 5.0  # mm around a CTA's bone that may be bone too
THICKEST = 10  # voxels of erosion after which nothing is left of a vessel


def hounsfield_scores(pred: Tensor, target: Tensor, mask: Tensor, contrast: str) -> dict[str, float]:
    """mae_hu, the mean absolute error in the mask; the same in the reference's bone, soft tissue and air; bone_dice.

    ``pred`` and ``target`` (1,D,H,W) in [-1,1], ``mask`` bool. What the reference has nothing of is left out.
    """
    made, known = (to_hounsfield(x, contrast) for x in (pred, target))
    error, bone = (made - known).abs(), BONE[canonical(contrast)]
    parts = {"": mask, "_bone": known > bone, "_soft": (known >= AIR) & (known <= bone), "_air": known < AIR}
    inside = {name: part & mask for name, part in parts.items()}
    found = {f"mae_hu{name}": float(error[part].mean()) for name, part in inside.items() if part.any()}
    if inside["_bone"].any():
        found["bone_dice"] = dice((made > bone) & mask, inside["_bone"])
    return found


def away_from_bone(cta: Tensor, affine: np.ndarray) -> Tensor:
    """Where a CTA (1,D,H,W) in [-1,1] has no bone and no marrow beside it; bool. ``affine`` in mm."""
    bone = (to_hounsfield(cta, "CTA") > BONE["CTA"])[0].numpy()
    return ~torch.from_numpy(grown(bone, affine, MARROW))[None]


def vessel_scores(pred: Tensor, target: Tensor, mask: Tensor, affine: np.ndarray) -> dict[str, float]:
    """vessel_dice and cl_dice of a CTA's vessels: all above VESSEL, in both images, but what may be the target's bone.

    ``pred`` and ``target`` (1,D,H,W) in [-1,1], ``mask`` bool, ``affine`` in mm. clDice is the harmonic mean of the
    shares of each image's centre lines that lie in the other's vessels (Shit et al. 2021), which a thick vessel
    does not hide a lost twig from. {} where the target shows none.
    """
    from monai.losses.cldice import soft_skel  # seconds: only where it is used

    seen = mask & away_from_bone(target, affine)
    there, true = ((to_hounsfield(x, "CTA") > VESSEL) & seen for x in (pred, target))
    if not true.any():
        return {}
    lines = [soft_skel(vessels[None].float(), THICKEST)[0] > 0 for vessels in (there, true)]
    inside = [
        float(line[other].sum() / max(int(line.sum()), 1)) for line, other in zip(lines, (true, there), strict=True)
    ]
    harmonic = 2 * inside[0] * inside[1] / sum(inside) if sum(inside) else 0.0
    return {"vessel_dice": dice(there, true), "cl_dice": harmonic}


def grain(image: Tensor, target: Tensor, mask: Tensor, contrast: str) -> float:
    """Standard deviation in HU of an image (1,D,H,W) less its mean over 3 x 3 x 3 voxels, far from bone and air.

    That is where all of the 27 voxels of ``target`` are soft tissue in the mask; nan where there is no such place.
    """
    made, known = (to_hounsfield(x, contrast) for x in (image, target))
    soft = (known >= AIR) & (known <= BONE[canonical(contrast)]) & mask
    deep = F.avg_pool3d(soft.float(), 3, 1, 1) > 1 - 1e-4  # borders of the volume count as outside
    return float((made - F.avg_pool3d(made, 3, 1, 1))[deep].std()) if deep.sum() > 1 else float("nan")
