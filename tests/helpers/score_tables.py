"""Tables of scores whose differences are known."""

from __future__ import annotations

import numpy as np
import pandas as pd


def scores(**shift: float) -> pd.DataFrame:
    """Ten subjects; each system's SSIM is its shift above a subject's own level, with a little wobble."""
    rng = np.random.default_rng(0)
    level = rng.normal(0.8, 0.05, 10)
    rows = [
        {
            "subject": f"s{k}",
            "sampler": name,
            "reference": "acquired",
            "ssim": level[k] + by + 0.001 * rng.random(),
            "psnr": 20 + by + 0.001 * rng.random(),
        }
        for name, by in shift.items()
        for k in range(10)
    ]
    return pd.DataFrame(rows)


def fractions(found: dict[str, list[float]]) -> pd.DataFrame:
    """The volume fraction of each subject by each sampler."""
    rows = [(k, name, f) for name, fs in found.items() for k, f in enumerate(fs)]
    return pd.DataFrame(rows, columns=["subject", "sampler", "volume_fraction"])
