"""One level of the CDF 9/7 wavelet (biorthogonal 4,4) over slices, and its exact inverse.

Written as four lifting steps, each of which the inverse takes back, so reconstruction is perfect
for any border; here the border repeats by whole-sample reflection.
"""

from __future__ import annotations

import torch
from torch import Tensor

# predict, update, predict, update: the factors of the 9/7 filter pair
LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
# scales the low band to a gain of sqrt(2) for constants, so that white noise keeps about its variance
GAIN = 2**0.5 / 1.230174104914001


def decompose(x: Tensor) -> Tensor:
    """Slices -> their four bands at half the size: (N,C,A,B) -> (N,4C,A/2,B/2), A and B even.

    Channels hold the low band of every input channel first (a mean, twice as large), then detail
    along B, along A, and along both. [Koch 3.2]
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise ValueError(f"a wavelet halves both sides: they must be even, got {tuple(x.shape[-2:])}")
    return torch.cat([band for half in _split(x, -2) for band in _split(half, -1)], 1)


def reconstruct(bands: Tensor) -> Tensor:
    """The exact inverse of ``decompose``: (N,4C,A/2,B/2) -> (N,C,A,B)."""
    low, along_b, along_a, both = bands.chunk(4, 1)
    return _join(_join(low, along_b, -1), _join(along_a, both, -1), -2)


def _split(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Low and high band along a dimension counted from the end, each half as long."""
    low, high = x.unflatten(dim, (-1, 2)).unbind(dim)
    for k, factor in enumerate(LIFTING):
        if k % 2 == 0:
            high = high + factor * (low + _ahead(low, dim))
        else:
            low = low + factor * (high + _behind(high, dim))
    return low * GAIN, high / GAIN


def _join(low: Tensor, high: Tensor, dim: int) -> Tensor:
    low, high = low / GAIN, high * GAIN
    for k, factor in reversed(list(enumerate(LIFTING))):
        if k % 2 == 0:
            high = high - factor * (low + _ahead(low, dim))
        else:
            low = low - factor * (high + _behind(high, dim))
    return torch.stack([low, high], dim).flatten(dim - 1, dim)


def _ahead(x: Tensor, dim: int) -> Tensor:
    """The next sample; after the last one the last again."""
    return torch.cat([x.narrow(dim, 1, x.shape[dim] - 1), x.narrow(dim, x.shape[dim] - 1, 1)], dim)


def _behind(x: Tensor, dim: int) -> Tensor:
    """The sample before; before the first one the first again."""
    return torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, x.shape[dim] - 1)], dim)
