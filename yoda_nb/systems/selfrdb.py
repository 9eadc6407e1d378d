"""The self-consistent recursive bridge: from a noisy source image to the target."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from yoda_nb.bridges import Bridge, bridge, bridge_step
from yoda_nb.denoise import volume_denoiser
from yoda_nb.diffusion import gaussian
from yoda_nb.nets.recursive import SelfConsistent
from yoda_nb.systems.base import Job, Process, System
from yoda_nb.systems.vp import common, finished, model_net, steps

ROWS = (
    System(
        "selfrdb", "bridge from T2w with a soft prior, each x0 iterated to self-consistency",
        "Arslan et al. 2024, arXiv 2405.06789; competitor of seed 000", weights="systems/selfrdb",
        process="recursive", views=(2,), n_steps=10, recursions=5,
    ),
)  # fmt: skip


def recursive(job: Job) -> Process:
    """Start from the prior plus noise; each step iterates x0 and draws from the bridge's posterior.

    The card's option "prior" says which source channel the bridge ends in.
    """
    card = job.model.card
    path = bridge(card["schedule"], card["n_train"])
    at = int(card.get("options", {}).get("prior", 0))
    y = job.cut.source[at : at + 1].to(job.device)
    net = SelfConsistent(model_net(job), job.spec.recursions)
    denoise = volume_denoiser(net, job.cut.source, path, convert=lambda x, output, t: output, **common(job))
    step = partial(bridge_step, y=y, bridge=path, sigma=job.spec.sigma)
    return Process(finished(denoise, job), partial(_start, y, path), steps(job, len(path)), step)


def _start(y: Tensor, path: Bridge, generator: torch.Generator) -> Tensor:
    """x_T = b_T y + std_T eps: what the bridge ends in holds nothing of the target."""
    _, b, std = path.at(len(path) - 1)
    return b * y + std * gaussian(y.shape, generator, like=y)
