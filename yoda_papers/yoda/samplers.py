"""Evidence on the samplers of one trained model: scores, the error's terms, cost [YODA III-A and IV-A]."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import score
from yoda_nb.metrics.noise import add_rician, rician_mean, rician_std
from yoda_nb.study import tables
from yoda_nb.study.sampling import all_samplers
from yoda_nb.study.subjects import load_subjects
from yoda_nb.systems.run import translate
from yoda_papers.ledger.verdicts import Effect, mean_effect, paired_effect
from yoda_papers.yoda.ablations.trainings import model_name

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


SWEPT = 2  # subjects of the sweep
SPLIT = 30  # subjects of the error split
SHARES = (0.25, 0.5, 0.75, 1.0)  # noise added to regression, of the acquisition's


def images(study: Study, *, ddim: bool = True) -> dict[str, list[Tensor]]:
    """Every sampler on every subject of the evidence: label -> images (1,D,H,W) in [-1,1].

    Without ``ddim`` those of Table I: regression, ExpA, diffusion, and noised regression.
    """
    settings = replace(study.settings, ddim=study.settings.sweep[1:] if ddim else (), noised=SHARES if ddim else (1.0,))
    return all_samplers(
        study.volumes,
        settings,
        seed=study.seed,
        device=study.device or None,
        shipped=not study.fresh,
        models=dict(study.models),
    )


def with_truth(study: Study) -> dict[str, list[Tensor]]:
    """``images`` and, where it is known, the noise-free truth."""
    truth = [v.clean for v in study.volumes if v.clean is not None]
    return images(study) | ({"truth": truth} if len(truth) == len(study.volumes) else {})


def scores(study: Study) -> pd.DataFrame:
    """``tables.score_table`` of all samplers; the noise-free truth is one of them where it is known."""
    return tables.score_table(study.volumes, with_truth(study))


def split(study: Study) -> pd.DataFrame:
    """The error split of YODA, III-A, with noise of the acquisition's level added, on thirty subjects."""
    volumes = study.more(SPLIT)
    regression = [study.samples(v, "yoda-regression")[0] for v in volumes]
    return tables.split_table(volumes, regression, (1.0,), seed=study.seed)


def rician(study: Study) -> pd.DataFrame:
    """Rician noise at each SNR, eight replicates [YODA III-A].

    Columns replicate, snr, bias (share of the signal), std (share of sigma), ks: the largest
    difference of the cumulative distribution to the normal one of the same mean and deviation.
    """
    rows = []
    for replicate in range(8):
        generator = torch.Generator().manual_seed(1000 * study.seed + replicate)
        for snr in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0):
            x = add_rician(torch.full((20_000,), snr, dtype=torch.float64), 1.0, generator=generator).numpy()
            law = stats.norm(rician_mean(snr, 1.0), rician_std(snr, 1.0))
            rows.append(
                {
                    "replicate": replicate,
                    "snr": snr,
                    "bias": x.mean() / snr - 1,
                    "std": x.std(),
                    "ks": stats.kstest(x, law.cdf).statistic,
                }
            )
    return pd.DataFrame(rows)


def sweep(study: Study) -> pd.DataFrame:
    """Steps from few to many with three kinds of step noise, even times from T (Fig. 2, left).

    Two subjects only: it is the longest of all evidence. Score-table columns plus n_steps, sigma, evaluations.
    """
    parts = []
    for v in study.volumes[:SWEPT]:
        for kind in ("zero", "posterior", "fresh"):
            for n in study.settings.sweep:
                image = study.samples(v, "yoda-ddim", n_steps=n, sigma=kind)[0]
                table = tables.score_table([v], {"x": [image]})
                parts.append(table[table.sampler == "x"].assign(sampler=f"{kind} {n}", n_steps=n, sigma=kind))
    return pd.concat(parts, ignore_index=True).assign(evaluations=lambda t: t.n_steps)


