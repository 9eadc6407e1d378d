"""Diffusion bridges: Gaussian paths from a target image x0 to a source image y, and one step on them.

x_t = a_t x0 + b_t y + std_t eps. Times run 0 .. T-1 from the target towards the source, -1 is the
target itself; the papers count 1 .. T, so their t is ours plus one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIGMAS = ("posterior", "mean", "zero")


@dataclass(frozen=True)
class Bridge:
    """The weights of target, source and noise at each time."""

    name: str
    a: Tensor  # (T,) float64, of the target
    b: Tensor  # (T,) of the source
    std: Tensor  # (T,) of the noise

    def __len__(self) -> int:
        return len(self.a)

    def at(self, t: int) -> tuple[float, float, float]:
        """(a, b, std) at time t; (1, 0, 0) at t = -1."""
        return (1.0, 0.0, 0.0) if t < 0 else (float(self.a[t]), float(self.b[t]), float(self.std[t]))


def kernel_variance(bridge: Bridge, t: int, s: int) -> float:
    """Variance var_{t|s} of the Markov kernel q(x_t | x_s, y), s < t [SKC-ISTA below eq. 1]."""
    (a_t, _, std_t), (a_s, _, std_s) = bridge.at(t), bridge.at(s)
    return max(std_t**2 - (std_s * a_t / a_s) ** 2, 0.0)


def posterior_std(bridge: Bridge, t: int, s: int) -> float:
    """Standard deviation of q(x_s | x_t, x0, y), s < t: var_{t|s} var_s / var_t."""
    std_t, std_s = bridge.at(t)[2], bridge.at(s)[2]
    if std_t == 0:  # x_t is the source itself and tells nothing of the noise
        return std_s
    return kernel_variance(bridge, t, s) ** 0.5 * std_s / std_t


def score(x: Tensor, x0: Tensor, t: int, *, y: Tensor, bridge: Bridge) -> Tensor:
    """Gradient of log q(x_t | x0, y): -(x_t - a_t x0 - b_t y) / var_t [SKC-ISTA eq. 6].

    The paper writes it with the net's output x_t - x0 in place of x0. All images (1,D,H,W); ValueError
    at times without noise, where there is no density.
    """
    a, b, std = bridge.at(t)
    if std == 0:
        raise ValueError(f"{bridge.name} has no noise at t = {t}, so no score")
    return -(x - a * x0 - b * y) / std**2


def bridge_step(
    x: Tensor, x0: Tensor, t: int, s: int, noise: Tensor, *, y: Tensor, bridge: Bridge, sigma: str = "posterior"
) -> Tensor:
    """x_s = a_s x0 + b_s y + sqrt(std_s^2 - sigma^2) eps + noise of a step, for any s < t.

    eps is what x_t holds beyond x0 and y, in units of std_t. With sigma the posterior's standard deviation,
    "posterior" draws from q(x_s | x_t, x0, y) (sigma times ``noise``), and "mean" takes its mean: the same
    share of eps and no noise, which is the deterministic step of the authors of SKC-ISTA (eta = 0 in their
    code). "zero" is DDIM's: sigma = 0, so all of eps stays. All images (1,D,H,W).
    """
    (a_t, b_t, std_t), (a_s, b_s, std_s) = bridge.at(t), bridge.at(s)
    std = 0.0 if sigma == "zero" else posterior_std(bridge, t, s)
    eps = (x - a_t * x0 - b_t * y) / std_t if std_t > 0 else torch.zeros_like(x)
    found = a_s * x0 + b_s * y + max(std_s**2 - std**2, 0.0) ** 0.5 * eps
    return found + std * noise if sigma == "posterior" else found
