"""Noise schedules of variance-preserving diffusion by name.

A schedule is the share of signal variance left at each time; its log-SNR is what nets trained in
continuous time are told, so that one schedule can stand in for another after training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """The noise schedule as the share of signal variance left at each time."""

    name: str
    alpha_bar: Tensor  # (T,) float64, falling; YODA, eq. 4

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def at(self, t: int) -> float:
        """alpha_bar at time t, exactly 1 at t = -1 (the clean image)."""
        return 1.0 if t < 0 else float(self.alpha_bar[t])

    def log_snr(self, t: int) -> float:
        """log(alpha_bar / (1 - alpha_bar)) at a time t of 0 .. T-1 [Koch 2.2]."""
        return log(self.at(t)) - log(1 - self.at(t))


def _linear(n_train: int) -> Tensor:
    # DDPM's 1e-4 .. 0.02 belong to 1000 steps; scaled so that any T ends in pure noise
    return _product(torch.linspace(1e-4, 0.02, n_train, dtype=torch.float64) * (1000 / n_train))


def _cosine(n_train: int) -> Tensor:
    edges = torch.linspace(0, 1, n_train + 1, dtype=torch.float64)
    signal = torch.cos((edges + 0.008) / 1.008 * torch.pi / 2) ** 2
    return _product(1 - signal[1:] / signal[:-1])


def fast_diffusion(n_train: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Tensor:
    """gamma_t of each of the T/k steps of SynDiff (eq. 10), its t/T counted as 1/n .. 1: (n,).

    The paper prints +beta_min k/T in the exponent, which makes the first of many small steps remove
    noise (gamma < 0); with -, as here, the product of 1 - gamma is that of the continuous process
    of variance beta_min + (beta_max - beta_min) t/T for any number of steps.
    """
    t, k = torch.arange(1, n_train + 1, dtype=torch.float64) / n_train, 1 / n_train
    return 1 - torch.exp(-beta_min * k - (beta_max - beta_min) * (2 * t * k - k**2) / 2)


def _syndiff(n_train: int) -> Tensor:
    return torch.cumprod(1 - fast_diffusion(n_train), 0)


def _product(beta: Tensor) -> Tensor:
    """Variances of the noise that each time adds -> the share of signal left: (T,) both."""
    return torch.cumprod(1 - beta.clamp(max=0.999), 0)


# In continuous time u in [0,1] nets are told log-SNR within these limits: beyond them an image is as
# good as noise-free or as noise, and too few training images would lie there to learn from. Koch prints the cosine
# without limits; its authors' code rescales u so that log-SNR runs from 15 to -15 and no time sits at a limit. The
# limit of 10 acts for u below 0.0043 or above 0.9957, less than a hundredth of training; of 128 even steps of the
# cosine only the first begins there, with a share of the image's variance of 5e-5 in place of 3e-7.
LOG_SNR_LIMIT = 10.0
SHIFT = 2 * log(32 / 256)  # Koch, App. A: reference resolution 32, image side 256


def cosine_log_snr(u: Tensor) -> Tensor:
    """-2 log tan(pi u / 2), so that alpha = cos(pi u / 2) [Koch 2.2]."""
    return -2 * torch.tan(torch.pi / 2 * u).log()


def shifted_cosine_log_snr(u: Tensor) -> Tensor:
    """The cosine's log-SNR moved by 2 log(d / 256) [Koch eq. A.1]."""
    return cosine_log_snr(u) + SHIFT


def sigmoid_log_snr(u: Tensor, tau: float, end: float = 3.0) -> Tensor:
    """alpha^2 = (sigmoid(e / tau) - sigmoid(e u / tau)) / (sigmoid(e / tau) - 1/2).

    Jabri et al. 2023 with start 0 and end e, which Koch, App. A, leaves open: its authors' code has the same 0
    and 3, but takes the right-hand side for alpha, so that noise prevails still longer.
    """
    a = end / tau
    # sigmoid(-x) = 1 - sigmoid(x) keeps its digits where sigmoid(x) is close to 1
    signal = (torch.sigmoid(-a * u) - torch.sigmoid(-u.new_tensor(a))) / (0.5 - torch.sigmoid(-u.new_tensor(a)))
    return torch.logit(signal.clamp(1e-12, 1 - 1e-12))


LOG_SNRS: dict[str, Callable[[Tensor], Tensor]] = {
    "alpha-cosine": cosine_log_snr,
    "shifted-cosine": shifted_cosine_log_snr,
    "sigmoid-0.5": partial(sigmoid_log_snr, tau=0.5),
    "sigmoid-0.1": partial(sigmoid_log_snr, tau=0.1),
    "sigmoid-0.008": partial(sigmoid_log_snr, tau=0.008),
}


def log_snr(name: str, u: Tensor) -> Tensor:
    """log(alpha^2 / sigma^2) at continuous times u in [0,1], within the limits: the same shape.

    alpha^2 = sigmoid(log-SNR) and sigma^2 = sigmoid(-log-SNR) [Koch 2.2]. ValueError for a
    schedule that is not defined in continuous time.
    """
    if name not in LOG_SNRS:
        raise ValueError(f"schedule {name!r} has no continuous time: choose among {', '.join(LOG_SNRS)}")
    # in float64, where tan(pi / 2) is still positive
    return LOG_SNRS[name](u.double()).clamp(-LOG_SNR_LIMIT, LOG_SNR_LIMIT).to(u.dtype)


def _continuous(name: str, n_train: int) -> Tensor:
    """Time t of 0 .. T-1 is u = (t + 1) / T, so the clean image, -1, is u = 0."""
    return torch.sigmoid(log_snr(name, torch.arange(1, n_train + 1, dtype=torch.float64) / n_train))


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "linear": _linear,  # DDPM, the default of YODA
    "cosine": _cosine,  # YODA, Table V
    **{name: partial(_continuous, name) for name in LOG_SNRS},  # Koch, 2.2 and App. A
    "syndiff": _syndiff,  # SynDiff, eq. 8-10: few large steps
}


def schedule(name: str = "linear", n_train: int = 1000) -> Schedule:
    """A schedule by name with ``n_train`` times; ValueError, listing the names, for an unknown one."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r} is unknown: choose among {', '.join(SCHEDULES)}")
    return Schedule(name, SCHEDULES[name](n_train))
