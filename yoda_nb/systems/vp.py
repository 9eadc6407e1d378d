"""The variance-preserving process: from noise to an image (seeds 000, 001, 002, 003)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from yoda_nb.coherence import aggregate_views
from yoda_nb.denoise import volume_denoiser
from yoda_nb.diffusion import Denoiser, Pair, gaussian, schedule, time_pairs, vp_step
from yoda_nb.systems.base import Job, Process
from yoda_nb.volumes import InputError


def vp(job: Job) -> Process:
    """Start from noise; the model's schedule unless the system names another for its log-SNR."""
    spec, card = job.spec, job.model.card
    in_log_snr = card.get("options", {}).get("log_snr", False)
    if spec.schedule not in ("", card["schedule"]) and not in_log_snr:
        raise InputError(
            f"Model {job.model.name} was told times, not log-SNR: it samples with {card['schedule']} alone."
        )
    try:
        noise = schedule(spec.schedule or card["schedule"], card["n_train"])
    except ValueError as error:
        raise InputError(f"{spec.name}: {error}.") from error
    net = model_net(job)
    denoise = volume_denoiser(net, job.cut.source, noise, target=card["prediction"],
                              net_time=noise.log_snr if in_log_snr else None, **common(job))  # fmt: skip
    step = partial(vp_step, schedule=noise, sigma=spec.sigma, jump_to=spec.jump_to)
    return Process(finished(denoise, job), partial(_noise, job), steps(job, len(noise)), step)


def common(job: Job) -> dict:
    """What every process passes on to ``volume_denoiser``."""
    config, spec = job.model.config, job.spec
    return {"thickness": config.thickness, "views": spec.views, "mask": job.cut.mask, "batch_size": job.batch_size,
            "divisor": config.divisor, "half": job.half, "out_slices": config.out_slices,
            "co_predict": spec.co_predict}  # fmt: skip


def finished(denoise: Denoiser, job: Job) -> Denoiser:
    """The denoiser with what a system asks of every x0: averaged views, values in range."""
    if job.spec.aggregate:
        denoise = aggregate_views(denoise, len(job.spec.views))
    return clipped(denoise) if job.spec.clip else denoise


def clipped(denoise: Denoiser) -> Denoiser:
    """x0 kept in [-1,1] (seed 001, 3.3)."""
    return lambda x, t, i: denoise(x, t, i).clamp(-1, 1)


def steps(job: Job, n_train: int) -> list[Pair]:
    """The system's time pairs; InputError where its steps do not fit."""
    spec = job.spec
    try:
        return time_pairs(n_train, spec.n_steps, jump_to=spec.jump_to, times=spec.times)
    except ValueError as error:
        raise InputError(f"{spec.name} cannot run these steps: {error}.") from error


def model_net(job: Job) -> nn.Module:
    """The model's net on the job's device; one with random latents draws them from the job's generator."""
    net = job.model.net.to(job.device)
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
