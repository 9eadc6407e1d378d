"""What weights of SynDiff's losses and rest of its modules are worth, beside the paper [SynDiff Tables VIII-X].

No claim rests on them: trainings of the shared budget, one seed each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from yoda_papers.syndiff.tables import SWEEP, SYNDIFF

SCORES = ["ssim", "psnr"]
CHOSEN = (30.09, 27.10, 26.86)  # PSNR (dB) of the paper's SynDiff: PD to T1, T1 to T2, T2 to CT
PAPER = {  # training -> the same of its variants: half and twice each weight, modules that rest
    "syndiff-cycle-phi-0.5": (30.04, 26.67, 26.81),
    "syndiff-cycle-phi-2": (30.11, 27.33, 27.07),
    "syndiff-cycle-theta-0.5": (29.85, 27.18, 27.09),
    "syndiff-cycle-theta-2": (30.06, 27.90, 27.06),
    "syndiff-adversarial-phi-0.5": (30.12, 27.82, 26.80),
    "syndiff-adversarial-phi-2": (29.66, 26.99, 26.72),
    "syndiff-adversarial-theta-0.5": (29.97, 27.29, 26.76),
    "syndiff-adversarial-theta-2": (29.60, 27.20, 26.83),
    "syndiff-pretrained-frozen": (29.19, 27.23, 26.77),
    "syndiff-pretrained-trained": (29.24, 27.44, 26.97),
    "syndiff-frozen-0.1": (19.88, 25.26, 22.59),
    "syndiff-frozen-0.2": (27.68, 26.04, 24.29),
    "syndiff-frozen-0.5": (29.51, 26.47, 26.03),
}


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """What each variant scores more than SynDiff on the same subject: columns subject, sampler, ssim, psnr, table.

    ``table`` is ``unpaired`` against one reference; variants that it does not have are left out.
    """
    wide = table.groupby(["sampler", "subject"])[SCORES].mean()
    rows = [label for label in SWEEP if label in wide.index]
    parts = [(wide.loc[label] - wide.loc[SYNDIFF]).assign(sampler=label, table=_table(label)) for label in rows]
    return pd.concat(parts).reset_index() if parts else pd.DataFrame(columns=["subject", *SCORES, "sampler", "table"])


def paper_gain(labels: Sequence[str]) -> pd.Series:
    """label -> PSNR (dB) of the paper's variant less its SynDiff's, averaged over its three tasks."""
    return pd.Series({label: float(np.subtract(PAPER[SWEEP[label][1]], CHOSEN).mean()) for label in labels})


def _table(label: str) -> str:
    """Where the paper has it."""
    name = SWEEP[label][1]
    return "Table IX" if "pretrained" in name else "Table X" if "frozen" in name else "Table VIII"
