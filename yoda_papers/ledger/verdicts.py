"""Numbers -> verdicts: an effect with its 95 % interval, judged by a rule stated with it.

A claim is *reproduced* if the interval of every effect lies on the side that its rule names, and *not
reproduced* if that of any lies wholly on the other side and still does when the effects of the claim are
corrected for their number (Holm); else *inconclusive*. "Not significant" is therefore never read as "equal":
equality needs an interval inside a margin. A difference that is wholly inside the metric's margin is none:
"better" is refuted by it. What several feature nets say of one effect counts where two of them are sure and the
estimates of all lie on one side; where two are sure of opposite answers the claim is *disputed*, since then it is
not the data that leave it open. What follows from counting steps, or cannot vary, is *arithmetic*: no evidence for a
claim, and none against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from yoda_nb.study.tables import holm, interval, paired_difference

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"
ARITHMETIC = "arithmetic"
DISPUTED = "disputed"
CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
LEVELS = {2: 0.0294, 3: 0.0221, 4: 0.0182}  # of each of so many looks at growing data, for 5 % in all (Pocock 1977)
SURE = 2  # feature nets whose intervals decide, where there are as many
LABELS = {"ssim": "SSIM", "psnr": "PSNR", "dice": "Dice", "alvr": "ALVR", "cnr": "CNR"}
# A difference of images' scores that is smaller counts as none, wherever a claim says "equal", "almost" or "better".
# Of Dice and doublings of volume: what a reader would not notice; of SSIM and PSNR: little of what samplers differ by.
MARGINS = {"ssim": 0.002, "psnr": 0.1, "dice": 0.05, "alvr": 0.1}
SAME, PAIRED, BOOTSTRAP = "t interval over subjects", "paired; Wilcoxon signed-rank", "bootstrap over subjects"
CROSSED = "paired; t over subjects and trainings"  # with Satterthwaite's degrees of freedom


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
    least: float = 0.0  # the smallest difference that counts, for "more" and "less"
    df: float = np.inf  # of the t distribution that the interval is from
    seeds: int = 0  # trainings of each model that the interval is over too; 0: no trained models are compared
    extractor: str = ""  # the feature net that a distance was measured with
    arithmetic: bool = False  # follows from counts, or cannot vary
    tail: float = TAIL  # of the interval, on either side

    @property
    def label(self) -> str:
        """The name, and the extractor that a distance was measured with."""
        return f"{self.name} ({self.extractor})" if self.extractor else self.name

    @property
    def boundary(self) -> float:
        """Where an estimate begins to speak against the rule, for "more" and "less"."""
        return self.margin + (self.least if self.rule == ">" else -self.least)

    @property
    def verdict(self) -> str:
        if self.arithmetic:
            return ARITHMETIC
        if not np.isfinite([self.value, self.low, self.high]).all():
            return INCONCLUSIVE
        if self.rule == ">":
            outside = self.high <= self.boundary
            inside = self.low > self.margin and not outside
        elif self.rule == "<":
            outside = self.low >= self.boundary
            inside = self.high < self.margin and not outside
        elif self.rule == "within":
            inside = -self.margin < self.low and self.high < self.margin
            outside = self.low >= self.margin or self.high <= -self.margin
        else:
            raise ValueError(f"rule {self.rule!r} is unknown: choose '>', '<' or 'within'")
        return REPRODUCED if inside else NOT_REPRODUCED if outside else INCONCLUSIVE

    @property
    def holds(self) -> bool:
        """Whether the estimate lies where the rule wants it, however unsure."""
        wanted = {">": self.value > self.margin, "<": self.value < self.margin, "within": abs(self.value) < self.margin}
        return bool(wanted[self.rule])

    @property
    def against(self) -> float:
        """One-sided p of an estimate so far on the wrong side where the rule holds; 1 for none.

        As a share of ``tail`` it is what p is of ``TAIL``, so that one level judges all.
        """
        if self.arithmetic or not np.isfinite([self.value, self.low, self.high]).all():
            return 1.0
        over, under = (
            (self.value - self.margin, self.value - self.low),
            (-self.margin - self.value, self.high - self.value),
        )
        beyond, half = {
            ">": (self.boundary - self.value, self.high - self.value),
            "<": (self.value - self.boundary, self.value - self.low),
            "within": over if over[0] > under[0] else under,
        }[self.rule]
        if half <= 0:
            return 0.0 if beyond >= 0 else 1.0
        p = float(stats.t.sf(beyond / half * stats.t.isf(self.tail, self.df), self.df))
        return min(1.0, p * TAIL / self.tail)

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
        counts = f", counts from {self.least:g}" if self.least else ""
        return f"{sign}{self.margin:g}{' ' + self.unit if self.unit else ''}{counts}"

    @property
    def over(self) -> str:
        """What the interval is over, in numbers: subjects, and trainings of each model."""
        return f"{self.n} x {self.seeds} trainings" if self.seeds > 1 else str(self.n)


def combined(effects: Sequence[Effect]) -> str:
    """The verdict of a claim with several effects; inconclusive without any.

    Effects of one name by several feature nets are one, judged by ``agreed``.
    """
    tested = [e for e in effects if not e.arithmetic]
    if not tested:
        return ARITHMETIC if effects else INCONCLUSIVE
    named: dict[tuple[str, int], list[Effect]] = {}
    for k, e in enumerate(tested):
        named.setdefault((e.name, 0 if e.extractor else k + 1), []).append(e)
    groups = list(named.values())
    against = holm([sorted(e.against for e in group)[:SURE][-1] for group in groups])
    contrary = holm([min(e.against for e in group) for group in groups])  # by the net that is most against it
    verdicts = [agreed(group, p) for group, p in zip(groups, contrary, strict=True)]
    if any(p <= TAIL and verdict == NOT_REPRODUCED for p, verdict in zip(against, verdicts, strict=True)):
        return NOT_REPRODUCED
    if DISPUTED in verdicts:
        return DISPUTED
    return REPRODUCED if set(verdicts) == {REPRODUCED} else INCONCLUSIVE


def agreed(group: Sequence[Effect], contrary: float = 0.0) -> str:
    """What several feature nets say of one effect: the verdict of those whose intervals decide.

    It takes ``SURE`` of them, or all if they are fewer, and every net's estimate on that side. Where one is sure for
    the claim and another against it, also when corrected (``contrary``: the least p against it), it is disputed.
    """
    decided = [e.verdict for e in group if e.verdict != INCONCLUSIVE]
    if set(decided) == {REPRODUCED, NOT_REPRODUCED} and contrary <= TAIL:
        return DISPUTED
    if len(decided) < min(SURE, len(group)) or len(set(decided)) > 1:
        return INCONCLUSIVE
    return decided[0] if {e.holds for e in group} == {decided[0] == REPRODUCED} else INCONCLUSIVE


def mean_effect(
    name: str, values: ArrayLike, rule: str, margin: float = 0.0, *, unit: str = "", test: str = SAME, **about: Any
) -> Effect:
    """A mean over subjects with its t interval; ``about`` are further fields of ``Effect``."""
    x = np.asarray(values, float)
    return Effect(name, *interval(x), len(x), rule, margin, unit, test, df=max(len(x) - 1, 1), **about)


def paired_effect(
    table: pd.DataFrame,
    metric: str,
    a: str,
    b: str,
    rule: str,
    margin: float | None = None,
    *,
    by: str = "sampler",
    unit: str = "",
    name: str = "",
) -> Effect:
    """The mean of metric(a) - metric(b) over subjects, with a two-sided p: Wilcoxon's, or of t with several trainings.

    ``table`` has a row for each subject and level of ``by``, and for each ``training`` (seed) where it has that
    column: trainings that both levels share widen the interval by what another training would change
    (``two_way``), and p is of the same t distribution. A margin that is not given is the metric's own: of an
    equality, or the smallest difference that counts.
    """
    seeds = ["training"] if "training" in table else []
    wide = table.groupby([*seeds, "subject", by])[metric].mean().unstack(by)
    d = (wide[a] - wide[b]).dropna()
    each = d.unstack("subject").dropna().to_numpy() if seeds else d.to_numpy()[None]
    subjects = each.mean(0)
    mean, low, high, p = paired_difference(subjects)
    df = float(max(len(subjects) - 1, 1))
    tested, test = (p if len(subjects) > 1 and subjects.any() else None), PAIRED
    if len(each) > 1:
        mean, low, high, df = two_way(each)
        tested, test = _p_of(mean, low, df), CROSSED
    own = MARGINS.get(metric, 0.0)
    least = own if margin is None and rule != "within" else 0.0
    edge = margin if margin is not None else own if rule == "within" else 0.0
    label = name or f"{LABELS.get(metric, metric)}, {a} less {b}"
    n = len(subjects)
    return Effect(label, mean, low, high, n, rule, edge, unit, test, tested, least, df, len(each) if seeds else 0)


def _p_of(mean: float, low: float, df: float) -> float | None:
    """Two-sided p of a mean whose 95 % t interval begins at ``low``; None where nothing varies."""
    error = (mean - low) / stats.t.isf(TAIL, df)
    return float(2 * stats.t.sf(abs(mean) / error, df)) if error > 0 else None


def two_way(each: np.ndarray) -> tuple[float, float, float, float]:
    """Mean of (trainings, subjects), both drawn at random, its 95 % interval and degrees of freedom.

    Variance of the mean from the mean squares of the two-way layout without replicates, its degrees of
    freedom by Satterthwaite (1946). Three trainings drawn with replacement, as a bootstrap would, understate
    their variance by a third. Never narrower than the interval over subjects alone.
    """
    k, n = each.shape
    mean, by_training, by_subject = each.mean(), each.mean(1), each.mean(0)
    trainings, subjects = n * by_training.var(ddof=1), k * by_subject.var(ddof=1)
    rest = (each - by_training[:, None] - by_subject + mean) ** 2
    rest = rest.sum() / ((k - 1) * (n - 1))
    total = trainings + subjects - rest
    if total <= subjects:  # the trainings differ by no more than chance would have it
        total, df = subjects, n - 1.0
    else:
        satterthwaite = total**2 / (trainings**2 / (k - 1) + subjects**2 / (n - 1) + rest**2 / ((k - 1) * (n - 1)))
        df = max(satterthwaite, min(k, n) - 1.0)
    half = stats.t.isf(TAIL, df) * np.sqrt(total / (k * n)) if total > 0 else 0.0
    return float(mean), float(mean - half), float(mean + half), float(df)


def after_looks(effect: Effect, at: Sequence[int]) -> Effect:
    """An effect that was looked ``at`` with so many trainings, more being made of what was open each time.

    Its interval is widened to the level that as many looks ask for as had trainings for it.
    """
    looks = sum(effect.seeds >= n for n in at)
    if looks <= 1:
        return effect
    tail = LEVELS[looks] / 2
    wider = float(stats.t.isf(tail, effect.df) / stats.t.isf(effect.tail, effect.df))
    low, high = (effect.value + wider * (end - effect.value) for end in (effect.low, effect.high))
    test = f"{effect.test}; look {looks}, interval of {100 - 200 * tail:.1f} %"
    return replace(effect, low=low, high=high, tail=tail, test=test)


def unmeasured(name: str, rule: str, margin: float = 0.0, unit: str = "", n: int = 0, test: str = "") -> Effect:
    """An effect of unknown size: it leaves its claim open."""
    return Effect(name, np.nan, np.nan, np.nan, n, rule, margin, unit, test)


def bootstrap_effect(
    name: str, value: float, draws: ArrayLike, n: int, rule: str, margin: float = 0.0, *, unit: str = ""
) -> Effect:
    """A statistic of the whole set, with the percentile interval of its bootstrap over subjects."""
    x = np.asarray(draws, float)
    low, high = np.percentile(x, [100 * TAIL, 100 - 100 * TAIL]) if len(x) > 1 else (-np.inf, np.inf)
    return Effect(name, float(value), float(low), float(high), n, rule, margin, unit, BOOTSTRAP)


def over_trainings(each: Sequence[Effect]) -> Effect:
    """One effect of what each training (seed) gives on its own: their mean, wider by what they differ.

    Half-widths and the spread of trainings add as variances; Satterthwaite's degrees of freedom.
    """
    if len(each) == 1:
        return replace(each[0], seeds=1)
    k, values = len(each), np.array([e.value for e in each])
    within = np.mean([(e.high - e.low) / 2 / stats.t.isf(TAIL, e.df) for e in each]) ** 2
    between = values.var(ddof=1) / k
    df = (within + between) ** 2 / (between**2 / (k - 1) + 1e-300) if between else np.inf
    half = stats.t.isf(TAIL, df) * np.sqrt(within + between)
    mean, test = float(values.mean()), f"{each[0].test} and trainings"
    return replace(each[0], value=mean, low=mean - half, high=mean + half, df=df, seeds=k, test=test, p=None)
