"""The ablation models: one change each, trained at one budget (seed 000, IV-C).

Seeds of a training are averaged for each subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from yoda_nb.data.phantom import phantom_case
from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.process import expected
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, required
from yoda_nb.papers.yoda.ablations import ABLATIONS, model_name
from yoda_nb.study import tables
from yoda_nb.study.claims.draws import by_eye, drawing, fd_draws, fewer, label_noise
from yoda_nb.study.claims.verdicts import Effect, bootstrap_effect, mean_effect, over_trainings, paired_effect
from yoda_nb.study.sampling import progress_bar

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study


N_EX = 4  # Tables V and VI
FULL_STEPS = 30  # without truncation, quadratic times: the cosine schedule and noise prediction
LEVEL_STEPS = 50  # enough steps for a sample to carry all of its noise
LEVELS = {0.02: "low-noise", 0.04: "base", 0.06: "high-noise"}  # noise of the acquisition -> model
TARGETS = {"v": "base", "x0": "x0", "eps": "eps", "cosine": "cosine", "T = 1": "regression-only"}


def _each(study: Study, name: str, models: dict[str, str]) -> Iterator[tuple[Volume, str, int, str]]:
    """Every (subject, label, seed of training, model), with a bar."""
    todo = [
        (v, label, seed, model_name(row, seed))
        for v in study.volumes
        for label, row in models.items()
        for seed in ABLATIONS[row].seeds
    ]
    with progress_bar(total=len(todo), desc=name) as bar:
        for each in todo:
            yield each
            bar.update()


def _scored(v: Volume, images: dict[str, Tensor], **columns) -> pd.DataFrame:
    table = tables.score_table([v], {label: [image] for label, image in images.items()})
    return table[table.sampler != "acquired"].assign(**columns)


def slabs(study: Study) -> pd.DataFrame:
    """Multi-slice input and orthogonal denoising, each with and without (Table IV, Fig. 6).

    Score-table columns plus training (seed), slices (1 or 5), views ("one": axial, "three") and
    inconsistency: jumps of the error's mean between adjacent axial slices, [0,1] scale.
    """
    n_steps, parts = study.settings.n_steps, []
    for v, slices, seed, model in _each(study, "slabs", {"1": "single-slice", "5": "base"}):
        draw = partial(study.samples, v, "yoda-diffusion", model=model, n_steps=n_steps)
        images = {
            ("diffusion", "three"): draw()[0],
            ("diffusion", "one"): draw(views=(AXIAL,))[0],
            ("regression", "three"): study.samples(v, "yoda-regression", model=model)[0],
        }
        for (sampler, views), image in images.items():
            jumps = slice_inconsistency((image - required(v, "clean")) / 2, v.mask, AXIAL)
            parts.append(
                _scored(v, {sampler: image}, training=seed, slices=int(slices), views=views, inconsistency=jumps)
            )
    return pd.concat(parts, ignore_index=True)


def target_images(study: Study, v: Volume, label: str, model: str) -> dict[str, Tensor]:
    """Regression, one sample and ExpA-4 of one model, without truncation."""
    images = {"regression": study.samples(v, "yoda-regression", model=model)[0]}
    if label == "T = 1":
        return images
    drawn = study.samples(v, "yoda-diffusion", model=model, n_ex=N_EX, n_steps=fewer(study, FULL_STEPS), jump_to=None)
    return images | {"diffusion": drawn[0], f"ExpA {N_EX}": expected(drawn)}


def targets(study: Study) -> pd.DataFrame:
    """Training targets v, x0 and eps, the cosine schedule, and T = 1 (Tables V and VI, III-B.4).

    Score-table columns plus model (a label of TARGETS) and training (seed).
    """
    parts = [
        _scored(v, target_images(study, v, label, model), model=label, training=seed)
        for v, label, seed, model in _each(study, "targets", TARGETS)
    ]
    return pd.concat(parts, ignore_index=True)


def truncation(study: Study) -> pd.DataFrame:
    """Truncated and full sampling at the same stride of time (Table V): column path."""
    n = study.settings.n_steps
    paths: dict[str, dict[str, Any]] = {
        "truncated": {"n_steps": n},
        "full": {"n_steps": n if study.profile == "tiny" else 4 * (n - 1) + 1, "jump_to": None},
    }
    parts = []
    for v, _, seed, model in _each(study, "truncation", {"v": "base"}):
        draw = partial(study.samples, v, "yoda-diffusion", model=model, times="even")
        parts += [_scored(v, {"diffusion": draw(**how)[0]}, path=path, training=seed) for path, how in paths.items()]
    return pd.concat(parts, ignore_index=True)


def schedules(study: Study) -> pd.DataFrame:
    """Fréchet distances of the linear and the cosine schedule, with bootstrap draws (Table V).

    ``fd_draws`` columns plus model, training and sampler.
    """
    scores, parts = study.table("targets"), []
    for label in ("v", "cosine"):
        for seed in ABLATIONS[TARGETS[label]].seeds:
            each = [target_images(study, v, label, model_name(TARGETS[label], seed)) for v in study.volumes]
            images = {sampler: [one[sampler] for one in each] for sampler in each[0]}
            own = scores[(scores.model == label) & (scores.training == seed)]
            acquired = tables.score_table(study.volumes, {})  # for the acquired image's noise
            table = pd.concat([own, acquired], ignore_index=True)
            found = fd_draws(study.volumes, images, table, **drawing(study))
            parts.append(found.assign(model=label, training=seed))
    return pd.concat(parts, ignore_index=True)


def noise_levels(study: Study) -> pd.DataFrame:
    """Noise of samples of models trained on acquisitions of three noise levels (IV-A).

    Columns subject, sigma, acquired, sampler, noise: white-matter noise with the anatomy's share
    taken out, [0,1] scale.
    """
    rows = []
    for sigma, name in LEVELS.items():
        model = model_name(name, 0)
        for seed in range(1001, 1001 + study.settings.evidence):
            v = phantom_case(seed, sigma=sigma)
            images = {
                "regression": study.samples(v, "yoda-regression", model=model)[0],
                "diffusion": study.samples(v, "yoda-diffusion", model=model, n_steps=fewer(study, LEVEL_STEPS))[0],
            }
            rows += [
                {
                    "subject": v.subject,
                    "sigma": sigma,
                    "acquired": label_noise(v, required(v, "target")),
                    "sampler": label,
                    "noise": label_noise(v, image),
                }
                for label, image in images.items()
            ]
    return pd.DataFrame(rows)


def _acquired(study: Study, name: str) -> pd.DataFrame:
    table = study.table(name)
    return table[table.reference == "acquired"]


def _both(table: pd.DataFrame, a: str, b: str, by: str, what: str = "") -> list[Effect]:
    """a over b in SSIM and PSNR."""
    return [
        paired_effect(table, metric, a, b, ">", by=by, unit=unit, name=f"{what}{metric.upper()}, {a} less {b}")
        for metric, unit in (("ssim", ""), ("psnr", "dB"))
    ]


def _equal(table: pd.DataFrame, a: str, b: str, by: str) -> list[Effect]:
    return [
        paired_effect(table, "ssim", a, b, "within", by=by),
        paired_effect(table, "psnr", a, b, "within", by=by, unit="dB"),
    ]


def samples_carry_noise(study: Study) -> list[Effect]:
    """Y10: generated over acquired noise, for acquisitions of three noise levels."""
    t = study.table("levels")
    t = t[t.sampler == "diffusion"]
    t = t.assign(excess=t.noise / t.acquired - 1)
    return [
        mean_effect(f"generated / acquired noise at sigma {sigma:g}, less 1", rows.excess, "within", 0.2)
        for sigma, rows in t.groupby("sigma")
    ]


def _named_slabs(study: Study) -> pd.DataFrame:
    t = _acquired(study, "slabs")
    slices = t.slices.map({1: "one slice", 5: "five slices"})
    return t.assign(design=slices + " in " + t.views + " view" + t.views.map({"one": "", "three": "s"}))


def slabs_help_diffusion(study: Study) -> list[Effect]:
    """Y13: each alone over neither, and both over each."""
    t = _named_slabs(study)
    t = t[t.sampler == "diffusion"]
    none, slab = "one slice in one view", "five slices in one view"
    views, both = "one slice in three views", "five slices in three views"
    pairs = ((slab, none), (views, none), (both, slab), (both, views))
    return [effect for a, b in pairs for effect in _both(t, a, b, "design")]


def slabs_help_regression(study: Study) -> list[Effect]:
    """Y14."""
    t = _named_slabs(study)
    return _both(t[t.sampler == "regression"], "five slices in three views", "one slice in three views", "design")


def slice_artefacts(study: Study) -> list[Effect]:
    """Y15: jumps between axial slices of 2D sampling against 2.5D sampling."""
    t = _named_slabs(study).assign(inconsistency=lambda t: 1e3 * t.inconsistency)
    t = t[t.sampler == "diffusion"]
    pair = ("one slice in one view", "five slices in three views")
    name = f"slice inconsistency, {pair[0]} less {pair[1]}"
    return [paired_effect(t, "inconsistency", *pair, ">", by="design", unit="x 0.001", name=name)]


def truncation_is_free(study: Study) -> list[Effect]:
    """Y16: an equivalence, so the interval must lie inside the margin."""
    return _equal(_acquired(study, "truncation"), "truncated", "full", "path")


def _targets(study: Study, sampler: str) -> pd.DataFrame:
    t = _acquired(study, "targets")
    return t[t.sampler == sampler].replace({"model": {"v": "linear v"}})


def cosine_trades(study: Study) -> list[Effect]:
    """Y17: distortion of both samplers, and FD."""
    effects = []
    fd = study.table("schedules")
    for sampler in ("diffusion", "regression"):
        effects += _both(_targets(study, sampler), "linear v", "cosine", "model", f"{sampler}: ")
        name, n = f"{sampler}: FD, linear less cosine", study.settings.evidence

        def gained(rows: pd.DataFrame, name=name, n=n) -> Effect:
            wide = rows.pivot(index=["training", "draw"], columns="model", values="fd")
            gain = (wide["v"] - wide["cosine"]).unstack("draw")
            return over_trainings([bootstrap_effect(name, of[0], of[1:], n, ">") for _, of in gain.iterrows()])

        effects += by_eye(fd[fd.sampler == sampler], gained)
    return effects


def schedules_agree_on_average(study: Study) -> list[Effect]:
    """Y18: an equivalence at N_Ex = 4."""
    return _equal(_targets(study, "ExpA 4"), "linear v", "cosine", "model")


def v_is_best(study: Study) -> list[Effect]:
    """Y19: v over x0 in all samplers, over eps in those that eps can run."""
    pairs = [(s, "x0") for s in ("diffusion", "ExpA 4", "regression")] + [(s, "eps") for s in ("diffusion", "ExpA 4")]
    return [e for s, other in pairs for e in _both(_targets(study, s), "linear v", other, "model", f"{s}: ")]


def eps_cannot_regress(study: Study) -> list[Effect]:
    """Y20: x0 from eps at t = T multiplies every error by 1 / sqrt(alpha_bar_T)."""
    factor = float(schedule("linear").alpha_bar[-1]) ** -0.5
    t = _targets(study, "regression")
    return [
        Effect(
            "error amplification at t = T",
            factor,
            factor,
            factor,
            1,
            ">",
            100.0,
            "times",
            "closed form",
            arithmetic=True,
        ),
        paired_effect(t, "ssim", "linear v", "eps", ">", 0.3, by="model"),
    ]


def dedicated_regression(study: Study) -> list[Effect]:
    """Y27: "almost nothing" is less than the margins of an equivalence."""
    return _equal(_targets(study, "regression"), "T = 1", "linear v", "model")


TABLES = {"levels": noise_levels, "slabs": slabs, "targets": targets, "truncation": truncation, "schedules": schedules}


EFFECTS = {
    "Y10": samples_carry_noise,
    "Y13": slabs_help_diffusion,
    "Y14": slabs_help_regression,
    "Y15": slice_artefacts,
    "Y16": truncation_is_free,
    "Y17": cosine_trades,
    "Y18": schedules_agree_on_average,
    "Y19": v_is_best,
    "Y20": eps_cannot_regress,
    "Y27": dedicated_regression,
}
NOTES: dict[str, str] = {
    "Y13": "Each helps alone; where three views alternate, neighbouring slices add nothing at this size and budget.",
    "Y19": "v beats eps. The x0 model's samples carry no noise at this budget (averaging four changes nothing), so "
    "its diffusion is regression in disguise, and less distorted for that; it also regresses better.",
    "Y27": "At equal budget every step of the dedicated model trains the one time that regression uses; more training "
    "of both may close the gap.",
}
