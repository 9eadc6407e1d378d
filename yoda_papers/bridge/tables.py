"""Evidence on the slice-consistent Brownian bridge (SKC-ISTA).

Its parts are taken away one by one on phantoms of two scanners (Table 2); against Palette (Table 1)
both run on the phantoms of all other evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.process import expected
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.styles import distances, histogram
from yoda_nb.images.volumes import Volume, required
from yoda_nb.phantoms.looks import SCANNERS
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.study import tables
from yoda_nb.study.sampling import progress_bar
from yoda_nb.study.subjects import FIRST_SEED
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import get_system
from yoda_nb.systems.train import model_name
from yoda_papers.bridge import STYLED
from yoda_papers.bridge.measures import both_looks, residual, scanner_of, slice_looks, unevenness

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


SUBJECTS = 8  # test phantoms in Table 2, each of one of two scanners
_STYLED = [STYLED | {"look": name} for name in SCANNERS]  # of even seeds, of odd ones
N_EX = 2  # samples in Palette's mean
STEPS = 50  # evaluations without correction, as many as the paper's steps of ISTA; with it, half as many steps
ALONE = {"n_steps": STEPS, "corrections": 0, "co_predict": False}
JOINT = {"n_steps": STEPS, "corrections": 0}
CORRECTED = {"n_steps": STEPS // 2, "corrections": 1}
PURE, KEYED = "bbdm-pure-styles", "bbdm-styles"  # trainings
# Table 2: label -> training, settings of the system "bbdm"
DESIGNS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "no key": (PURE, {"style": "", **ALONE}),
    "no key, ISTA": (PURE, {"style": "", **CORRECTED}),
    "foreign key, ISTA": (KEYED, {"style": "foreign", **CORRECTED}),  # of a third scanner, as their Colin 27
    "average key": (KEYED, {"style": "average", **ALONE}),
    "average key, one step": (KEYED, {"style": "average", **JOINT, "n_steps": 1}),
    "average key, co-prediction": (KEYED, {"style": "average", **JOINT}),
    "average key, ISTA": (KEYED, {"style": "average", **CORRECTED}),
    "best key, ISTA": (KEYED, {"style": "best", **CORRECTED}),
    "exact key, ISTA": (KEYED, {"style": "exact", **CORRECTED}),
}
PALETTE = {"n_steps": 25}  # the paper takes 1000
REPEAT_STEPS = 4  # whether runs repeat does not hang on their number
RIVALS = ("bridge", "Palette", f"Palette, mean of {N_EX}")  # Table 1


def subjects(study: Study, most: int = SUBJECTS) -> list[Volume]:
    """``own``, or ``most`` phantoms, of the two scanners in turn; two in the tests' profile."""
    n = min(most, study.settings.evidence) if study.profile == "tiny" else most
    return list(study.own) or [phantom_case(seed, **_STYLED[seed % 2]) for seed in range(FIRST_SEED, FIRST_SEED + n)]


