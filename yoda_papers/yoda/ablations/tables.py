"""Images of the ablation models, one change each, trained at one budget, as tables [YODA IV-C]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.process import expected
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, required
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.study import tables
from yoda_nb.study.sampling import progress_bar
from yoda_papers.ledger.draws import drawing, fd_draws, fewer, label_noise
from yoda_papers.yoda.ablations.trainings import ABLATIONS, FINE, SEEDS, model_name

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


N_EX = 4  # Tables V and VI
FULL_STEPS = 30  # without truncation, quadratic times: the cosine schedule and noise prediction
LEVEL_STEPS = 50  # enough steps for a sample to carry all of its noise
LEVELS = {0.02: "low-noise", 0.04: "base", 0.06: "high-noise"}  # noise of the acquisition -> model
FINE_SEEDS = range(1001, 1007)  # of fine phantoms
TRUNCATED = 16  # subjects of the equivalence of truncation
TARGETS = {"v": "base", "x0": "x0", "eps": "eps", "cosine": "cosine", "T = 1": "regression-only"}


def _each(
    study: Study, volumes: Sequence[Volume], name: str, models: dict[str, str], seeds: Sequence[int] = ()
) -> Iterator[tuple[Volume, str, int, str]]:
    """Every (subject, label, seed of training, model) of these seeds, or all, that ``study.makes``, with a bar."""
    todo = [
        (v, label, seed, model)
        for v in volumes
        for label, row in models.items()
        for seed in seeds or ABLATIONS[row].seeds
        if study.makes(model := model_name(row, seed))
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
    return _slabs(study, study.volumes, "slabs", {"1": "single-slice", "5": "base"}, SEEDS)


def fine_slabs(study: Study) -> pd.DataFrame:
    """The same of models and phantoms of 1.5 mm, cubes of 96 mm in the middle of the head: columns as of ``slabs``."""
    seeds = FINE_SEEDS[: study.settings.evidence]
    volumes = list(study.own) or [phantom_case(seed, spacing=FINE) for seed in seeds]
    return _slabs(study, volumes, "fine_slabs", {"1": "fine-single-slice", "5": "fine"})


def _slabs(
    study: Study, volumes: Sequence[Volume], name: str, models: dict[str, str], seeds: Sequence[int] = ()
) -> pd.DataFrame:
    n_steps, parts = study.settings.n_steps, []
    for v, slices, seed, model in _each(study, volumes, name, models, seeds):
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
        for v, label, seed, model in _each(study, study.volumes, "targets", TARGETS)
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
    for v, _, seed, model in _each(study, study.more(TRUNCATED), "truncation", {"v": "base"}, SEEDS):
        draw = partial(study.samples, v, "yoda-diffusion", model=model, times="even")
        parts += [_scored(v, {"diffusion": draw(**how)[0]}, path=path, training=seed) for path, how in paths.items()]
    return pd.concat(parts, ignore_index=True)


def schedules(study: Study) -> pd.DataFrame:
    """Fréchet distances of the linear and the cosine schedule, with bootstrap draws (Table V).

    Columns draw, sampler, fd and fd_NAME of ``fd_draws``, model and training.
    """
    scores, parts = study.table("targets"), []
    for label in ("v", "cosine"):
        for seed in ABLATIONS[TARGETS[label]].seeds:
            if not study.makes(model := model_name(TARGETS[label], seed)):
                continue
            each = [target_images(study, v, label, model) for v in study.volumes]
            images = {sampler: [one[sampler] for one in each] for sampler in ("diffusion", "regression")}
            own = scores[(scores.model == label) & (scores.training == seed)]
            acquired = tables.score_table(study.volumes, {})  # for the acquired image's noise
            table = pd.concat([own, acquired], ignore_index=True)
            found = fd_draws(study.volumes, images, table, **drawing(study))
            parts.append(found.filter(regex="^(draw|sampler|fd)").assign(model=label, training=seed))
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


TABLES = {
    "levels": noise_levels,
    "slabs": slabs,
    "fine_slabs": fine_slabs,
    "targets": targets,
    "truncation": truncation,
    "schedules": schedules,
}
