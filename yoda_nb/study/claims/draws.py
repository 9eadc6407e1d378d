"""Bootstrap draws over subjects: what intervals of perceptual distances and of noise rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.features import frechet_distance, kernel_distance, load_extractor, slices_for_features
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.study import tables

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study


DRAWS = 200  # of a bootstrap over subjects


def n_draws(study: Study) -> int:
    """Bootstrap draws; the tests' profile needs none that mean anything."""
    return 10 if study.profile == "tiny" else DRAWS


def fd_draws(
    volumes: Sequence[Volume],
    made: Mapping[str, Sequence[Tensor]],
    table: pd.DataFrame,
    *,
    seed: int,
    draws: int = DRAWS,
    kernel: bool = False,
) -> pd.DataFrame:
    """Draw 0 is all subjects, the others are drawn with replacement.

    ``table`` is the score table of the same images. Columns draw, sampler, fd, ssim (to acquired),
    noise, gap (distance of the noise to the acquired image's), n (slices), and with ``kernel`` kd.
    """
    extract = load_extractor()

    def features(each: Sequence[Tensor]) -> list[np.ndarray]:
        cut = (slices_for_features((x + 1) / 2, v.mask) for x, v in zip(each, volumes, strict=True))
        return [extract(slices).numpy() for slices in cut]

    real = features([required(v, "target") for v in volumes])
    fake = {label: features(each) for label, each in made.items()}
    rows = table[table.reference == "acquired"].set_index(["sampler", "subject"])
    levels = {v.subject: white_matter_noise((required(v, "target") + 1) / 2, tables.white_matter(v)) for v in volumes}
    acquired = pd.Series(levels)
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
            found.append(
                {
                    "draw": draw,
                    "sampler": label,
                    "fd": fd,
                    "ssim": mean.ssim,
                    "noise": mean.noise,
                    "gap": abs(mean.noise - level),
                    "n": len(target),
                    **({"kd": kernel_distance(target, drawn)} if kernel else {}),
                }
            )
    return pd.DataFrame(found)


def label_noise(volume: Volume, image: Tensor) -> float:
    """White-matter noise of an image (1,D,H,W) in [-1,1] with the anatomy's share taken out."""
    inside = tables.white_matter(volume)
    whole, structure = (white_matter_noise((x + 1) / 2, inside) for x in (image, required(volume, "clean")))
    return max(whole**2 - structure**2, 0.0) ** 0.5


def fewer(study: Study, n: int) -> int:
    """Steps of a trajectory: ``n``, or a few in the tests' profile."""
    return min(n, study.settings.n_steps) if study.profile == "tiny" else n