def _few(study: Study, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Few steps in the tests' profile."""
    most = {"n_steps": min(2, int(settings.get("n_steps", 2)))}
    return dict(settings) | (most if study.profile == "tiny" else {})


def draw(study: Study, v: Volume, training: str, settings: Mapping[str, Any]) -> Tensor:
    """The image (1,D,H,W) in [-1,1] of a bridge's training under settings of the system "bbdm"."""
    return study.samples(v, "bbdm", model=model_name(training), **_few(study, settings))[0]


def designs(study: Study) -> pd.DataFrame:
    """Style keys and ISTA, alone and together (Table 2).

    Columns of the score table plus nrmse (range 1), evaluations, and of the residual to the truth
    in the image's own style: unevenness (``unevenness``) and jumps (``slice_inconsistency``), [0,1]
    scale; style is the earth mover's distance of the image's histogram to the acquired target's. Of phantoms
    of two scanners scanner ("a" | "b"), and of the look of slices (``slice_looks``) the mean, look, and the
    standard deviation over slices, mixing.
    """
    cost = {label: get_system("bbdm", **_few(study, how)).evaluations for label, (_, how) in DESIGNS.items()}
    return _table(
        subjects(study), lambda v: {label: draw(study, v, *design) for label, design in DESIGNS.items()}, cost
    )


def rivals(study: Study) -> pd.DataFrame:
    """The bridge with average key and ISTA, a sample of Palette, and the mean of several (Table 1).

    Columns as of ``designs``, without those of scanners.
    """
    ours = get_system("bbdm", **_few(study, {})).evaluations
    one = get_system("palette", **_few(study, PALETTE)).evaluations
    cost = dict(zip(RIVALS, (ours, one, N_EX * one), strict=True))
    return _table(study.volumes, lambda v: rival_images(study, v), cost)


def rival_images(study: Study, v: Volume) -> dict[str, Tensor]:
    """What Table 1 compares on one subject: label -> (1,D,H,W) in [-1,1]."""
    ours = study.samples(v, "bbdm", **_few(study, {}))[0]
    drawn = study.samples(v, "palette", **_few(study, PALETTE | {"n_ex": N_EX}))
    return dict(zip(RIVALS, (ours, drawn[0], expected(drawn, "mean")), strict=True))


def _table(
    volumes: Sequence[Volume], images: Callable[[Volume], dict[str, Tensor]], cost: Mapping[str, int]
) -> pd.DataFrame:
    parts = []
    with progress_bar(total=len(volumes), desc="bridges") as bar:
        for v in volumes:
            made = images(v)
            scores = tables.score_table([v], {label: [image] for label, image in made.items()})
            known = made | ({} if v.target is None else {"acquired": v.target})
            looks = both_looks(v) if scanner_of(v) else None
            about = [{"sampler": label} | _slices(v, image) | _looks(v, image, looks) for label, image in known.items()]
            parts.append(scores.merge(pd.DataFrame(about), on="sampler"))
            bar.update()
    table = pd.concat(parts, ignore_index=True)
    return table.assign(nrmse=np.sqrt(table.mse), evaluations=table.sampler.map(cost))


def _slices(v: Volume, image: Tensor) -> dict[str, Any]:
    rest = residual(image, required(v, "target" if v.clean is None else "clean"), v.mask)
    own = histogram(required(v, "target"), v.mask)
    return {
        "unevenness": unevenness(rest, v.mask),
        "jumps": slice_inconsistency(rest, v.mask, AXIAL),
        "style": float(distances(own, histogram(image, v.mask)[None])[0]),
    }


def _looks(v: Volume, image: Tensor, looks: tuple[Tensor, Tensor] | None) -> dict[str, Any]:
    if looks is None:
        return {}
    share = slice_looks(image, looks, v.mask).look
    return {"scanner": scanner_of(v), "look": float(share.mean()), "mixing": float(share.std())}


def repeats(study: Study) -> pd.DataFrame:
    """Two runs of each sampler with different seeds of noise, sampled now (claim B04).

    Columns subject, sampler ("ISTA" | "posterior": the bridge's random steps | "Palette"), differ
    (voxels whose bytes differ), largest (difference, [0,1] scale).
    """
    samplers: dict[str, tuple[str, dict[str, Any]]] = {
        "ISTA": ("bbdm", {}),
        "posterior": ("bbdm", {"sigma": "posterior", "corrections": 0}),
        "Palette": ("palette", {}),
    }
    rows = []
    for v in study.volumes[: study.settings.subjects]:
        for label, (system, settings) in samplers.items():
            how = {"device": study.device or None, **_few(study, settings | {"n_steps": REPEAT_STEPS})}
            a, b = (required(translate(v, system, seed=study.seed + k, **how), "target") for k in (0, 1))
            rows.append(
                {
                    "subject": v.subject,
                    "sampler": label,
                    "differ": int((a != b).sum()),
                    "largest": float((a - b).abs().max()) / 2,
                }
            )
    return pd.DataFrame(rows)


TABLES = {"bridges": designs, "bridge_rivals": rivals, "bridge_repeats": repeats}
