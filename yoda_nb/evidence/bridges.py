"""Evidence on the slice-consistent Brownian bridge (seed 004).

Its parts are taken away one by one on phantoms whose look varies (Table 2); against Palette (Table 1)
both run on the phantoms of all other evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from yoda_nb import study, tables
from yoda_nb.coherence import slice_inconsistency
from yoda_nb.diffusion import expected
from yoda_nb.phantom import phantom_case
from yoda_nb.styles import distances, histogram
from yoda_nb.systems import get_system, translate
from yoda_nb.trainings import model_name
from yoda_nb.trainings.bridges import STYLED
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

AXIAL = 2
FIRST_SEED = 1001  # of the manifest's test phantoms, here with a look of their own
N_EX = 2  # samples in Palette's mean
STEPS = 10  # evaluations without correction; with one of each step, half as many steps
ALONE = {"n_steps": STEPS, "corrections": 0, "co_predict": False}
TOGETHER = {"n_steps": STEPS, "corrections": 0}
ISTA = {"n_steps": STEPS // 2, "corrections": 1}
PURE, KEYED = "bbdm-pure-styles", "bbdm-styles"  # trainings
# Table 2: label -> training, settings of the system "bbdm"
DESIGNS: dict[str, tuple[str, Mapping[str, object]]] = {
    "no key": (PURE, {"style": "", **ALONE}),
    "no key, ISTA": (PURE, {"style": "", **ISTA}),
    "foreign key": (KEYED, {"style": "foreign", **ALONE}),
    "average key": (KEYED, {"style": "average", **ALONE}),
    "average key, one step": (KEYED, {"style": "average", **TOGETHER, "n_steps": 1}),
    "average key, co-prediction": (KEYED, {"style": "average", **TOGETHER}),
    "average key, ISTA": (KEYED, {"style": "average", **ISTA}),
    "best key, ISTA": (KEYED, {"style": "best", **ISTA}),
    "exact key, ISTA": (KEYED, {"style": "exact", **ISTA}),
}
PALETTE = {"n_steps": 25}  # the paper takes 1000
REPEAT_STEPS = 4  # whether runs repeat does not hang on their number
RIVALS = ("bridge", "Palette", f"Palette, mean of {N_EX}")  # Table 1


def subjects(of: Study, most: int = 100) -> list[Volume]:
    """``own``, or as many phantoms of varied look as the profile asks for, ``most`` at most."""
    seeds = range(FIRST_SEED, FIRST_SEED + min(most, of.settings.evidence))
    return list(of.own) or [phantom_case(seed, **STYLED) for seed in seeds]


def draw(of: Study, v: Volume, training: str, settings: Mapping[str, object]) -> Tensor:
    """The image (1,D,H,W) in [-1,1] of a bridge's training under settings of the system "bbdm"."""
    return of.samples(v, "bbdm", model=model_name(training), **fewer(of, settings))[0]


def fewer(of: Study, settings: Mapping[str, object]) -> dict:
    """Few steps in the tests' profile."""
    most = {"n_steps": min(2, int(settings.get("n_steps", 2)))}
    return dict(settings) | (most if of.profile == "tiny" else {})


