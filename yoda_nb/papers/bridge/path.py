"""The Brownian bridge from target to source (seed 004, 2.1)."""

from __future__ import annotations

import torch

from yoda_nb.diffusion.bridges import Bridge


def brownian(n_train: int, s: float = 1.0) -> Bridge:
    """Brownian bridge: m_t = t/T, variance 2 s (m - m^2) (seed 004, eq. 1)."""
    m = torch.arange(1, n_train + 1, dtype=torch.float64) / n_train
    return Bridge("brownian", 1 - m, m, (2 * s * (m - m * m)).clamp(min=0).sqrt())
