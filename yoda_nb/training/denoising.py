"""Training by denoising, and plain regression: one net, one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from yoda_nb.diffusion.process import add_noise, prediction_target
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.training.method import Method, Player

if TYPE_CHECKING:
    from yoda_nb.training.batches import Batch, TrainConfig

MIN_SNR = 5.0  # gamma of seed 001, eq. 7


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (N,S,A,B) weighted by (N,1,A,B)."""
    return (weight * values).sum() / (weight.sum() * values.shape[1])


def middle_of(slabs: Tensor) -> Tensor:
    """The middle slice of one channel's slabs: (N,S,A,B) -> (N,1,A,B)."""
    m = slabs.shape[1] // 2
    return slabs[:, m : m + 1]


def diffusion_loss(net: nn.Module, batch: Batch, config: TrainConfig, noise: Schedule) -> Tensor:
    """Mask-weighted mean squared error of the predicted target (seed 000, Alg. 1, eq. 7)."""
    ab = noise.alpha_bar.to(batch.target)[batch.times].view(-1, 1, 1, 1)
    x_t = add_noise(batch.target, batch.eps, ab)  # (N,S,A,B)
    wanted = prediction_target(middle_of(batch.target), middle_of(batch.eps), ab, config.prediction)
    output = net(torch.cat([x_t, batch.source], 1), batch.times).float()
    return masked_mean((output - wanted).square(), batch.weight)


def _diffusion(nets: Mapping[str, nn.Module], batch: Batch, config: TrainConfig) -> Tensor:
    return diffusion_loss(nets["net"], batch, config, schedule(config.schedule, config.n_train))


def regression_loss(nets: Mapping[str, nn.Module], batch: Batch, config: TrainConfig) -> Tensor:
    """Mask-weighted mean squared error of a net that sees the sources alone."""
    slabs = torch.cat([torch.zeros_like(batch.target), batch.source], 1)
    output = nets["net"](slabs, batch.times).float()
    return masked_mean((output - middle_of(batch.target)).square(), batch.weight)


DIFFUSION = Method("diffusion", (Player(("net",), _diffusion),))
REGRESSION = Method("regression", (Player(("net",), regression_loss),))
