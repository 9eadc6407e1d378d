"""Bootstrap draws over subjects: what intervals of perceptual distances and of noise rest on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.features import EYES, frechet_distance, kernel_distance, load_eyes, slices_for_features
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.study import tables
from yoda_papers.ledger.verdicts import Effect

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


DRAWS = 200  # of a bootstrap over subjects


def drawing(study: Study) -> dict[str, Any]:
    """How ``fd_draws`` draws in a study; the tests' profile needs no intervals that mean anything."""
    return {"seed": study.seed, "draws": 10 if study.profile == "tiny" else DRAWS, "own": study.eyes}


def fd_draws(
    volumes: Sequence[Volume],
    made: Mapping[str, Sequence[Tensor]],
    table: pd.DataFrame,
    *,
    seed: int,
    draws: int = DRAWS,
    kernel: bool = False,
    own: Iterable[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Draw 0 is all subjects, the others are drawn with replacement.

    ``table`` is the score table of the same images; ``own`` extractors of the user's come beside those of
    ``EYES``. Columns draw, sampler, fd by the offline extractor and fd_NAME by each other one (means over its
    nets), with ``kernel`` kd and kd_NAME, ssim (to acquired), noise, gap (distance of the noise to the acquired
    image's), n (slices).
    """
    first = next(iter(EYES))  # its columns are called fd and kd
    eyes = {"" if name == first else f"_{name}": nets for name, nets in load_eyes(own).items()}

    def features(each: Sequence[Tensor]) -> list[dict[str, list[np.ndarray]]]:
        cut = (slices_for_features((x + 1) / 2, v.mask) for x, v in zip(each, volumes, strict=True))
        return [{eye: [net(slices).numpy() for net in nets] for eye, nets in eyes.items()} for slices in cut]

    real = features([required(v, "target") for v in volumes])
    fake = {label: features(each) for label, each in made.items()}
    distances = {"fd": frechet_distance} | ({"kd": kernel_distance} if kernel else {})
    rows = table[table.reference == "acquired"].set_index(["sampler", "subject"])
    levels = {v.subject: white_matter_noise((required(v, "target") + 1) / 2, tables.white_matter(v)) for v in volumes}
    acquired = pd.Series(levels)
    names = [v.subject for v in volumes]
    rng = np.random.default_rng(seed)
    drawn = [np.arange(len(names))] + [rng.integers(len(names), size=len(names)) for _ in range(draws)]

    def measured(draw: int, label: str) -> dict[str, Any]:
        chosen = drawn[draw]
        subjects = [names[i] for i in chosen]
        mean = rows.loc[label].loc[subjects][["ssim", "noise"]].mean()
        apart = {
            f"{measure}{eye}": float(np.mean([of(*pair) for pair in _drawn(real, fake[label], chosen, eye)]))
            for eye in eyes
            for measure, of in distances.items()
        }
        gap = abs(mean.noise - acquired.loc[subjects].mean())
        n = sum(len(real[i][""][0]) for i in chosen)
        return {"draw": draw, "sampler": label, **apart, "ssim": mean.ssim, "noise": mean.noise, "gap": gap, "n": n}

    with ThreadPoolExecutor() as pool:  # nearly all of it is linear algebra, which leaves Python's lock
        return pd.DataFrame(pool.map(measured, *zip(*product(range(draws + 1), fake), strict=True)))


Features = Sequence[Mapping[str, Sequence[np.ndarray]]]  # of each subject: extractor -> features by each of its nets


def _drawn(real: Features, fake: Features, chosen: np.ndarray, eye: str) -> Iterator[list[np.ndarray]]:
    """Features of the chosen subjects, acquired and synthetic, by each net of an extractor."""
    for k in range(len(real[0][eye])):
        yield [np.concatenate([images[i][eye][k] for i in chosen]) for images in (real, fake)]


def by_eye(table: pd.DataFrame, effect: Callable[[pd.DataFrame], Effect]) -> list[Effect]:
    """What each extractor of a ``fd_draws`` table says of an effect of ``fd``: judged together."""
    eyes = {column.removeprefix("fd_"): column for column in table if column.startswith("fd_")}
    return [
        replace(effect(table.assign(fd=table[column])), extractor=eye)
        for eye, column in {next(iter(EYES)): "fd", **eyes}.items()
    ]


def label_noise(volume: Volume, image: Tensor) -> float:
    """White-matter noise of an image (1,D,H,W) in [-1,1] with the anatomy's share taken out."""
    inside = tables.white_matter(volume)
    whole, structure = (white_matter_noise((x + 1) / 2, inside) for x in (image, required(volume, "clean")))
    return max(whole**2 - structure**2, 0.0) ** 0.5


def fewer(study: Study, n: int) -> int:
    """Steps of a trajectory: ``n``, or a few in the tests' profile."""
    return min(n, study.settings.n_steps) if study.profile == "tiny" else n
