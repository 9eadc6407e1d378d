"""Evidence from the ablation models: one change each, trained at one budget (seed 000, IV-C)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from torch import Tensor

from yoda_nb import tables
from yoda_nb.ablations import ABLATIONS, model_name
from yoda_nb.coherence import slice_inconsistency
from yoda_nb.diffusion import expected
from yoda_nb.evidence.samplers import fd_draws, label_noise, n_draws
from yoda_nb.phantom import phantom_case
from yoda_nb.study import progress_bar
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

N_EX = 4  # Tables V and VI
AXIAL = 2
FULL_STEPS = 30  # without truncation, quadratic times: the cosine schedule and noise prediction
LEVEL_STEPS = 50  # enough steps for a sample to carry all of its noise
LEVELS = {0.02: "low-noise", 0.04: "base", 0.06: "high-noise"}  # noise of the acquisition -> model
TARGETS = {"v": "base", "x0": "x0", "eps": "eps", "cosine": "cosine", "T = 1": "regression-only"}


def _steps(of: Study, n: int) -> int:
    """Fewer in the tests' profile."""
    return min(n, of.settings.n_steps) if of.profile == "tiny" else n


def _each(of: Study, name: str, models: dict[str, str]) -> Iterator[tuple[Volume, str, int, str]]:
    """Every (subject, label, seed of training, model), with a bar."""
    todo = [(v, label, seed, model_name(row, seed)) for v in of.volumes
            for label, row in models.items() for seed in ABLATIONS[row].seeds]  # fmt: skip
    with progress_bar(total=len(todo), desc=name) as bar:
        for each in todo:
            yield each
            bar.update()


def _scored(v: Volume, images: dict[str, Tensor], **columns) -> pd.DataFrame:
    table = tables.score_table([v], {label: [image] for label, image in images.items()})
    return table[table.sampler != "acquired"].assign(**columns)


def slabs(of: Study) -> pd.DataFrame:
    """Multi-slice input and orthogonal denoising, each with and without (Table IV, Fig. 6).

    Score-table columns plus training (seed), slices (1 or 5), views ("one": axial, "three") and
    inconsistency: jumps of the error's mean between adjacent axial slices, [0,1] scale.
    """
    n_steps, parts = of.settings.n_steps, []
    for v, slices, seed, model in _each(of, "slabs", {"1": "single-slice", "5": "base"}):
        draw = partial(of.samples, v, "yoda-diffusion", model=model, n_steps=n_steps)
        images = {("diffusion", "three"): draw()[0], ("diffusion", "one"): draw(views=(AXIAL,))[0],
                  ("regression", "three"): of.samples(v, "yoda-regression", model=model)[0]}  # fmt: skip
        for (sampler, views), image in images.items():
            jumps = slice_inconsistency((image - v.clean) / 2, v.mask, AXIAL)
            parts.append(_scored(v, {sampler: image}, training=seed, slices=int(slices), views=views,
                                 inconsistency=jumps))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def target_images(of: Study, v: Volume, label: str, model: str) -> dict[str, Tensor]:
    """Regression, one sample and ExpA-4 of one model, without truncation."""
    images = {"regression": of.samples(v, "yoda-regression", model=model)[0]}
    if label == "T = 1":
        return images
    drawn = of.samples(v, "yoda-diffusion", model=model, n_ex=N_EX, n_steps=_steps(of, FULL_STEPS), jump_to=None)
    return images | {"diffusion": drawn[0], f"ExpA {N_EX}": expected(drawn)}


def targets(of: Study) -> pd.DataFrame:
    """Training targets v, x0 and eps, the cosine schedule, and T = 1 (Tables V and VI, III-B.4).

    Score-table columns plus model (a label of TARGETS) and training (seed).
    """
    parts = [_scored(v, target_images(of, v, label, model), model=label, training=seed)
             for v, label, seed, model in _each(of, "targets", TARGETS)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def truncation(of: Study) -> pd.DataFrame:
    """Truncated and full sampling at the same stride of time (Table V): column path."""
    n = of.settings.n_steps
    paths = {"truncated": {"n_steps": n}, "full": {"n_steps": n if of.profile == "tiny" else 4 * (n - 1) + 1,
                                                   "jump_to": None}}  # fmt: skip
    parts = []
    for v, _, seed, model in _each(of, "truncation", {"v": "base"}):
        draw = partial(of.samples, v, "yoda-diffusion", model=model, times="even")
        parts += [_scored(v, {"diffusion": draw(**how)[0]}, path=path, training=seed) for path, how in paths.items()]
    return pd.concat(parts, ignore_index=True)


def schedules(of: Study) -> pd.DataFrame:
    """Fréchet distances of the linear and the cosine schedule, with bootstrap draws (Table V).

    ``fd_draws`` columns plus model, training and sampler.
    """
    scores, parts = of.table("targets"), []
    for label in ("v", "cosine"):
        for seed in ABLATIONS[TARGETS[label]].seeds:
            each = [target_images(of, v, label, model_name(TARGETS[label], seed)) for v in of.volumes]
            images = {sampler: [one[sampler] for one in each] for sampler in each[0]}
            own = scores[(scores.model == label) & (scores.training == seed)]
            acquired = tables.score_table(of.volumes, {})  # for the acquired image's noise
            table = pd.concat([own, acquired], ignore_index=True)
            found = fd_draws(of.volumes, images, table, seed=of.seed, draws=n_draws(of))
            parts.append(found.assign(model=label, training=seed))
    return pd.concat(parts, ignore_index=True)


def noise_levels(of: Study) -> pd.DataFrame:
    """Noise of samples of models trained on acquisitions of three noise levels (IV-A).

    Columns subject, sigma, acquired, sampler, noise: white-matter noise with the anatomy's share
    taken out, [0,1] scale.
    """
    rows = []
    for sigma, name in LEVELS.items():
        model = model_name(name, 0)
        for seed in range(1001, 1001 + of.settings.evidence):
            v = phantom_case(seed, sigma=sigma)
            images = {"regression": of.samples(v, "yoda-regression", model=model)[0],
                      "diffusion": of.samples(v, "yoda-diffusion", model=model, n_steps=_steps(of, LEVEL_STEPS))[0]}
            rows += [{"subject": v.subject, "sigma": sigma, "acquired": label_noise(v, v.target),
                      "sampler": label, "noise": label_noise(v, image)} for label, image in images.items()]  # fmt: skip
    return pd.DataFrame(rows)
