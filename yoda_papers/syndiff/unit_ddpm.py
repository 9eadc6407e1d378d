"""UNIT-DDPM, two diffusions side by side, each guided by the other's noisy images: a rival of SynDiff (IV-B.8).

Sasaki, Willcocks and Breckon (2021), arXiv 2104.05358. Trained on images and their translations, both at one noise
level; sampling takes the source, noised anew for each step, in place of a translation (release time 1: to the end).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from yoda_nb.diffusion.process import add_noise, gaussian, prediction_target
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.diffusion.system import Job
from yoda_nb.diffusion.vp import VP, model_net
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Nets, Player
from yoda_papers.syndiff.cyclegan import background, cycle_loss, estimates, one_shot_nets

CYCLE = 1.0  # SynDiff, IV-B.8


@dataclass(frozen=True)
class Parallel(VP):
    """As VP, where the net is shown the sources at the noise level of x_t."""

    def net(self, job: Job, noise: Schedule) -> nn.Module:
        return NoisedSources(model_net(job), noise, job.generator)


class NoisedSources(nn.Module):
    """A net whose sources are noised to the level of its time: slabs (N, 1 + n_sources, A, B), times (N,)."""

    def __init__(self, net: nn.Module, noise: Schedule, generator: torch.Generator):
        super().__init__()
        self.net, self.alpha_bar, self.generator = net, noise.alpha_bar, generator

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        sources = slabs[:, 1:]
        ab = self.alpha_bar[times.long().cpu()].to(slabs).view(-1, 1, 1, 1)
        noisy = add_noise(sources, gaussian(sources.shape, self.generator, like=sources), ab)
        return self.net(torch.cat([slabs[:, :1], noisy], 1), times)


def build(config: TrainConfig) -> dict[str, nn.Module]:
    nets = {name: net for name, net in one_shot_nets(config).items() if name in ("to_a", "to_b")}
    # x_t of n contrasts and one guide are as many channels as x_t of one and n guides
    return {"net": config.net.build(), "net_a": replace(config.net, out_slices=config.net.n_sources).build(), **nets}


def denoising(nets: Nets, batch: Batch, config: TrainConfig, y_a: Tensor, y_b: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors of what is told of x_t in domains A and B, each beside the translation ``y`` of its own image.

    Translations y_a (N,C,A,B) of targets and y_b (N,1,A,B) of sources get the noise level of x_t (the paper's Alg. 1).
    """
    noise = schedule(config.schedule, config.n_train)
    ab = noise.alpha_bar.to(batch.target)[batch.times].view(-1, 1, 1, 1)
    losses = []
    for name, clean, inside, guide, (eps, other) in (
        ("net_a", batch.source, batch.source_weight, y_b, _noise(batch, "a")),
        ("net", batch.target, batch.weight, y_a, _noise(batch, "b")),
    ):
        x0 = background(clean, inside)
        slabs = torch.cat([add_noise(x0, eps, ab), add_noise(guide, other, ab)], 1)
        wanted = prediction_target(x0, eps, ab, config.prediction)
        losses.append(masked_mean((nets[name](slabs, batch.times).float() - wanted).square(), inside))
    return losses[0], losses[1]


def translators_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """What translations cost both denoisers, and their cycle."""
    y_a, y_b = estimates(nets, batch)
    cycle = float(config.option("cycle", CYCLE)) * cycle_loss(nets, batch, y_a, y_b)
    return cycle + sum(denoising(nets, batch, config, y_a, y_b), torch.zeros(()))


def denoisers_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        translations = estimates(nets, batch)
    return sum(denoising(nets, batch, config, *translations), torch.zeros(()))


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The squared error in domain B alone."""
    return denoising(nets, batch, config, *estimates(nets, batch))[1]


def _noise(batch: Batch, domain: str) -> tuple[Tensor, Tensor]:
    """Noise of a domain's images and of their translations, which are as many channels as the other domain has."""
    a, b = batch.source, batch.target
    numbers = batch.noise.split([a[0].numel(), b[0].numel(), a[0].numel()], 1)
    if domain == "a":
        return numbers[0].reshape(a.shape), numbers[1].reshape(b.shape)
    return batch.eps, numbers[2].reshape(a.shape)


UNIT_DDPM = Method(
    "unit-ddpm",
    (Player(("to_a", "to_b"), translators_loss), Player(("net", "net_a"), denoisers_loss)),
    build,
    validation,
    lambda config: (2 * config.net.n_sources + 1) * config.window**2,
)
