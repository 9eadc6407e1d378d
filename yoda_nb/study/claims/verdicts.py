"""Numbers -> verdicts: an effect with its 95 % interval, judged by a rule stated with it.

A claim is *reproduced* if the interval of every effect lies on the side that its rule names, *not
reproduced* if that of any lies wholly on the other side, else *inconclusive*. "Not significant" is
therefore never read as "equal": equality needs an interval inside a margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from yoda_nb.study.tables import interval, paired_difference

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
CONFIDENCE = 0.95
LABELS = {"ssim": "SSIM", "psnr": "PSNR", "dice": "Dice", "alvr": "ALVR", "cnr": "CNR"}


@dataclass(frozen=True)
class Effect:
    """One measured quantity and the rule that it is judged by."""

    name: str  # "SSIM, regression less diffusion"
    value: float
    low: float  # 95 % interval
    high: float
    n: int  # what the interval is over: subjects, unless the test says otherwise
    rule: str  # ">", "<" or "within": the interval above, below, or inside -margin..margin
    margin: float = 0.0
    unit: str = ""
    test: str = ""
    p: float | None = None

    @property
    def verdict(self) -> str:
        if not np.isfinite([self.value, self.low, self.high]).all():
            return INCONCLUSIVE
        if self.rule == ">":
            inside, outside = self.low > self.margin, self.high <= self.margin
        elif self.rule == "<":
            inside, outside = self.high < self.margin, self.low >= self.margin
        elif self.rule == "within":
            inside = -self.margin < self.low and self.high < self.margin
            outside = self.low >= self.margin or self.high <= -self.margin
        else:
            raise ValueError(f"rule {self.rule!r} is unknown: choose '>', '<' or 'within'")
        return REPRODUCED if inside else NOT_REPRODUCED if outside else INCONCLUSIVE

    @property
    def found(self) -> str:
        """The value with its interval in words."""
        if np.isnan(self.value):
            return "not measured"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] {self.unit}".rstrip()

    @property
    def stated(self) -> str:
        """The rule in words."""
        sign = "within ±" if self.rule == "within" else f"{self.rule} "
        return f"{sign}{self.margin:g}{' ' + self.unit if self.unit else ''}"


def combined(effects: Sequence[Effect]) -> str:
    """The verdict of a claim with several effects; inconclusive without any."""
    verdicts = {effect.verdict for effect in effects}
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if verdicts == {REPRODUCED} else INCONCLUSIVE


def mean_effect(
    name: str,
    values: ArrayLike,
    rule: str,
    margin: float = 0.0,
    *,
    unit: str = "",
    test: str = "t interval over subjects",
) -> Effect:
    """A mean over subjects with its t interval."""
    x = np.asarray(values, float)
    return Effect(name, *interval(x), len(x), rule, margin, unit, test)


def paired_effect(
    table: pd.DataFrame,
    metric: str,
    a: str,
    b: str,
    rule: str,
    margin: float = 0.0,
    *,
    by: str = "sampler",
    unit: str = "",
    name: str = "",
) -> Effect:
    """The mean of metric(a) - metric(b) over subjects, with a Wilcoxon signed-rank test.

    ``table`` has a row for each subject and level of ``by``; several rows of one (seeds of a
    training) are averaged first, since only subjects are independent draws here.
    """
    wide = table.groupby(["subject", by])[metric].mean().unstack(by)
    d = (wide[a] - wide[b]).dropna().to_numpy()
    mean, low, high, p = paired_difference(d)
    tested = p if len(d) > 1 and d.any() else None
    label = name or f"{LABELS.get(metric, metric)}, {a} less {b}"
    return Effect(label, mean, low, high, len(d), rule, margin, unit, "paired; Wilcoxon signed-rank", tested)


def bootstrap_effect(
    name: str, value: float, draws: ArrayLike, n: int, rule: str, margin: float = 0.0, *, unit: str = ""
) -> Effect:
    """A statistic of the whole set, with the percentile interval of its bootstrap over subjects."""
    x = np.asarray(draws, float)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(x, [tail, 100 - tail]) if len(x) > 1 else (-np.inf, np.inf)
    return Effect(name, float(value), float(low), float(high), n, rule, margin, unit, "bootstrap over subjects")
