"""Brownian bridges with style keys and slice-consistent sampling (seed 004), and Palette beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from yoda_nb.bridges import bridge, bridge_step
from yoda_nb.coherence import corrected
from yoda_nb.denoise import volume_denoiser
from yoda_nb.models import Model
from yoda_nb.nets import Given
from yoda_nb.styles import histogram, nearest, style_key, unpack
from yoda_nb.systems.base import Job, Process, System
from yoda_nb.systems.vp import common, finished, model_net, steps
from yoda_nb.volumes import InputError, Volume, load_volume

STYLES = ("average", "best", "exact", "foreign")
ROWS = (
    System(
        "bbdm", "deterministic Brownian bridge from T2w: average style key, slices that agree (ISTA)",
        "seed 004, 2.1-2.3", seed="004", weights="systems/bbdm", process="bridge", views=(2,), n_steps=8,
        sigma="zero", clip=True, style="average", corrections=1, correction_size=0.01,
    ),
    System(
        "palette", "slice by slice from noise: a conditional DDPM", "Saharia et al. 2022; competitor of seed 004",
        seed="004", weights="systems/palette", views=(2,), n_steps=50, clip=True,
    ),
)  # fmt: skip


def bridge_process(job: Job) -> Process:
    """Start from the source that the model's bridge ends in (the card's option "prior"), without noise."""
    spec, card = job.spec, job.model.card
    path = bridge(card["schedule"], card["n_train"])
    at = int(card["options"].get("prior", 0))
    y = job.cut.source[at : at + 1].to(job.device)
    denoise = volume_denoiser(_keyed_net(job), job.cut.source, path, convert=lambda x, output, t: x - output,
                              **common(job))  # fmt: skip
    denoise = finished(denoise, job)
    step = partial(bridge_step, y=y, bridge=path, sigma=spec.sigma)
    if spec.corrections:
        step = corrected(step, denoise, y=y, bridge=path, corrections=spec.corrections, size=spec.correction_size,
                         axis=spec.views[0], mask=job.cut.mask.to(job.device))  # fmt: skip
    return Process(denoise, lambda generator: y.clone(), steps(job, len(path)), step)


def _keyed_net(job: Job) -> nn.Module:
    net = model_net(job)
    if not getattr(job.model.config, "style_bins", 0):
        if job.spec.style not in ("", "average"):
            raise InputError(f"Model {job.model.name} takes no style key: leave style {job.spec.style!r} out.")
        return net
    shares = style_histogram(job.inner, job.model, job.spec.style)
    return Given(net, style=style_key(shares)[None].to(job.device))


def style_histogram(volume: Volume, model: Model, style: str = "average") -> Tensor:
    """The histogram (bins,) that a style's name stands for (seed 004, 3.1).

    "average" of the training targets; "best", the training target whose histogram is nearest to
    that of the volume's acquired target; "exact", that one's own (an oracle); "foreign", another
    scanner's; else the path of an image with the wanted look. Raises InputError for a model
    without style keys, a target that is not there, and an image that is none.
    """
    kept = model.card.get("styles")
    if kept is None:
        raise InputError(f"Model {model.name} keeps no styles: choose one that was trained with style keys.")
    style = style or "average"
    if style in ("average", "foreign"):
        return unpack(kept[style])
    if style in ("best", "exact"):
        if volume.target is None:
            raise InputError(f"Style {style!r} needs the acquired target of {volume.subject}: choose 'average'.")
        own = histogram(volume.target, volume.mask, model.config.style_bins)
        candidates = unpack(kept["training"])
        return own if style == "exact" else candidates[nearest(own, candidates)]
    if not Path(style).expanduser().is_file():
        raise InputError(f"Style {style!r} is neither an image nor one of {', '.join(STYLES)}.")
    like = load_volume({model.contrast: Path(style).expanduser()})
    return histogram(like.source, like.mask, model.config.style_bins)
