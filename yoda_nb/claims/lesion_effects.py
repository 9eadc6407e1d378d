"""Effects on lesions (seed 000, IV-A: Table I right, Fig. 4)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from yoda_nb.claims.verdicts import Effect, paired_effect
from yoda_nb.downstream import icc31
from yoda_nb.evidence import Study
from yoda_nb.segmentation import logit_fraction

EQUAL_DICE, EQUAL_ALVR = 0.05, 0.1  # Dice and doublings of volume that a reader would not notice
SMOOTH = ("regression", "ExpA 10")


def smooth_segments_better(study: Study) -> list[Effect]:
    """Y23: regression and the largest ExpA over diffusion, in overlap and in volume."""
    t = study.table("lesions")
    smooth = ("regression", f"ExpA {max(study.settings.n_ex)}")
    return [
        effect
        for label in smooth
        for effect in (
            paired_effect(t, "dice", label, "diffusion", ">"),
            paired_effect(t, "alvr", label, "diffusion", "<", unit="doublings"),
        )
    ]


def contrast_kept(study: Study) -> list[Effect]:
    """Y24: contrast to the noise-free truth's: regression keeps it, diffusion has less."""
    t = study.table("lesions")
    share = t.assign(contrast=100 * t.contrast / t.true_contrast)
    return [
        paired_effect(share, "contrast", "regression", "acquired", "within", 10, unit="% of the true contrast",
                      name="lesion contrast, regression less acquired"),
        paired_effect(share, "contrast", "diffusion", "regression", "<", unit="% of the true contrast",
                      name="lesion contrast, diffusion less regression"),
    ]  # fmt: skip


def as_good_as_acquired(study: Study) -> list[Effect]:
    """Y25: not worse than acquired by more than the margin (a gain counts as "as well")."""
    t = study.table("lesions")
    return [
        paired_effect(t, "dice", "regression", "acquired", ">", -EQUAL_DICE),
        paired_effect(t, "alvr", "regression", "acquired", "<", EQUAL_ALVR, unit="doublings"),
    ]


def volumes_agree(study: Study) -> list[Effect]:
    """Y26: ICC(3,1) of logit volume fractions, synthetic against acquired."""
    t: pd.DataFrame = study.table("lesions")
    fraction = t.assign(logit=logit_fraction(t.volume_fraction)).pivot(index="subject", columns="sampler", values="logit")
    pair = fraction[["acquired", "regression"]].replace([np.inf, -np.inf], np.nan).dropna()
    found = icc31(pair.to_numpy())
    return [Effect("ICC(3,1) of logit lesion volumes", found["icc"], found["ci_low"], found["ci_high"], found["n"], ">",
                   0.9, "", "ICC from two-way ANOVA, F interval")]  # fmt: skip
