"""Effects on the samplers of one trained model (seed 000, III-A and IV-A)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from yoda_nb.claims.verdicts import Effect, bootstrap_effect, mean_effect, paired_effect
from yoda_nb.evidence import Study

PERCENT = "% of the error"
NATIVE = ("DDIM", "diffusion")  # samplers whose noise comes from the process itself


def _acquired(study: Study) -> pd.DataFrame:
    table = study.table("samplers")
    return table[table.reference == "acquired"]


def _both(table: pd.DataFrame, a: str, b: str) -> list[Effect]:
    return [paired_effect(table, "ssim", a, b, ">"), paired_effect(table, "psnr", a, b, ">", unit="dB")]


def error_split(study: Study) -> list[Effect]:
    """Y01: the cross term of the two noises is nothing, and three terms make the whole error."""
    t = study.table("split")
    parts = t.mse_clean + t.acquisition_noise + t.generation_noise
    return [
        mean_effect("noise cross term", 100 * t.cross_noise / t.total, "within", 1, unit=PERCENT),
        mean_effect("three terms less the measured MSE", 100 * (parts / t.total - 1), "within", 1, unit=PERCENT),
    ]


def rician_is_gaussian(study: Study) -> list[Effect]:
    """Y02: shape, spread and bias of Rician noise at SNR = 2, the smallest that the claim covers."""
    t = study.table("rician")
    t = t[t.snr == 2]
    test = "t interval over replicates"
    return [
        mean_effect("distance to the normal distribution (Kolmogorov)", t.ks, "<", 0.05, test=test),
        mean_effect("standard deviation less sigma", t["std"] - 1, "within", 0.1, unit="sigma", test=test),
        mean_effect("bias of the mean", 100 * t.bias, "within", 15, unit="% of the signal", test=test),
    ]


def regression_over_diffusion(study: Study) -> list[Effect]:
    """Y03."""
    return _both(_acquired(study), "regression", "diffusion")


def expa_over_diffusion(study: Study) -> list[Effect]:
    """Y04: each larger N_Ex over the one before it."""
    t = _acquired(study)
    order = ["diffusion", *(f"ExpA {n}" for n in study.settings.n_ex)]
    return [effect for a, b in zip(order[1:], order, strict=False) for effect in _both(t, a, b)]


def expa_is_regression(study: Study) -> list[Effect]:
    """Y05: how near, and whether what is left is averaging noise.

    MSE to regression is fitted as a + b / N for each subject; b / (a + b) is the share of one
    sample's difference that averages out.
    """
    t = study.table("expa")
    t = t[(t.reference == "regression") & (t["combine"] == "rms")]
    last = t[t.n_ex == t.n_ex.max()]
    shares = []
    for _, rows in t.groupby("subject"):
        b, a = np.polyfit(1 / rows.n_ex, rows.mse, 1)
        shares.append(100 * b / (a + b))
    n = int(t.n_ex.max())
    return [
        mean_effect(f"SSIM of ExpA {n} to regression", last.ssim, ">", 0.98),
        mean_effect(f"SSIM that {n} pure noises allow, less the one found", last.bound - last.ssim, "<", 0.01),
        mean_effect("share of the difference that falls as 1/N", shares, ">", 90, unit="%"),
    ]


def _perception(study: Study, samplers: list[str]) -> tuple[pd.DataFrame, int]:
    t = study.table("perception")
    return t[t.sampler.isin(samplers)], study.settings.evidence


def _ranked(study: Study, name: str, order: dict[str, float], column: str, rule: str) -> Effect:
    """Spearman's correlation of a number given to each sampler with a column, over all draws."""
    t, n = _perception(study, list(order))
    by_draw = [stats.spearmanr(rows.sampler.map(order), rows[column]).statistic for _, rows in t.groupby("draw")]
    return bootstrap_effect(name, by_draw[0], by_draw[1:], n, rule, unit="rank correlation")


def steps_trade(study: Study) -> list[Effect]:
    """Y06: more DDIM steps and smaller N_Ex mean lower FD and lower SSIM."""
    ddim = {"regression": 1.0} | {f"DDIM {n}": float(n) for n in study.settings.sweep[1:]}
    expa = {"diffusion": 1.0} | {f"ExpA {n}": float(n) for n in study.settings.n_ex}
    return [
        _ranked(study, "DDIM steps and FD", ddim, "fd", "<"),
        _ranked(study, "DDIM steps and SSIM", ddim, "ssim", "<"),
        _ranked(study, "N_Ex and FD", expa, "fd", ">"),
        _ranked(study, "N_Ex and SSIM", expa, "ssim", ">"),
    ]


def noise_explains_fd(study: Study) -> list[Effect]:
    """Y07: the missing noise and FD go together over all samplers."""
    t, n = _perception(study, [s for s in study.table("perception").sampler.unique() if s != "truth"])
    by_draw = [stats.spearmanr(rows.gap, rows.fd).statistic for _, rows in t.groupby("draw")]
    name = f"distance to the acquired noise, and FD, over {t.sampler.nunique()} samplers"
    return [bootstrap_effect(name, by_draw[0], by_draw[1:], n, ">", 0.5, unit="rank correlation")]


