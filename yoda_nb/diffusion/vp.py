"""The variance-preserving process: from noise to an image (seeds 000, 001, 002, 003)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from yoda_nb.diffusion.coherence import aggregate_views
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import PREDICTIONS, SIGMAS, Denoiser, gaussian, vp_step
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.diffusion.system import Job, Process, Sampling, checked
from yoda_nb.errors import InputError
from yoda_nb.nets.base import placed
from yoda_nb.nets.replay import replayed


@dataclass(frozen=True)
class VP(Sampling):
    """Start from noise; the model's schedule unless another is named for its log-SNR."""

    sigma: str = "posterior"  # noise of a step: "posterior" | "fresh" | "zero"
    jump_to: int | None = None  # truncation: after the first step go on from this t
    schedule: str = ""  # another noise schedule than the model's own (seed 001, App. A)

    def __post_init__(self) -> None:
        checked("sigma", self.sigma, SIGMAS)

    def net(self, job: Job, noise: Schedule) -> nn.Module:
        """What is run on slabs: the model's net."""
        return model_net(job)

    def process(self, job: Job) -> Process:
        spec, card = job.spec, job.model.card
        in_log_snr = card.get("options", {}).get("log_snr", False)
        if self.schedule not in ("", card["schedule"]) and not in_log_snr:
            raise InputError(
                f"Model {job.model.name} was told times, not log-SNR: it samples with {card['schedule']} alone."
            )
        try:
            noise = schedule(self.schedule or card["schedule"], card["n_train"])
        except ValueError as error:
            raise InputError(f"{spec.name}: {error}.") from error
        if card["prediction"] not in PREDICTIONS:
            raise InputError(
                f"Model {job.model.name} tells {card['prediction']}, but {spec.name} needs one that tells "
                f"{', '.join(PREDICTIONS)}: choose another model."
            )
        net_time = noise.log_snr if in_log_snr else None
        denoise = volume_denoiser(
            self.net(job, noise), job.cut.source, noise, prediction=card["prediction"], net_time=net_time, **common(job)
        )
        step = partial(vp_step, schedule=noise, sigma=self.sigma, jump_to=self.jump_to)
        pairs, latents = job.pairs(len(noise), self.jump_to), getattr(job.model.config, "latent", 0)
        draws = latents or type(self).net is not VP.net  # a net that may draw between the steps
        return Process(finished(denoise, job), partial(_noise, job), pairs, step, None if draws else self.noiseless)

    def noiseless(self, t: int, s: int) -> bool:
        """Whether a step from t to s adds no noise: all of DDIM but the one that is re-noised."""
        return self.sigma == "zero" and s != self.jump_to


def common(job: Job) -> dict[str, Any]:
    """What every process passes on to ``volume_denoiser``."""
    config = job.model.config
    return {
        "thickness": config.thickness,
        "views": job.spec.views,
        "mask": job.cut.mask,
        "batch_size": job.batch_size,
        "margin": job.margin,
        "divisor": config.divisor,
        "half": job.half,
        "out_slices": config.out_slices,
    }


def finished(denoise: Denoiser, job: Job) -> Denoiser:
    """The denoiser with what a system asks of every x0: averaged views, values in range."""
    if job.spec.aggregate:
        denoise = aggregate_views(denoise, len(job.spec.views))
    return clipped(denoise) if job.spec.clip else denoise


def clipped(denoise: Denoiser) -> Denoiser:
    """x0 kept in [-1,1] (seed 001, 3.3)."""
    return lambda x, t, i: denoise(x, t, i).clamp(-1, 1)


def model_net(job: Job) -> nn.Module:
    """The model's net on the job's device; one with random latents draws them from the job's generator."""
    net = replayed(placed(job.model.net, job.device))
    size = getattr(job.model.config, "latent", 0)
    return WithLatents(net, size, job.generator) if size else net


class WithLatents(nn.Module):
    """A net whose random latents (N,L) are drawn anew for every batch of slabs (seed 002, IV-B.1)."""

    def __init__(self, net: nn.Module, size: int, generator: torch.Generator):
        super().__init__()
        self.net, self.size, self.generator = net, size, generator

    def forward(self, slabs: Tensor, times: Tensor, **given: Tensor) -> Tensor:
        latent = gaussian((len(slabs), self.size), self.generator, like=slabs)
        return self.net(slabs, times, latent=latent, **given)


def _noise(job: Job, generator: torch.Generator) -> Tensor:
    return gaussian(job.cut.mask.shape, generator).to(job.device)
