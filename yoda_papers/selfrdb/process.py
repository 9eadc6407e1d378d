"""Sampling of the self-consistent recursive bridge: from a noisy source image to the target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from yoda_nb.diffusion.bridges import SIGMAS, Bridge, bridge_step
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import gaussian
from yoda_nb.diffusion.samplers import stepwise
from yoda_nb.diffusion.system import Job, Process, Sampling, checked
from yoda_nb.diffusion.vp import common, finished, model_net
from yoda_nb.errors import InputError
from yoda_papers.selfrdb.path import soft_prior
from yoda_papers.selfrdb.recursive import SelfConsistent


@dataclass(frozen=True)
class Recursive(Sampling):
    """Start from the prior plus noise; each step iterates x0 and draws from the bridge's posterior.

    The card's option "prior" says which source channel the bridge ends in.
    """

    sigma: str = "posterior"  # noise of a step: "posterior", or none: "mean" of the posterior | "zero", as DDIM
    recursions: int = 5  # most estimates of x0 in a step

    def __post_init__(self) -> None:
        checked("sigma", self.sigma, SIGMAS)
        if self.recursions < 1:
            raise InputError(f"recursions must be at least 1, got {self.recursions}.")

    def process(self, job: Job) -> Process:
        card = job.model.card
        path = soft_prior(card["n_train"])
        at = int(card.get("options", {}).get("prior", 0))
        y = job.cut.source[at : at + 1].to(job.device)
        net = SelfConsistent(model_net(job), self.recursions)
        denoise = volume_denoiser(net, job.cut.source, None, convert=lambda x, output, t: output, **common(job))
        step = partial(bridge_step, y=y, bridge=path, sigma=self.sigma)
        return Process(finished(denoise, job), partial(_start, y, path), job.pairs(len(path)), stepwise(step))

    def evaluations(self, n_steps: int) -> int:
        return n_steps * self.recursions


def _start(y: Tensor, path: Bridge, generator: torch.Generator) -> Tensor:
    """x_T = b_T y + std_T eps: what the bridge ends in holds nothing of the target."""
    _, b, std = path.at(len(path) - 1)
    return b * y + std * gaussian(y.shape, generator, like=y)
