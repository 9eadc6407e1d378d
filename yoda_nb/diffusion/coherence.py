"""3-D coherence of slice-wise predictions: view aggregation, slice homogenisation, and a measure of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from yoda_nb.diffusion.process import Denoiser


def aggregate_views(
    denoise: Denoiser, n_views: int = 3, on_views: Callable[[list[Tensor]], None] | None = None
) -> Denoiser:
    """Average the x0 of all views in each step [YODA III-B.5]: costs ``n_views`` evaluations.

    ``on_views`` is given the x0 of each view, (1,D,H,W), before they are averaged.
    """

    def aggregated(x: Tensor, t: int, i: int) -> Tensor:
        views = [denoise(x, t, view) for view in range(n_views)]
        if on_views is not None:
            on_views(views)
        return sum(views, torch.zeros(())) / n_views

    return aggregated


def slice_inconsistency(x: Tensor, mask: Tensor, axis: int) -> float:
    """Standard deviation of the mean-intensity jump between adjacent slices along ``axis``.

    x, mask (1,D,H,W); in the unit of x. The jump is taken over voxels inside the mask in both
    slices, so it holds what a whole slice shares and averages noise away.
    """
    values, inside = x.movedim(1 + axis, 0), mask.movedim(1 + axis, 0)
    both = (inside[1:] & inside[:-1]).flatten(1)  # (N-1, A*B)
    jump = (values[1:] - values[:-1]).flatten(1) * both
    count = both.sum(1)
    used = count >= 0.1 * count.max()
    return float((jump.sum(1)[used] / count[used]).std())


def homogenise_slices(
    x: Tensor, mask: Tensor, axis: int, *, steps: int = 300, lr: float = 0.005, penalty: float = 10.0
) -> Tensor:
    """Correct each slice by (1+a) X^(1+gamma) + c so that neighbours agree [YODA eq. 10-11].

    x (1,D,H,W) in [-1,1], mask (1,D,H,W) bool -> the same shape; slices run along ``axis``;
    intensities outside the mask stay. Minimises the mean squared difference of adjacent slices
    over voxels inside the mask in both, plus ``penalty`` times the mean squared parameter
    (III-D), with Adam, which needs fewer steps than the paper's plain gradient descent.

    Neighbours differ by anatomy too, and a weak penalty lets the correction remove that: the paper prints
    0.01 and its code has 0.02, on intensities in [0,1], of a mask that is eroded first and without slices
    that are thin in it. On two phantoms of 3 mm with slice gains of 5 % the root mean square error, 0.027
    and 0.028, became 0.018 and 0.021 with 10, and 0.29 to 0.35 with 0.02 and 0.01; in the eroded mask
    without slices of less than a fifth of the largest 0.020 with 10, 0.014 and 0.017 with 1, and still
    0.15 to 0.18 with 0.02 and 0.01. With 10 and the whole mask, ``homogenise`` of a system, it also
    fell for gains of 2 to 10 % at 2 and at 4 mm. Another penalty or mask is for this function's caller.
    """
    if x.shape[1 + axis] < 2:
        return x.clone()
    magnitude = ((x + 1) / 2).clamp(1e-4, 1).movedim(1 + axis, 0).flatten(1).float()  # (N, A*B)
    inside = mask.movedim(1 + axis, 0).flatten(1)
    both = (inside[1:] & inside[:-1]).float()
    weight = both / both.sum(1, keepdim=True).clamp(min=1)
    log = magnitude.log()

    def corrected(theta: Tensor) -> Tensor:
        a, gamma, c = theta
        return (1 + a) * torch.exp((1 + gamma) * log) + c

    with torch.enable_grad():
        theta = torch.zeros(3, len(magnitude), 1, device=x.device, requires_grad=True)
        optimiser = torch.optim.Adam([theta], lr=lr)
        for _ in range(steps):
            y = corrected(theta)
            loss = ((y[1:] - y[:-1]).square() * weight).sum(1).mean() + penalty * theta.square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    y = corrected(theta.detach()).clamp(0, 1) * 2 - 1
    volume = y.reshape(x.movedim(1 + axis, 0).shape).movedim(0, 1 + axis).to(x)
    return torch.where(mask, volume, x)
