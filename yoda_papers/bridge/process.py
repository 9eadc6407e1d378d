"""Sampling of Brownian bridges with style keys, slices aligned (SKC-ISTA)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from yoda_nb.diffusion.bridges import SIGMAS, bridge_step
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import Step
from yoda_nb.diffusion.samplers import stepwise
from yoda_nb.diffusion.system import Job, Process, Sampling, checked
from yoda_nb.diffusion.vp import common, finished, model_net
from yoda_nb.errors import InputError
from yoda_nb.images.styles import histogram, nearest, style_key, unpack
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Given
from yoda_nb.nets.models import Model
from yoda_nb.preparation.load import load_volume
from yoda_papers.bridge.ista import corrected
from yoda_papers.bridge.path import ENDS, brownian, trained_ends

STYLES = ("average", "best", "exact", "foreign")
OF_THE_MODEL = ("", "average", "foreign")  # styles that its card keeps, whatever the subject


@dataclass(frozen=True)
class Aligned(Sampling):
    """Start from the source that the model's bridge ends in (the card's option "prior"), without noise.

    As the authors' code does, steps go to the posterior's mean and m_t stays 0.001 away from 0 and 1. Not
    as there, the style key is added to the embedding of time in every block (``nets.unet``), where theirs
    enters by cross-attention: with one key a volume both say one thing to every voxel of a slice.
    """

    sigma: str = "mean"  # noise of a step: "posterior", or none: "mean" of the posterior | "zero", as DDIM
    ends: str = "trained"  # of m_t: "open" (0.001 to 0.999) | "closed" (t/T) | "trained", as the model was
    style: str = "average"  # style key: "average" | "best" | "exact" | "foreign", or an image's path
    corrections: int = 1  # M of ISTA sampling [SKC-ISTA eq. 5]
    correction_size: float = 0.01  # lambda of ISTA sampling
    co_predict: bool = True  # average overlapping predictions of one slice [SKC-ISTA eq. 4]

    def __post_init__(self) -> None:
        checked("sigma", self.sigma, SIGMAS)
        checked("ends", self.ends, (*ENDS, "trained"))
        if self.corrections < 0:
            raise InputError(f"corrections must be at least 0, got {self.corrections}.")

    def process(self, job: Job) -> Process:
        spec, card = job.spec, job.model.card
        path = brownian(card["n_train"], ends=trained_ends(card["options"]) if self.ends == "trained" else self.ends)
        at = int(card["options"].get("prior", 0))
        y = job.cut.source[at : at + 1].to(job.device)
        denoise = volume_denoiser(
            self._keyed_net(job),
            job.cut.source,
            None,
            convert=lambda x, output, t: x - output,
            co_predict=self.co_predict,
            **common(job),
        )
        denoise = finished(denoise, job)
        step: Step = partial(bridge_step, y=y, bridge=path, sigma=self.sigma)
        if self.corrections:
            step = corrected(
                step,
                denoise,
                y=y,
                bridge=path,
                corrections=self.corrections,
                size=self.correction_size,
                axis=spec.views[0],
                mask=job.cut.mask.to(job.device),
            )
        return Process(denoise, lambda generator: y.clone(), job.pairs(len(path)), stepwise(step))

    def evaluations(self, n_steps: int) -> int:
        return n_steps + (n_steps - 1) * self.corrections  # the last step gives x0 itself

    def depends_on(self, volume: Volume, model: Model) -> dict[str, Tensor]:
        """A style key may come from the target or from a file, which nothing else describes."""
        if self.style in OF_THE_MODEL or not _bins(model):
            return {}
        return {"style": style_histogram(volume, model, self.style)}

    def _keyed_net(self, job: Job) -> nn.Module:
        net = model_net(job)
        if not _bins(job.model):
            if self.style not in ("", "average"):
                raise InputError(f"Model {job.model.name} takes no style key: leave style {self.style!r} out.")
            return net
        shares = style_histogram(job.inner, job.model, self.style)
        return Given(net, style=style_key(shares)[None].to(job.device))


def _bins(model: Model) -> int:
    return getattr(model.config, "style_bins", 0)


def style_histogram(volume: Volume, model: Model, style: str = "average") -> Tensor:
    """The histogram (bins,) that a style's name stands for [SKC-ISTA 3.1].

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
        own = histogram(volume.target, volume.mask, _bins(model))
        candidates = unpack(kept["training"])
        return own if style == "exact" else candidates[nearest(own, candidates)]
    if not Path(style).expanduser().is_file():
        raise InputError(f"Style {style!r} is neither an image nor one of {', '.join(STYLES)}.")
    like = load_volume({model.contrast: Path(style).expanduser()})
    return histogram(like.source, like.mask, _bins(model))