def residual(image: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """Image less the truth in the image's own style, [0,1] scale, 0 outside: (1,D,H,W) from [-1,1].

    The truth's values are moved, rank for rank inside the mask, to those of the image: one monotone
    curve for the whole volume, so what remains is not style but unevenness, structure and noise.
    """
    values, order = image[mask], truth[mask].argsort()
    moved = torch.empty_like(values)
    moved[order] = values.sort().values
    result = torch.zeros_like(image)
    result[mask] = (values - moved) / 2
    return result


def slice_means(rest: Tensor, mask: Tensor, axis: int = AXIAL) -> pd.DataFrame:
    """Mean of a residual (1,D,H,W) in the mask for each slice: columns slice, mean.

    Slices with less than a tenth of the largest one's voxels are left out.
    """
    inside = mask.movedim(1 + axis, 0).flatten(1)
    count = inside.sum(1)
    used = count >= 0.1 * count.max()
    means = (rest.movedim(1 + axis, 0).flatten(1) * inside).sum(1)[used] / count[used]
    return pd.DataFrame({"slice": used.nonzero()[:, 0].numpy(), "mean": means.numpy()})


def unevenness(rest: Tensor, mask: Tensor, axis: int = AXIAL) -> float:
    """Uneven brightness: the standard deviation of ``slice_means``, in the residual's unit."""
    return float(slice_means(rest, mask, axis)["mean"].std())


def designs(of: Study) -> pd.DataFrame:
    """Style keys and ISTA, alone and together (Table 2).

    Columns of the score table plus nrmse (range 1), evaluations, and of the residual to the truth
    in the image's own style: unevenness (``unevenness``) and jumps (``slice_inconsistency``), [0,1]
    scale; style is the earth mover's distance of the image's histogram to the acquired target's.
    """
    cost = {label: get_system("bbdm", **fewer(of, how)).evaluations for label, (_, how) in DESIGNS.items()}
    return _table(subjects(of), lambda v: {label: draw(of, v, *design) for label, design in DESIGNS.items()}, cost)


def rivals(of: Study) -> pd.DataFrame:
    """The bridge with average key and ISTA, a sample of Palette, and the mean of several (Table 1).

    Columns as of ``designs``.
    """
    ours = get_system("bbdm", **fewer(of, {})).evaluations
    one = get_system("palette", **fewer(of, PALETTE)).evaluations
    return _table(of.volumes, lambda v: rival_images(of, v), dict(zip(RIVALS, (ours, one, N_EX * one), strict=True)))


def rival_images(of: Study, v: Volume) -> dict[str, Tensor]:
    """What Table 1 compares on one subject: label -> (1,D,H,W) in [-1,1]."""
    ours = of.samples(v, "bbdm", **fewer(of, {}))[0]
    drawn = of.samples(v, "palette", **fewer(of, PALETTE | {"n_ex": N_EX}))
    return dict(zip(RIVALS, (ours, drawn[0], expected(drawn, "mean")), strict=True))


def _table(volumes: Sequence[Volume], images: Callable[[Volume], dict[str, Tensor]],
           cost: Mapping[str, int]) -> pd.DataFrame:  # fmt: skip
    parts = []
    with study.progress_bar(total=len(volumes), desc="bridges") as bar:
        for v in volumes:
            made = images(v)
            scores = tables.score_table([v], {label: [image] for label, image in made.items()})
            known = made | ({} if v.target is None else {"acquired": v.target})
            about = pd.DataFrame([{"sampler": label, **_slices(v, image)} for label, image in known.items()])
            parts.append(scores.merge(about, on="sampler"))
            bar.update()
    table = pd.concat(parts, ignore_index=True)
    return table.assign(nrmse=np.sqrt(table.mse), evaluations=table.sampler.map(cost))


def _slices(v: Volume, image: Tensor) -> dict[str, float]:
    rest = residual(image, v.target if v.clean is None else v.clean, v.mask)
    own = histogram(v.target, v.mask)
    return {"unevenness": unevenness(rest, v.mask), "jumps": slice_inconsistency(rest, v.mask, AXIAL),
            "style": float(distances(own, histogram(image, v.mask)[None])[0])}  # fmt: skip


def repeats(of: Study) -> pd.DataFrame:
    """Two runs of each sampler with different seeds of noise, sampled now (claim B04).

    Columns subject, sampler ("ISTA" | "posterior": the bridge's random steps | "Palette"), differ
    (voxels whose bytes differ), largest (difference, [0,1] scale).
    """
    samplers = {"ISTA": ("bbdm", {}), "posterior": ("bbdm", {"sigma": "posterior", "corrections": 0}),
                "Palette": ("palette", {})}  # fmt: skip
    rows = []
    for v in of.volumes[: of.settings.subjects]:
        for label, (system, settings) in samplers.items():
            how = {"device": of.device or None, **fewer(of, settings | {"n_steps": REPEAT_STEPS})}
            a, b = (translate(v, system, seed=of.seed + k, **how).target for k in (0, 1))
            rows.append({"subject": v.subject, "sampler": label, "differ": int((a != b).sum()),
                         "largest": float((a - b).abs().max()) / 2})  # fmt: skip
    return pd.DataFrame(rows)


MAKERS = {"bridges": designs, "bridge_rivals": rivals, "bridge_repeats": repeats}
