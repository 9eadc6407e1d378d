"""Evidence on the samplers of one trained model: scores, perception, the error's terms, cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from yoda_nb import study, tables
from yoda_nb.ablations import model_name
from yoda_nb.features import frechet_distance, kernel_distance, load_extractor, slices_for_features
from yoda_nb.metrics import score
from yoda_nb.noise import add_rician, rician_mean, rician_std, white_matter_noise
from yoda_nb.systems import translate
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

DRAWS = 200  # of a bootstrap over subjects
SWEPT = 2  # subjects of the sweep
SHARES = (0.25, 0.5, 0.75, 1.0)  # noise added to regression, of the acquisition's


def rician(of: Study) -> pd.DataFrame:
    """Rician noise at each SNR, eight replicates (seed 000, III-A).

    Columns replicate, snr, bias (share of the signal), std (share of sigma), ks: the largest
    difference of the cumulative distribution to the normal one of the same mean and deviation.
    """
    rows = []
    for replicate in range(8):
        generator = torch.Generator().manual_seed(1000 * of.seed + replicate)
        for snr in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0):
            x = add_rician(torch.full((20_000,), snr, dtype=torch.float64), 1.0, generator=generator).numpy()
            law = stats.norm(rician_mean(snr, 1.0), rician_std(snr, 1.0))
            rows.append({"replicate": replicate, "snr": snr, "bias": x.mean() / snr - 1, "std": x.std(),
                         "ks": stats.kstest(x, law.cdf).statistic})  # fmt: skip
    return pd.DataFrame(rows)


def images(of: Study, *, ddim: bool = True) -> dict[str, list[Tensor]]:
    """Every sampler on every subject of the evidence: label -> images (1,D,H,W) in [-1,1].

    Without ``ddim`` those of Table I: regression, ExpA, diffusion, and noised regression.
    """
    settings = replace(of.settings, ddim=of.settings.sweep[1:] if ddim else (), noised=SHARES if ddim else (1.0,))
    return study.all_samplers(of.volumes, settings, seed=of.seed, device=of.device or None)


def scores(of: Study) -> pd.DataFrame:
    """``tables.score_table`` of all samplers; the noise-free truth is one of them."""
    return tables.score_table(of.volumes, {**images(of), "truth": [v.clean for v in of.volumes]})


def perception(of: Study) -> pd.DataFrame:
    """Fréchet distance, SSIM to acquired and noise of each sampler, and of bootstrap draws."""
    made = {**images(of), "truth": [v.clean for v in of.volumes]}
    return fd_draws(of.volumes, made, of.table("samplers"), seed=of.seed, draws=n_draws(of))


def n_draws(of: Study) -> int:
    """Bootstrap draws; the tests' profile needs none that mean anything."""
    return 10 if of.profile == "tiny" else DRAWS


def fd_draws(volumes: Sequence[Volume], made: Mapping[str, Sequence[Tensor]], table: pd.DataFrame, *, seed: int,
             draws: int = DRAWS, kernel: bool = False) -> pd.DataFrame:  # fmt: skip
    """Draw 0 is all subjects, the others are drawn with replacement.

    ``table`` is the score table of the same images. Columns draw, sampler, fd, ssim (to acquired),
    noise, gap (distance of the noise to the acquired image's), n (slices), and with ``kernel`` kd.
    """
    extract = load_extractor()

    def features(each: Sequence[Tensor]) -> list[np.ndarray]:
        cut = (slices_for_features((x + 1) / 2, v.mask) for x, v in zip(each, volumes, strict=True))
        return [extract(slices).numpy() for slices in cut]

    real = features([v.target for v in volumes])
    fake = {label: features(each) for label, each in made.items()}
    rows = table[table.reference == "acquired"].set_index(["sampler", "subject"])
    acquired = table[table.sampler == "acquired"].groupby("subject").noise.first()
    names = [v.subject for v in volumes]
    rng = np.random.default_rng(seed)
    found = []
    for draw in range(draws + 1):
        chosen = rng.integers(len(names), size=len(names)) if draw else np.arange(len(names))
        subjects = [names[i] for i in chosen]
        target, level = np.concatenate([real[i] for i in chosen]), acquired.loc[subjects].mean()
        for label, each in fake.items():
            drawn = np.concatenate([each[i] for i in chosen])
            fd = frechet_distance(target, drawn)
            mean = rows.loc[label].loc[subjects][["ssim", "noise"]].mean()
            found.append({"draw": draw, "sampler": label, "fd": fd, "ssim": mean.ssim, "noise": mean.noise,
                          "gap": abs(mean.noise - level), "n": len(target),
                          **({"kd": kernel_distance(target, drawn)} if kernel else {})})  # fmt: skip
    return pd.DataFrame(found)