def noising_improves_fd(study: Study) -> list[Effect]:
    """Y08: FD falls with every bit of noise, up to the acquisition's."""
    noised = [s for s in study.table("perception").sampler.unique() if s.startswith("noised")]
    t, n = _perception(study, ["regression", *noised])
    fd = t.pivot(index="draw", columns="sampler", values="fd")
    gain = fd["regression"] - fd[noised[-1]]
    order = {"regression": 0.0} | {s: float(s.split()[1]) for s in noised}
    return [
        bootstrap_effect(f"FD, regression less {noised[-1]}", gain.iloc[0], gain.iloc[1:], n, ">"),
        _ranked(study, "added noise and FD", order, "fd", "<"),
    ]


def noised_trade_is_worse(study: Study) -> list[Effect]:
    """Y09: at equal SSIM noised regression has the larger FD than DDIM's steps.

    Both curves are interpolated in SSIM over the range that they share; the effect is the mean
    difference there.
    """
    names = [s for s in study.table("perception").sampler.unique()]
    noised = ["regression", *(s for s in names if s.startswith("noised"))]
    native = ["regression", *(s for s in names if s.startswith(NATIVE))]
    t, n = _perception(study, [*noised, *native])
    gaps = []
    for _, rows in t.groupby("draw"):
        curves = [rows[rows.sampler.isin(group)].sort_values("ssim") for group in (noised, native)]
        low, high = max(c.ssim.min() for c in curves), min(c.ssim.max() for c in curves)
        grid = np.linspace(low, high, 50)
        a, b = (np.interp(grid, c.ssim, c.fd) for c in curves)
        gaps.append(float(np.mean(a - b)))
    return [bootstrap_effect("FD at equal SSIM, noised less native", gaps[0], gaps[1:], n, ">")]


def detail_averages_out(study: Study) -> list[Effect]:
    """Y11: power above half of Nyquist that a sample has and regression has not, left after ExpA."""
    t = study.table("spectra")
    high = t[t.frequency > 0.25].groupby(["subject", "image"]).power.mean().unstack()
    n = max(study.settings.n_ex)
    excess = high["diffusion"] - high["regression"]
    left = 100 * (high[f"ExpA {n}"] - high["regression"]) / excess
    return [
        mean_effect("power that one sample has above regression", 1e3 * excess, ">", unit="x 0.001"),
        mean_effect(f"of it left in ExpA {n} (1/N: {100 / n:.0f} %)", left, "<", 20, unit="%"),
    ]


def spread_is_noise(study: Study) -> list[Effect]:
    """Y12: the spread has the size of the acquisition's noise and does not follow the error."""
    t = study.table("spread")
    by = t.groupby("subject")
    ratio = by.spread.apply(lambda s: np.sqrt((s**2).mean())) / by.sigma.first()
    return [
        mean_effect("spread over samples / sigma, less 1", ratio - 1, "within", 0.25),
        mean_effect("rank correlation of spread and true error", by["rank"].first(), "<", 0.3),
    ]


def views_help(study: Study) -> list[Effect]:
    """Y21: three views against the mean of the single ones."""
    t = study.table("views").replace({"image": {f"view {axis}": "one view" for axis in range(3)}})
    return [
        paired_effect(t, "ssim", "three views", "one view", ">", by="image"),
        paired_effect(t, "psnr", "three views", "one view", ">", by="image", unit="dB"),
    ]


def homogenised(study: Study) -> list[Effect]:
    """Y22: smaller jumps between slices, and no larger error against the truth."""
    wide = study.table("views").pivot(index="subject", columns="image", values=["inconsistency", "mse"])
    change = 100 * (wide.xs("homogenised", axis=1, level=1) / wide.xs("view 2", axis=1, level=1) - 1)
    return [
        mean_effect("slice inconsistency, change", change.inconsistency, "<", unit="%"),
        mean_effect("MSE to the truth, change", change.mse, "<", 2, unit="%"),
    ]


def cost_ratio(study: Study) -> list[Effect]:
    """Y28: measured seconds; N_Ex = 10 is ten times one run. A factor of two counts as "about"."""
    wide = study.table("cost").pivot(index="subject", columns="system", values="seconds")
    ratio = wide["yoda-diffusion"] / wide["yoda-regression"]
    return [
        mean_effect("diffusion / regression, in doublings of 45", np.log2(ratio / 45), "within", 1),
        mean_effect("ExpA 10 / regression, in doublings of 450", np.log2(10 * ratio / 450), "within", 1),
    ]


def other_protocol(study: Study) -> list[Effect]:
    """Y30: on another protocol better than any straight line through the sources, worse than at home."""
    t = study.table("protocols")
    home, away = (t[t.dataset == name] for name in ("phantom", "phantom-b"))
    loss = stats.ttest_ind(home.ssim, away.ssim, equal_var=False)
    low, high = loss.confidence_interval()
    value = home.ssim.mean() - away.ssim.mean()
    return [
        mean_effect("SSIM to the truth, other protocol, less that of the best line", away.ssim - away.line_ssim, ">"),
        Effect("SSIM to the truth, own less other protocol", value, low, high, len(away), ">", 0.0, "",
               "Welch's t, unpaired", float(loss.pvalue)),
    ]  # fmt: skip
