"""Views and slices of a regression: what three planes buy, and slices of uneven gain made even (YODA)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.diffusion.coherence import homogenise_slices, slice_inconsistency
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import score
from yoda_nb.systems.run import subject_seed, translate
from yoda_papers.ledger.verdicts import Effect, mean_effect, paired_effect

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


SUBJECTS = 30  # whose slices get gains
SLICE_GAINS = (0.02, 0.05, 0.1)  # standard deviation of the brightness of axial slices of a source


def _against_truth(v: Volume, image: Tensor) -> dict[str, float]:
    """ssim, psnr, mse, and the inconsistency of axial slices, all on the [0,1] scale."""
    truth = required(v, "clean")
    found = score((image + 1) / 2, (truth + 1) / 2, v.mask, data_range=1)
    jumps = slice_inconsistency((image - truth) / 2, v.mask, AXIAL)
    return {**{name: found[name] for name in ("ssim", "psnr", "mse")}, "inconsistency": jumps}


def views(study: Study) -> pd.DataFrame:
    """Regression by each view, by all three, and after slice homogenisation, against the truth.

    Columns subject, image ("view 0".."view 2", "three views", "homogenised"), ssim, psnr, mse,
    inconsistency. The homogenised one is the axial view corrected.
    """
    rows = []
    for v in study.volumes:
        view = partial(translate, v, "yoda-regression", aggregate=False, seed=study.seed, device=study.device or None)
        alone = [required(view(views=(axis,)), "target") for axis in range(3)]
        shown = {f"view {axis}": image for axis, image in enumerate(alone)}
        shown["three views"] = study.samples(v, "yoda-regression")[0]
        shown["homogenised"] = homogenise_slices(alone[AXIAL], v.mask, axis=AXIAL)
        rows += [{"subject": v.subject, "image": name, **_against_truth(v, image)} for name, image in shown.items()]
    return pd.DataFrame(rows)


def uneven(volume: Volume, spread: float, generator: torch.Generator) -> Volume:
    """A volume whose sources have a gain of their own in each axial slice, as a scanner gives 2D slices.

    Gains are normal about 1, each source's own; intensities stay in [-1,1].
    """
    axis = 1 + AXIAL
    shape = [len(volume.source), 1, 1, 1]
    shape[axis] = volume.source.shape[axis]
    gain = 1 + spread * torch.randn(shape, generator=generator)
    bright = (2 * ((volume.source + 1) / 2 * gain).clamp(0, 1) - 1).where(volume.mask, torch.tensor(-1.0))
    return replace(volume, source=bright)


def gains(study: Study) -> pd.DataFrame:
    """Axial regression from sources of uneven slices, as made and homogenised, against the truth.

    Columns subject, gain (its standard deviation), image ("as made" | "homogenised"), ssim, psnr, mse,
    inconsistency.
    """
    rows = []
    for v in study.more(SUBJECTS):
        for spread in SLICE_GAINS:
            generator = torch.Generator().manual_seed(subject_seed(v.subject, study.seed))
            how = {"views": (AXIAL,), "aggregate": False, "seed": study.seed, "device": study.device or None}
            made = required(translate(uneven(v, spread, generator), "yoda-regression", **how), "target")
            shown = {"as made": made, "homogenised": homogenise_slices(made, v.mask, axis=AXIAL)}
            about = {"subject": v.subject, "gain": spread}
            rows += [{**about, "image": name, **_against_truth(v, image)} for name, image in shown.items()]
    return pd.DataFrame(rows)


def views_help(study: Study) -> list[Effect]:
    """Y21: three views against the mean of the single ones."""
    t = study.table("views").replace({"image": {f"view {axis}": "one view" for axis in range(3)}})
    return [
        paired_effect(t, "ssim", "three views", "one view", ">", by="image"),
        paired_effect(t, "psnr", "three views", "one view", ">", by="image", unit="dB"),
    ]


def homogenised(study: Study) -> list[Effect]:
    """Y22: from sources of uneven slices, smaller jumps and no larger error against the truth, at every gain."""
    effects = []
    for spread, rows in study.table("gains").groupby("gain"):
        wide = rows.pivot(index="subject", columns="image", values=["inconsistency", "mse"])
        change = 100 * (wide.xs("homogenised", axis=1, level=1) / wide.xs("as made", axis=1, level=1) - 1)
        of = f"change, gains of {100 * float(spread):g} %"
        effects += [
            mean_effect(f"slice inconsistency, {of}", change.inconsistency, "<", unit="%"),
            mean_effect(f"MSE to the truth, {of}", change.mse, "<", 2, unit="%"),
        ]
    return effects


TABLES = {"views": views, "gains": gains}


EFFECTS = {"Y21": views_help, "Y22": homogenised}
NOTES: dict[str, str] = {
    "Y22": (
        "The slices of phantoms have no gain of their own, so there is nothing to lower (table views). Here each "
        "axial slice of each source gets its own brightness, as in 2D acquisitions."
    )
}
