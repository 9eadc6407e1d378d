"""Diffusion in continuous time: the net is told log-SNR, so any schedule may follow [Koch 3.3]."""

from __future__ import annotations

import torch
from torch import Tensor

from yoda_nb.diffusion.process import add_noise, prediction_target, to_x0
from yoda_nb.diffusion.schedules import log_snr
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import MIN_SNR, masked_mean, middle_of
from yoda_nb.training.method import Method, Nets, Player

OPTIONS = (("log_snr", True), ("min_snr", MIN_SNR))


def min_snr_weight(snr: Tensor, gamma: float) -> Tensor:
    """min(SNR, gamma) / (SNR + 1): the weight of a squared error of v [Koch eq. 7]."""
    return snr.clamp(max=gamma) / (snr + 1)


def levels(batch: Batch, config: TrainConfig) -> Tensor:
    """log-SNR (N,) of a batch at its continuous times, kept within -10 and 10 (``schedules.LOG_SNR_LIMIT``)."""
    return log_snr(config.schedule, (batch.times + batch.fractions) / config.n_train)


def predict(nets: Nets, batch: Batch, config: TrainConfig, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x_t (N,S,A,B) at these log-SNRs (N,), the net's output (N,1,A,B) there, and alpha^2 (N,1,1,1)."""
    ab = torch.sigmoid(level).view(-1, 1, 1, 1)
    x_t = add_noise(batch.target, batch.eps, ab)
    return x_t, nets["net"](torch.cat([x_t, batch.source], 1), level).float(), ab


def continuous_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Squared error of v, weighted by Min-SNR where the option "min_snr" is above 0 [Koch eq. 7]."""
    level = levels(batch, config)
    _, output, ab = predict(nets, batch, config, level)
    error = (output - prediction_target(middle_of(batch.target), middle_of(batch.eps), ab, config.prediction)).square()
    gamma = config.option("min_snr", MIN_SNR)
    if gamma:
        error = error * min_snr_weight(level.exp(), gamma).view(-1, 1, 1, 1)
    return masked_mean(error, batch.weight)


def x0_error(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Mean squared error of x0 on the [0,1] scale, times uniform: the same measure for any weight."""
    x_t, output, ab = predict(nets, batch, config, levels(batch, config))
    x0 = to_x0(middle_of(x_t), output, ab, config.prediction).clamp(-1, 1)
    inside = (batch.weight == 1).float()
    return masked_mean(((x0 - middle_of(batch.target)) / 2).square(), inside)


CONTINUOUS = Method("continuous", (Player(("net",), continuous_loss),), validate=x0_error)
