"""Trajectory alignment: slices that are sampled apart agree [SKC-ISTA 2.3]."""

from __future__ import annotations

import torch
from torch import Tensor

from yoda_nb.diffusion.bridges import Bridge, kernel_variance, score
from yoda_nb.diffusion.process import Denoiser, Step


def corrected(
    step: Step,
    denoise: Denoiser,
    *,
    y: Tensor,
    bridge: Bridge,
    corrections: int,
    size: float,
    axis: int = 2,
    mask: Tensor | None = None,
) -> Step:
    """A step of a bridge that is then corrected without noise (ISTA; SKC-ISTA, eq. 5-6).

    After ``step`` has gone from t to s, ``corrections`` times: x + size var_{s|s-1} S / mean(S^2) for
    the score S at s of a newly co-predicted x0, the mean over the voxels of each slice along
    ``axis`` (inside ``mask``). The mean square is ||S||^2 / d of the paper. Costs an evaluation each.

    Where S is small that move is long: it grows as one over the root mean square of S. It is
    therefore cut to at most the whole way to the mean a x0 + b y, where S is zero.
    """

    def stepped(x: Tensor, x0: Tensor, t: int, s: int, noise: Tensor) -> Tensor:
        x = step(x, x0, t, s, noise)
        longest, gain = bridge.at(s)[2] ** 2, size * kernel_variance(bridge, s, s - 1)
        for _ in range(corrections):
            slope = score(x, denoise(x, s, 0), s, y=y, bridge=bridge)
            share = (gain / _mean_square(slope, mask, axis)).clamp(max=longest)  # (N,1,1,1)
            x = (slope.movedim(1 + axis, 0) * share).movedim(0, 1 + axis) + x
        return x

    return stepped


def _mean_square(x: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """Mean square of each slice of (1,D,H,W) along an axis, inside a mask: (N,1,1,1), above 0."""
    squares = x.square().movedim(1 + axis, 0)
    inside = torch.ones_like(squares) if mask is None else mask.to(x).movedim(1 + axis, 0)
    return ((squares * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)).clamp(min=1e-12).view(-1, 1, 1, 1)
