"""Samplers: functions of a denoiser that go from noise to an image along pairs of times.

Every sampler is called as ``sampler(denoise, x, pairs, noise=..., on_step=...)`` and returns x0 (1,D,H,W) in the range
that the denoiser gives, as in k-diffusion. It may call the denoiser as often as it needs and remember earlier
estimates. ``pairs`` hold the times (t, s), s < t; the last one is (t, -1) and gives x0 itself.
``on_step(i, (t, s), x_s, x0)`` sees every step with the x0 that the denoiser made of x_t; nothing else is kept.

The third argument of ``denoise(x, t, i)`` is the index of the step, which chooses the view of a volume. A sampler that
evaluates twice in a step looks through one view both times: the difference of its estimates is then that of their
times, without that of two views, which a second-order step would enlarge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import Protocol

import torch
from torch import Tensor

from yoda_nb.diffusion.process import Denoiser, Pair, Step, gaussian, vp_step
from yoda_nb.diffusion.schedules import Schedule

Noise = Callable[[Tensor, int, int], Tensor]  # (x_t, t, s) -> standard normal noise for the step, like x_t
OnStep = Callable[[int, Pair, Tensor, Tensor], None]  # (step index, (t, s), x_s, x0)


class Sampler(Protocol):
    """From x at the first time of ``pairs`` to x0: both (1,D,H,W)."""

    def __call__(
        self, denoise: Denoiser, x: Tensor, pairs: Sequence[Pair], *, noise: Noise, on_step: OnStep | None = None
    ) -> Tensor: ...


def noise_from(generator: torch.Generator, noiseless: Callable[[int, int], bool] | None = None) -> Noise:
    """Noise drawn from ``generator``; zeros, and nothing drawn, for steps of which ``noiseless(t, s)`` holds.

    Where ``generator`` is drawn from again afterwards leave ``noiseless`` out: later draws would be other numbers.
    """

    def noise(x: Tensor, t: int, s: int) -> Tensor:
        quiet = noiseless is not None and noiseless(t, s)
        return torch.zeros_like(x) if quiet else gaussian(x.shape, generator, like=x)

    return noise


def stepwise(step: Step) -> Sampler:
    """The sampler that repeats one step: ``vp_step`` (DDPM, DDIM, fresh noise), or a step of a bridge."""

    def sampler(
        denoise: Denoiser, x: Tensor, pairs: Sequence[Pair], *, noise: Noise, on_step: OnStep | None = None
    ) -> Tensor:
        for i, (t, s) in enumerate(pairs):
            x0 = denoise(x, t, i)
            x = x0 if s < 0 else step(x, x0, t, s, noise(x, t, s))
            if on_step is not None:
                on_step(i, (t, s), x, x0)
        return x

    return sampler


def heun(
    denoise: Denoiser,
    x: Tensor,
    pairs: Sequence[Pair],
    *,
    schedule: Schedule,
    noise: Noise | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Heun's second-order method for the probability-flow ODE (Karras et al. 2022, Alg. 1; Alg. 2 without churn).

    The ODE is d x' / d sigma = (x' - x0) / sigma for x' = x / sqrt(ab) and sigma = sqrt((1 - ab) / ab). A step of
    Euler, which is DDIM's, goes to s; the mean of the slopes at t and there replaces it. Of the slopes' difference

        x'_s = x'_euler + (sigma_t / sigma_s - 1) / 2 (x0 at s - x0 at t)

    remains. The last pair is a step of Euler alone: N steps take 2 N - 1 evaluations. No noise is drawn.
    """
    for i, (t, s) in enumerate(pairs):
        x0 = denoise(x, t, i)
        if s < 0:
            x = x0
        else:
            euler = _ddim(x, x0, t, s, schedule)
            ratio = exp((schedule.log_snr(s) - schedule.log_snr(t)) / 2)  # sigma_t / sigma_s
            x = euler + schedule.at(s) ** 0.5 * (ratio - 1) / 2 * (denoise(euler, s, i) - x0)
        if on_step is not None:
            on_step(i, (t, s), x, x0)
    return x


def dpmpp_2m(
    denoise: Denoiser,
    x: Tensor,
    pairs: Sequence[Pair],
    *,
    schedule: Schedule,
    noise: Noise | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """DPM-Solver++(2M), second order by the x0 of the step before (Lu et al. 2022, arXiv 2211.01095, Alg. 2).

    With h the growth of lambda = log(sqrt(ab) / sqrt(1 - ab)) in a step and r = (h of the step before) / h, the step is
    DDIM's with x0 + (x0 - x0 of the step before) / (2 r) in place of x0. The first step is DDIM's own; the last pair
    gives x0, to which the formula tends for h to infinity. One evaluation a step; no noise is drawn. Where
    views turn, the estimate of the step before is through another view.
    """
    before: Tensor | None = None
    h_before = 0.0
    for i, (t, s) in enumerate(pairs):
        x0 = denoise(x, t, i)
        if s < 0:
            x = x0
        else:
            h = (schedule.log_snr(s) - schedule.log_snr(t)) / 2
            ahead = x0 if before is None else x0 + h / (2 * h_before) * (x0 - before)
            x = _ddim(x, ahead, t, s, schedule)
            before, h_before = x0, h
        if on_step is not None:
            on_step(i, (t, s), x, x0)
    return x


def _ddim(x: Tensor, x0: Tensor, t: int, s: int, schedule: Schedule) -> Tensor:
    """The step of DDIM, which is Euler's for the ODE and the first-order step of DPM-Solver++."""
    return vp_step(x, x0, t, s, torch.zeros_like(x), schedule=schedule, sigma="zero")
