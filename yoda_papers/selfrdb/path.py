"""SelfRDB's bridge, whose noise grows up to the source."""

from __future__ import annotations

import torch

from yoda_nb.diffusion.bridges import Bridge


def soft_prior(n_train: int, start: float = 0.1, end: float = 3.0, gamma: float = 1.0) -> Bridge:
    """A bridge with a soft prior: its noise grows up to the source (Arslan et al. 2024, arXiv 2405.06789).

    beta rises from ``start`` towards ``end`` / T in its square root and falls again after half the
    times. From the target's side they add up to s^2, from the source's to r^2; a and b are the
    weights of the product of those two Gaussians, and the noise is gamma S s / (s^2 + r^2) with S
    the sum of all beta, so gamma sqrt(S) remains at the source.
    """
    ramp = torch.linspace(start**0.5, (end / n_train) ** 0.5, n_train + 1, dtype=torch.float64).square()
    steps = torch.arange(n_train + 1)
    beta = torch.cat([torch.zeros(1, dtype=torch.float64), ramp])[torch.minimum(steps, n_train - steps)]
    fore = torch.cumsum(beta, 0)  # s^2 at 0 .. T
    whole = fore + fore.flip(0)
    weights = (fore.flip(0) / whole, fore / whole, gamma * beta.sum() * fore.sqrt() / whole)
    return Bridge("selfrdb", *(w[1:] for w in weights))
