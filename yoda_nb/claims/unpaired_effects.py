"""Effects of adversarial diffusion from unpaired data (seed 002). Rules were set before any score was seen.

A row of the evidence whose model is not shipped gives an effect without a value: it leaves the verdict
inconclusive and shows what is lacking.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np
import pandas as pd

from yoda_nb.claims.verdicts import Effect, bootstrap_effect, mean_effect, paired_effect
from yoda_nb.evidence import Study
from yoda_nb.evidence.unpaired import ABLATIONS, DDPM, GAN, PROJECTORS, STEPS, SYNDIFF

EQUAL_PSNR = 0.2  # dB, as Table VIII is summed up
SPREAD = 0.02  # dB, V-D
PAPER = 470  # times faster: 85.773 s against 0.182 s (Table V)
MUCH_BETTER = 0.37  # doublings: the smallest gain of Table VI, 96.96 against 75.04


def _acquired(study: Study) -> pd.DataFrame:
    """Against acquired images, as the paper scores."""
    t = study.table("unpaired")
    return t[t.reference == "acquired"]


def _lacking(name: str, rule: str, margin: float = 0.0, unit: str = "") -> Effect:
    return Effect(f"{name} (no model shipped)", nan, nan, nan, 0, rule, margin, unit)


def _compared(
    t: pd.DataFrame, others: Sequence[str], metrics: dict[str, str], rule: str, margin: float = 0.0
) -> list[Effect]:
    """SynDiff less each of the others."""
    found = []
    for other in others:
        for metric, unit in metrics.items():
            name = f"{metric.upper()}, {SYNDIFF} less {other}"
            if {SYNDIFF, other} <= set(t.sampler):
                found.append(paired_effect(t, metric, SYNDIFF, other, rule, margin, unit=unit, name=name))
            else:
                found.append(_lacking(name, rule, margin, unit))
    return found


def best_unpaired(study: Study) -> list[Effect]:
    """S01."""
    return _compared(_acquired(study), (DDPM, GAN), {"ssim": "", "psnr": "dB"}, ">")


def projectors(study: Study) -> list[Effect]:
    """S02: "much better" is at least the paper's smallest gain; a factor of two counts as "near"."""
    adversarial, few, many = PROJECTORS
    return [
        _ratio(study, few, adversarial, ">", MUCH_BETTER),
        _ratio(study, adversarial, many, "within", 1.0),
    ]


def _ratio(study: Study, a: str, b: str, rule: str, margin: float) -> Effect:
    """FD of a over that of b, in doublings."""
    name = f"FD, {a} over {b}, in doublings"
    wide = study.table("projectors").pivot(index="draw", columns="sampler", values="fd")
    if not {a, b} <= set(wide.columns):
        return _lacking(name, rule, margin)
    found = np.log2(wide[a] / wide[b])
    return bootstrap_effect(name, found.iloc[0], found.iloc[1:], study.settings.evidence, rule, margin)


def parts_help(study: Study) -> list[Effect]:
    """S03."""
    return _compared(_acquired(study), list(ABLATIONS), {"ssim": "", "psnr": "dB"}, ">")


def speed(study: Study) -> list[Effect]:
    """S04: at least half of what the number of evaluations gives, and the paper's number within a factor of two."""
    t = study.table("unpaired_latency")
    rules = {"seconds a slice, DDPM / SynDiff": (">", 125.0, "times"),
             f"DDPM / SynDiff, in doublings of {PAPER}": ("within", 1.0, "")}  # fmt: skip
    if not {SYNDIFF, DDPM} <= set(t.sampler):
        return [_lacking(name, *rule) for name, rule in rules.items()]
    wide = t.pivot(index="subject", columns="sampler", values="seconds")
    ratio = wide[DDPM] / wide[SYNDIFF]
    return [
        mean_effect(name, values, rule, margin, unit=unit)
        for (name, (rule, margin, unit)), values in zip(rules.items(), (ratio, np.log2(ratio / PAPER)), strict=True)
    ]


def steps_agree(study: Study) -> list[Effect]:
    """S05: an equivalence of T/k = 4 with 2 and 8, each with a training of its own."""
    return _compared(_acquired(study), list(STEPS), {"psnr": "dB"}, "within", EQUAL_PSNR)


def samples_agree(study: Study) -> list[Effect]:
    """S06: the standard deviation over ten samples of a cross-section's PSNR."""
    t = study.table("unpaired_spread")
    name = "standard deviation of a slice's PSNR over samples"
    if not len(t) or SYNDIFF not in set(t.sampler):
        return [_lacking(name, "<", SPREAD, "dB")]
    return [mean_effect(name, t[t.sampler == SYNDIFF].groupby("subject").slice_std.first(), "<", SPREAD, unit="dB")]


EFFECTS = {
    "S01": best_unpaired,
    "S02": projectors,
    "S03": parts_help,
    "S04": speed,
    "S05": steps_agree,
    "S06": samples_agree,
}
NOTES: dict[str, str] = {
    "S01": "One training each, of 16,000 slabs of a domain; the paper's see 2500 slices 50 times. UNIT, MUNIT, "
    "AttGAN, SAGAN and UNIT-DDPM, which the paper also beats, are not in this project. The DDPM takes 100 of its "
    "1000 steps here.",
    "S02": "In so short a training the discriminators hardly leave chance: SynDiff's generator loss ends near 2.9, of "
    "which four undecided discriminators make 4 ln 2 = 2.77.",
    "S03": "One training each, too short for the discriminators (see S02).",
    "S04": "Both are the same net here, so the evaluations alone give a factor of 250.",
    "S05": "Each number of steps needs a training of its own; those of 2 and 8 steps are in the table of trainings "
    "(python docs/train_systems.py --only syndiff-2 syndiff-8), but take part only where their models are there.",
    "S06": "That samples agree does not say that they are right: see S01 for their distance to the acquired image.",
}
