"""A volume and its slices in the three views: an exact pair of inverses.

Views are numbered by the axis they slice along: 0 sagittal, 1 coronal, 2 axial (axes run R, A, S).
"""

from __future__ import annotations

import torch
from torch import Tensor

VIEWS = ("sagittal", "coronal", "axial")
AXIAL = 2


def to_slabs(volume: Tensor, axis: int, thickness: int = 5) -> Tensor:
    """Every slice of a view with its neighbours: (C,D,H,W) -> (N, C*S, A, B).

    S = ``thickness`` slices (odd), those of one channel adjacent; the middle one is the slice
    itself. Beyond the volume the outermost slice repeats. Values are copied, never changed.
    [YODA III-B.1a]
    """
    return gather_slabs(volume, axis, torch.arange(volume.shape[1 + axis]), thickness)


def gather_slabs(volume: Tensor, axis: int, centres: Tensor, thickness: int = 5) -> Tensor:
    """The slabs around the given slices of a view: (C,D,H,W), (K,) -> (K, C*S, A, B)."""
    if thickness < 1 or thickness % 2 == 0:
        raise ValueError(f"thickness counts slices around a middle one: it must be odd, got {thickness}")
    slices = volume.movedim(1 + axis, 0)  # (N,C,A,B)
    offsets = torch.arange(thickness) - thickness // 2
    index = (centres.cpu()[:, None] + offsets).clamp(0, len(slices) - 1)  # (K,S)
    slabs = slices[index.to(volume.device)].transpose(1, 2)  # (K,S,C,A,B) -> (K,C,S,A,B)
    return slabs.flatten(1, 2)  # (K,C*S,A,B)


def average_slabs(slabs: Tensor, centres: Tensor, n: int) -> Tensor:
    """One image for each of n slices: the mean over the slabs that hold it; zero where none does.

    slabs (K,S,A,B) around the slices ``centres`` (K,) -> (n,1,A,B); what lies beyond the volume is
    left out. [SKC-ISTA eq. 4; with S = 1 it only puts slices in their places]
    """
    thickness = slabs.shape[1]
    total = slabs.new_zeros(n, *slabs.shape[2:])
    count = slabs.new_zeros(n, 1, 1)
    for k in range(thickness):
        index = centres.to(slabs.device) + k - thickness // 2
        inside = (index >= 0) & (index < n)
        total.index_add_(0, index[inside], slabs[inside, k])
        count.index_add_(0, index[inside], slabs.new_ones(int(inside.sum()), 1, 1))
    return (total / count.clamp(min=1))[:, None]


def from_slices(slices: Tensor, axis: int) -> Tensor:
    """Stack the slices of a view back into a volume: (N,1,A,B) -> (1,D,H,W)."""
    return slices.movedim(0, 1 + axis)  # (1,...) with N back at its axis


def middle(slabs: Tensor, channel: int, thickness: int) -> Tensor:
    """The middle slice of one channel: (N, C*S, A, B) -> (N,1,A,B)."""
    at = channel * thickness + thickness // 2
    return slabs[:, at : at + 1]
