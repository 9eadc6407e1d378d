"""How alike the slices of a volume are: in brightness, and in which scanner's look they have."""

from __future__ import annotations

import re

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, required
from yoda_nb.phantoms.looks import SCANNERS
from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.bridge import STYLED

NAME = re.compile(r"phantom-(\d+)-look-([ab])")  # of a subject of one of two scanners
LEAST = 0.1  # a slice counts from this share of the largest one's voxels


def scanner_of(v: Volume) -> str:
    """The scanner that a phantom's target is from, "a" | "b"; "" for other subjects."""
    found = NAME.fullmatch(v.subject)
    return found[2] if found else ""


def both_looks(v: Volume) -> tuple[Tensor, Tensor]:
    """The noise-free target (1,D,H,W) in [-1,1] of a phantom as scanner "a" and as "b" would have shown it."""
    found = NAME.fullmatch(v.subject)
    if found is None or v.clean is None:
        raise ValueError(f"{v.subject} is not a phantom of two scanners")
    (other,) = set(SCANNERS) - {found[2]}
    twin = phantom_case(int(found[1]), **STYLED | {"look": other}, spacing=v.spacing[0], shape=v.shape)
    looks = {found[2]: v.clean, other: required(twin, "clean")}
    return looks["a"], looks["b"]


def slice_looks(image: Tensor, looks: tuple[Tensor, Tensor], mask: Tensor, axis: int = AXIAL) -> pd.DataFrame:
    """How much of scanner "b" each slice has: columns slice, look, where 0 is "a" and 1 is "b".

    The least-squares w of image = a + w (b - a) over the slice's voxels inside the mask; all images
    (1,D,H,W) in one range. Small slices (``LEAST``) are left out.
    """
    a, b = looks
    inside = mask.movedim(1 + axis, 0).flatten(1)
    used = inside.sum(1) >= LEAST * inside.sum(1).max()
    apart, moved = (((x - a) * mask).movedim(1 + axis, 0).flatten(1)[used] for x in (b, image))
    shares = (moved * apart).sum(1) / apart.square().sum(1)
    return pd.DataFrame({"slice": used.nonzero()[:, 0].numpy(), "look": shares.numpy()})


def residual(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Image less the truth in the image's own style, [0,1] scale, 0 outside: (1,D,H,W) from [-1,1].

    The truth's values are moved, rank for rank inside the mask, to those of the image: one monotone
    curve for the whole volume, so what remains is not style but unevenness, structure and noise.
    """
    values, order = image[mask], truth[mask].argsort()
    moved = torch.empty_like(values)
    moved[order] = values.sort().values
    result = torch.zeros_like(image)
    result[mask] = (values - moved) / 2
    return result


def slice_means(rest: Tensor, mask: Tensor, axis: int = AXIAL) -> pd.DataFrame:
    """Mean of a residual (1,D,H,W) in the mask for each slice: columns slice, mean.

    Small slices (``LEAST``) are left out.
    """
    inside = mask.movedim(1 + axis, 0).flatten(1)
    count = inside.sum(1)
    used = count >= LEAST * count.max()
    means = (rest.movedim(1 + axis, 0).flatten(1) * inside).sum(1)[used] / count[used]
    return pd.DataFrame({"slice": used.nonzero()[:, 0].numpy(), "mean": means.numpy()})


def unevenness(rest: Tensor, mask: Tensor, axis: int = AXIAL) -> float:
    """Uneven brightness: the standard deviation of ``slice_means``, in the residual's unit."""
    return float(slice_means(rest, mask, axis)["mean"].std())
