"""The variance-preserving process: from noise to an image (YODA, Koch, SynDiff, FastUNet)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from yoda_nb.diffusion.coherence import aggregate_views
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import PREDICTIONS, SIGMAS, Denoiser, gaussian, vp_step
from yoda_nb.diffusion.samplers import dpmpp_2m, heun, stepwise
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
    schedule: str = ""  # another noise schedule than the model's own [Koch App. A]

    def __post_init__(self) -> None:
        checked("sigma", self.sigma, SIGMAS)

    def net(self, job: Job, noise: Schedule) -> nn.Module:
        """What is run on slabs: the model's net."""
        return model_net(job)

    def process(self, job: Job) -> Process:
        noise = noise_schedule(job, self.schedule)
        denoise = vp_denoiser(job, self.net(job, noise), noise)
        step = partial(vp_step, schedule=noise, sigma=self.sigma, jump_to=self.jump_to)
        pairs, latents = job.pairs(len(noise), self.jump_to), getattr(job.model.config, "latent", 0)
        draws = latents or type(self).net is not VP.net  # a net that may draw between the steps
        quiet = None if draws else self.noiseless
        return Process(denoise, partial(_noise, job), pairs, stepwise(step), quiet)

    def noiseless(self, t: int, s: int) -> bool:
        """Whether a step from t to s adds no noise: all of DDIM but the one that is re-noised."""
        return self.sigma == "zero" and s != self.jump_to


SOLVERS = {"heun": heun, "dpmpp": dpmpp_2m}


@dataclass(frozen=True)
class ODE(Sampling):
    """Start from noise and solve the probability-flow ODE to second order: no noise is drawn after the start.

    DDIM, which is VP with sigma "zero", solves the same ODE to first order.
    """

    solver: str = "heun"  # "heun" (two evaluations a step but the last) | "dpmpp" (DPM-Solver++(2M): one)
    schedule: str = ""  # another noise schedule than the model's own [Koch App. A]

    def __post_init__(self) -> None:
        checked("solver", self.solver, tuple(SOLVERS))

    def process(self, job: Job) -> Process:
        noise = noise_schedule(job, self.schedule)
        denoise = vp_denoiser(job, model_net(job), noise)
        return Process(
            denoise, partial(_noise, job), job.pairs(len(noise)), partial(SOLVERS[self.solver], schedule=noise)
        )

    def evaluations(self, n_steps: int) -> int:
        return 2 * n_steps - 1 if self.solver == "heun" else n_steps


def noise_schedule(job: Job, name: str = "") -> Schedule:
    """The noise schedule of a job's model, or the one named; InputError where the model cannot use it."""
    card = job.model.card
    if name not in ("", card["schedule"]) and not _in_log_snr(job):
        raise InputError(
            f"Model {job.model.name} was trained with times, not log-SNR: it samples with {card['schedule']} alone."
        )
    try:
        return schedule(name or card["schedule"], card["n_train"])
    except ValueError as error:
        raise InputError(f"{job.spec.name}: {error}.") from error


def vp_denoiser(job: Job, net: nn.Module, noise: Schedule) -> Denoiser:
    """The denoiser of a job's volume by a net of slabs that predicts v, eps or x0; InputError for any other."""
    prediction = job.model.card["prediction"]
    if prediction not in PREDICTIONS:
        raise InputError(
            f"Model {job.model.name} tells {prediction}, but {job.spec.name} needs one that tells "
            f"{', '.join(PREDICTIONS)}: choose another model."
        )
    net_time = noise.log_snr if _in_log_snr(job) else None
    denoise = volume_denoiser(net, job.cut.source, noise, prediction=prediction, net_time=net_time, **common(job))
    return finished(denoise, job)


def _in_log_snr(job: Job) -> bool:
    """Whether the model was told log-SNR in place of times."""
    return bool(job.model.card.get("options", {}).get("log_snr", False))


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
        denoise = aggregate_views(denoise, len(job.spec.views), job.on_views)
    return clipped(denoise) if job.spec.clip else denoise


def clipped(denoise: Denoiser) -> Denoiser:
    """x0 kept in [-1,1] [Koch 3.3]."""
    return lambda x, t, i: denoise(x, t, i).clamp(-1, 1)


def model_net(job: Job) -> nn.Module:
    """The model's net on the job's device; one with random latents draws them from the job's generator."""
    net = replayed(placed(job.model.net, job.device))
    size = getattr(job.model.config, "latent", 0)
    return WithLatents(net, size, job.generator) if size else net


class WithLatents(nn.Module):
    """A net whose random latents (N,L) are drawn anew for every batch of slabs [SynDiff IV-B.1]."""

    def __init__(self, net: nn.Module, size: int, generator: torch.Generator):
        super().__init__()
        self.net, self.size, self.generator = net, size, generator

    def forward(self, slabs: Tensor, times: Tensor, **given: Tensor) -> Tensor:
        latent = gaussian((len(slabs), self.size), self.generator, like=slabs)
        return self.net(slabs, times, latent=latent, **given)


def _noise(job: Job, generator: torch.Generator) -> Tensor:
    return gaussian(job.cut.mask.shape, generator).to(job.device)