def split(of: Study) -> pd.DataFrame:
    """The error split of seed 000, III-A, with noise of the acquisition's level added."""
    regression = [of.samples(v, "yoda-regression")[0] for v in of.volumes]
    return tables.split_table(of.volumes, regression, (1.0,), seed=of.seed)


def sweep(of: Study) -> pd.DataFrame:
    """Steps from few to many with three kinds of step noise, even times from T (Fig. 2, left).

    Two subjects only: it is the longest of all evidence. Score-table columns plus n_steps, sigma, evaluations.
    """
    parts = []
    for v in of.volumes[:SWEPT]:
        for kind in ("zero", "posterior", "fresh"):
            for n in of.settings.sweep:
                image = of.samples(v, "yoda-ddim", n_steps=n, sigma=kind)[0]
                table = tables.score_table([v], {"x": [image]})
                parts.append(table[table.sampler == "x"].assign(sampler=f"{kind} {n}", n_steps=n, sigma=kind))
    return pd.concat(parts, ignore_index=True).assign(evaluations=lambda t: t.n_steps)


def cost(of: Study) -> pd.DataFrame:
    """Seconds of regression and of one diffusion sample at the paper's steps, on this machine.

    Columns subject, system, seconds, evaluations; the ablations' small net, nothing from the bank.
    """
    model, rows = model_name("base", 0), []
    n_steps = of.settings.n_steps if of.profile == "tiny" else 252  # T/4 and the first step
    chosen = {"yoda-regression": {}, "yoda-diffusion": {"n_steps": n_steps, "times": "even"}}
    for v in of.volumes[: of.settings.subjects]:
        translate(v, "yoda-regression", model=model, device=of.device or None)  # warm-up
        for system, settings in chosen.items():
            begun = time.perf_counter()
            translate(v, system, seed=of.seed, model=model, device=of.device or None, **settings)
            seconds = time.perf_counter() - begun
            rows.append({"subject": v.subject, "system": system, "seconds": seconds,
                         "evaluations": settings.get("n_steps", 3)})  # fmt: skip
    return pd.DataFrame(rows)


def protocols(of: Study) -> pd.DataFrame:
    """Regression against the truth on phantoms of the training protocol and of another one.

    Columns subject, dataset, ssim, psnr, and those of the baseline that a straight line through
    the sources reaches if it may look at the acquired target (least squares inside the mask).
    """
    rows = []
    for dataset in ("phantom", "phantom-b"):
        for v in study.load_subjects(of.settings.evidence, dataset=dataset):
            truth = (v.clean + 1) / 2
            made = (of.samples(v, "yoda-regression")[0] + 1) / 2
            found, line = (score(x, truth, v.mask, data_range=1) for x in (made, _line(v)))
            rows.append({"subject": v.subject, "dataset": dataset, "ssim": found["ssim"], "psnr": found["psnr"],
                         "line_ssim": line["ssim"], "line_psnr": line["psnr"]})  # fmt: skip
    return pd.DataFrame(rows)


def _line(v: Volume) -> Tensor:
    """The target as a straight line of the sources, fitted to the acquired target: (1,D,H,W) in [0,1]."""
    sources = ((v.source + 1) / 2).double()
    design = torch.cat([sources, torch.ones_like(sources[:1])])  # (C+1,D,H,W)
    inside = v.mask[0]
    weights = torch.linalg.lstsq(design[:, inside].T, ((v.target[0] + 1) / 2)[inside].double()[:, None]).solution
    fitted = torch.einsum("c...,c->...", design, weights[:, 0])[None].clamp(0, 1).float()
    return torch.where(v.mask, fitted, 0.0)


def label_noise(volume: Volume, image: Tensor) -> float:
    """White-matter noise of an image (1,D,H,W) in [-1,1] with the anatomy's share taken out."""
    inside = tables.white_matter(volume)
    whole, structure = (white_matter_noise((x + 1) / 2, inside) for x in (image, volume.clean))
    return max(whole**2 - structure**2, 0.0) ** 0.5
