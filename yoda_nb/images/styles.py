"""Style keys: the histogram of a whole image as a description of its contrast [SKC-ISTA 2.2].

A histogram of (bins,) is a share of voxels a bin, so it sums to 1; a key is what a net is given of
it. Averages, distances and what a model card keeps are all of histograms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yoda_nb.errors import InputError

BINS = 128  # B of SKC-ISTA
SCALE = 10  # of key channels: a bin holds about a hundredth of the voxels


def histogram(image: Tensor, mask: Tensor, bins: int = BINS) -> Tensor:
    """Shares (bins,) of the voxels inside the mask over [-1,1]; image and mask (1,D,H,W).

    Voxels beyond the range count in the outermost bins. Raises InputError for an empty mask.
    """
    values = image[mask.bool()].float()
    if not len(values):
        raise InputError("A style key needs an image with at least one voxel inside the mask.")
    index = ((values + 1) / 2 * bins).long().clamp(0, bins - 1)
    return torch.bincount(index, minlength=bins).float() / len(values)


def style_key(shares: Tensor) -> Tensor:
    """c_SKC (3,bins): histogram, cumulative histogram and histogram differential [SKC-ISTA 2.2].

    ``shares`` (bins,) -> histogram times ``SCALE``, its running sum from 0 to 1, and its change
    from bin to bin (0 in the first) times ``SCALE`` squared: all of order one.
    """
    change = torch.diff(shares, prepend=shares[:1])
    return torch.stack([SCALE * shares, shares.cumsum(0), SCALE**2 * change])


def nearest(shares: Tensor, candidates: Tensor) -> int:
    """The candidate (K,bins) closest to a histogram (bins,) in earth mover's distance."""
    return int(distances(shares, candidates).argmin())


def distances(shares: Tensor, candidates: Tensor) -> Tensor:
    """Earth mover's distance (K,) of histograms (K,bins) to one (bins,), on the [0,1] scale."""
    return (candidates.cumsum(-1) - shares.cumsum(-1)).abs().mean(-1)


def pack(shares: Tensor) -> str:
    """A histogram as text for a model card: whole numbers of 1/10000, a space between."""
    return " ".join(str(int(n)) for n in (shares * 10_000).round())


def unpack(text: str | Sequence[str]) -> Tensor:
    """Inverse of ``pack``, up to rounding: (bins,), or (K,bins) of several; each sums to 1."""
    if not isinstance(text, str):
        return torch.stack([unpack(one) for one in text])
    shares = torch.tensor([float(n) for n in text.split()])
    return shares / shares.sum()
