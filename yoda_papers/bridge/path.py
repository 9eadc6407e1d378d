"""The Brownian bridge from target to source [SKC-ISTA 2.1]."""

from __future__ import annotations

import torch

from yoda_nb.diffusion.bridges import Bridge

ENDS = ("open", "closed")  # of m_t
MARGIN = 0.001  # how far an open bridge stays from its ends


def brownian(n_train: int, s: float = 1.0, ends: str = "open") -> Bridge:
    """Brownian bridge with m_t from target to source and variance 2 s (m - m^2) [SKC-ISTA eq. 1].

    Ends "closed": m_t = t/T as printed, so x_T is the source. "open", as in the authors' code: m_t runs
    evenly from 0.001 to 0.999, so that there is noise at every time, of standard deviation 0.045 at both ends.
    """
    if ends == "open":
        m = torch.linspace(MARGIN, 1 - MARGIN, n_train, dtype=torch.float64)
    else:
        m = torch.arange(1, n_train + 1, dtype=torch.float64) / n_train
    return Bridge("brownian", 1 - m, m, (2 * s * (m - m * m)).clamp(min=0).sqrt())


def trained_ends(options: dict) -> str:
    """The ends that a training's or a card's options name; "closed" where they do not."""
    return str(options.get("ends", "closed"))
