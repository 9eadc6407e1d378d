"""Doubt that is there: lesions whose contrast no source tells, and the spread of samples in them [YODA I and V].

Half of the lesions of these phantoms are as dark in the target as the others are bright, and all look alike in the
sources (``phantom_case(hidden=0.5)``). So the law of the target given the sources has two modes in them, and one
mode, as wide as the acquisition's noise, elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage, stats
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger.verdicts import Effect, mean_effect, over_trainings
from yoda_papers.yoda.ablations.trainings import ABLATIONS, model_name
from yoda_papers.yoda.averages import rms

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


SUBJECTS = range(1001, 1017)  # seeds: the manifest's test subjects otherwise
KNOWN = 0.005  # of half the difference of what a voxel may be, [0,1] scale: below it the sources tell the target
AWAY = 2  # voxels between what they tell and what they do not
PATHS: dict[str, dict[str, Any]] = {"truncated": {}, "whole": {"jump_to": None}}  # the paper's, and from T to 0


@cache
def either(seed: int) -> tuple[Volume, Tensor, Tensor]:
    """A subject of hidden contrasts; the mean of what each voxel may be and half of the difference: (1,D,H,W).

    In [-1,1] and without noise: the target is the mean, plus or minus the half, each with probability 1/2.
    """
    bright, dark = (required(phantom_case(seed, hidden=share), "clean") for share in (0.0, 1.0))
    return phantom_case(seed, hidden=0.5), (bright + dark) / 2, (bright - dark) / 2


def drawn(study: Study) -> Iterator[tuple[int, int, str, Tensor, Tensor]]:
    """Subject's seed, training, path, samples (n_ex,1,D,H,W), regression (1,D,H,W): the whole path of one training."""
    n, how = study.settings.evidence, {"n_ex": max(study.settings.n_ex), "n_steps": study.settings.n_steps}
    for seed in SUBJECTS[:n] if study.profile == "tiny" else SUBJECTS:
        v = either(seed)[0]
        for training in ABLATIONS["hidden"].seeds:
            model = model_name("hidden", training)
            smooth = study.samples(v, "yoda-regression", model=model)[0]
            for path, settings in PATHS.items() if training == 0 else [("truncated", {})]:
                samples = study.samples(v, "yoda-diffusion", model=model, **how, **settings)
                yield seed, training, path, samples, smooth


def hidden(study: Study) -> pd.DataFrame:
    """Spread of samples where the sources leave two values open ("hidden") and where they tell the target ("told").

    Columns subject, training (seed), path ("truncated" | "whole"), region, voxels, sigma; spread (standard deviation
    over samples), error (of regression, to the truth) and doubt (standard deviation of what may be there), all root
    mean squares over the region, [0,1] scale; rank (Spearman's correlation of spread and error over its voxels).
    """
    rows = []
    for seed, training, path, samples, smooth in drawn(study):
        v, _, half = either(seed)
        deviation, error = (samples / 2).std(0), (smooth - required(v, "clean")).abs() / 2
        for region, inside in regions(v, half).items():
            rows.append(
                {
                    "subject": v.subject,
                    "training": training,
                    "path": path,
                    "region": region,
                    "voxels": int(inside.sum()),
                    "sigma": v.sigma,
                    "spread": rms(deviation[inside]),
                    "error": rms(error[inside]),
                    "doubt": rms(half[inside] / 2),
                    "rank": stats.spearmanr(deviation[inside], error[inside]).statistic,
                }
            )
    return pd.DataFrame(rows)


def regions(v: Volume, half: Tensor) -> dict[str, Tensor]:
    """The lesions, and the brain AWAY from all that the sources leave open: (1,D,H,W) bool."""
    open_ = ndimage.binary_dilation((half.abs() / 2 > KNOWN)[0].numpy(), iterations=AWAY)
    return {"hidden": required(v, "lesions") & v.mask, "told": v.mask & ~torch.from_numpy(open_)[None]}