def cost(study: Study) -> pd.DataFrame:
    """Seconds of regression and of one diffusion sample at the paper's steps, on this machine.

    Columns subject, system, seconds, evaluations; the ablations' small net, nothing from the bank.
    """
    model, rows = model_name("base", 0), []
    n_steps = study.settings.n_steps if study.profile == "tiny" else 252  # T/4 and the first step
    chosen: dict[str, dict[str, Any]] = {"yoda-regression": {}, "yoda-diffusion": {"n_steps": n_steps, "times": "even"}}
    for v in study.volumes[: study.settings.subjects]:
        translate(v, "yoda-regression", model=model, device=study.device or None)  # warm-up
        for system, settings in chosen.items():
            begun = time.perf_counter()
            translate(v, system, seed=study.seed, model=model, device=study.device or None, **settings)
            seconds = time.perf_counter() - begun
            rows.append(
                {"subject": v.subject, "system": system, "seconds": seconds, "evaluations": settings.get("n_steps", 3)}
            )
    return pd.DataFrame(rows)


def protocols(study: Study) -> pd.DataFrame:
    """Regression against the truth on phantoms of the training protocol and of another one.

    Columns subject, dataset, ssim, psnr, and those of the baseline that a straight line through
    the sources reaches if it may look at the acquired target (least squares inside the mask).
    """
    rows = []
    for dataset in ("phantom", "phantom-b"):
        for v in load_subjects(study.settings.evidence, dataset=dataset):
            truth = (required(v, "clean") + 1) / 2
            made = (study.samples(v, "yoda-regression")[0] + 1) / 2
            found, line = (score(x, truth, v.mask, data_range=1) for x in (made, _line(v)))
            rows.append(
                {
                    "subject": v.subject,
                    "dataset": dataset,
                    "ssim": found["ssim"],
                    "psnr": found["psnr"],
                    "line_ssim": line["ssim"],
                    "line_psnr": line["psnr"],
                }
            )
    return pd.DataFrame(rows)


def _line(v: Volume) -> Tensor:
    """The target as a straight line of the sources, fitted to the acquired target: (1,D,H,W) in [0,1]."""
    sources = ((v.source + 1) / 2).double()
    design = torch.cat([sources, torch.ones_like(sources[:1])])  # (C+1,D,H,W)
    inside = v.mask[0]
    target = (required(v, "target")[0] + 1) / 2
    weights = torch.linalg.lstsq(design[:, inside].T, target[inside].double()[:, None]).solution
    fitted = torch.einsum("c...,c->...", design, weights[:, 0])[None].clamp(0, 1).float()
    return torch.where(v.mask, fitted, 0.0)


PERCENT = "% of the error"


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


def cost_ratio(study: Study) -> list[Effect]:
    """Y28: measured seconds; N_Ex = 10 is ten times one run. Little but the ratio of evaluations: arithmetic."""
    wide = study.table("cost").pivot(index="subject", columns="system", values="seconds")
    ratio = wide["yoda-diffusion"] / wide["yoda-regression"]
    return [
        mean_effect("diffusion / regression, in doublings of 45", np.log2(ratio / 45), "within", 1, arithmetic=True),
        mean_effect(
            "ExpA 10 / regression, in doublings of 450", np.log2(10 * ratio / 450), "within", 1, arithmetic=True
        ),
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
        Effect(
            "SSIM to the truth, own less other protocol",
            value,
            low,
            high,
            len(away),
            ">",
            0.0,
            "",
            "Welch's t, unpaired",
            float(loss.pvalue),
        ),
    ]


TABLES = {"rician": rician, "samplers": scores, "split": split, "sweep": sweep, "cost": cost, "protocols": protocols}


EFFECTS = {
    "Y01": error_split,
    "Y02": rician_is_gaussian,
    "Y03": regression_over_diffusion,
    "Y04": expa_over_diffusion,
    "Y28": cost_ratio,
    "Y30": other_protocol,
}
NOTES: dict[str, str] = {
    "Y02": (
        "At SNR = 2 the Rice distribution itself has a bias of {bias of the mean:.1f} % of the signal and a standard "
        "deviation of 0.92 sigma: it is nearly Gaussian in shape, but its mean is not yet that of the signal."
    ),
    "Y28": (
        "Timed with the small net of the ablations at 252 evaluations, on the machine that the index of evidence names."
    ),
}