def hidden_lesions(study: Study) -> pd.DataFrame:
    """On which side each sample puts each lesion: 1 is bright, -1 dark, 0 the mean of both.

    The side is the image's least-squares weight of the half difference over the lesion's voxels. Columns subject,
    training (seed), path, lesion (number), voxels, what ("truth" | "acquired" | "regression" | "sample"), side, noise
    (standard deviation that white noise of the acquisition's sigma gives it); a row for each sample.
    """
    rows = []
    for seed, training, path, samples, smooth in drawn(study):
        v, middle, half = either(seed)
        images = [("truth", required(v, "clean")), ("acquired", required(v, "target")), ("regression", smooth)]
        images += [("sample", x) for x in samples]
        numbered, count = ndimage.label((required(v, "lesions") & v.mask)[0].numpy())
        for number in range(1, count + 1):
            lesion = torch.from_numpy(numbered == number)[None]
            about = {"subject": v.subject, "training": training, "path": path, "lesion": number}
            about |= {"voxels": int(lesion.sum()), "noise": (v.sigma or 0) * 2 / float(half[lesion].norm())}
            rows += [about | {"what": what, "side": side(x, middle, half, lesion)} for what, x in images]
    return pd.DataFrame(rows)


def side(image: Tensor, middle: Tensor, half: Tensor, inside: Tensor) -> float:
    """Least-squares weight of ``half`` in ``image - middle`` over the voxels inside; all (1,D,H,W)."""
    weights = half[inside]
    return float((image - middle)[inside] @ weights / (weights @ weights))


def each_training(
    table: pd.DataFrame, name: str, of: Callable[[pd.DataFrame], pd.Series], rule: str, margin: float
) -> Effect:
    """The mean over subjects of what ``of`` makes of a table, and over the trainings."""
    return over_trainings([mean_effect(name, of(rows), rule, margin) for _, rows in table.groupby("training")])


def spread_is_noise(study: Study) -> list[Effect]:
    """Y12: ``where_doubt_is`` once there is a model of hidden contrasts; until then, on the phantoms of all other
    claims, the spread has the size of the acquisition's noise and does not follow the error."""
    if study.ships("hidden"):
        return where_doubt_is(study)
    by = study.table("spread").groupby("subject")
    ratio = by.spread.apply(lambda s: np.sqrt((s**2).mean())) / by.sigma.first()
    return [
        mean_effect("spread over samples / sigma, less 1", ratio - 1, "within", 0.25),
        mean_effect("rank correlation of spread and true error", by["rank"].first(), "<", 0.3),
    ]


def where_doubt_is(study: Study) -> list[Effect]:
    """Where the sources tell the target the spread has the size of the acquisition's noise, and little to do
    with the error; where they do not it holds the doubt too, so that it would have shown it elsewhere."""
    t = study.table("hidden").query("path == 'truncated'")
    told = t[t.region == "told"]

    def seen(rows: pd.DataFrame) -> pd.Series:
        wide = rows.pivot(index="subject", columns="region", values=["spread", "doubt"])
        beyond = wide["spread"]["hidden"] ** 2 - wide["spread"]["told"] ** 2
        return np.sqrt(beyond.clip(lower=0)) / wide["doubt"]["hidden"] - 1

    return [
        each_training(
            told, "spread over samples / sigma, less 1", lambda rows: rows.spread / rows.sigma - 1, "within", 0.25
        ),
        each_training(told, "rank correlation of spread and true error", lambda rows: rows["rank"], "<", 0.3),
        each_training(t, "where sources do not tell: spread beyond noise / doubt, less 1", seen, "within", 0.5),
    ]


TABLES = {"hidden": hidden, "hidden_lesions": hidden_lesions}


EFFECTS = {"Y12": spread_is_noise}
NOTES: dict[str, str] = {
    "Y12": (
        "In these phantoms the sources determine almost everything, so the spread can hardly be anything but noise. "
        "Phantoms whose lesions are bright or dark at random, and rules for them, exist: yoda-nb rebuild ablations "
        "--only hidden (a minute on a GPU, two hours on a core), then rebuild evidence --only hidden,hidden_lesions. "
        "The verdict will then use them."
    )
}
