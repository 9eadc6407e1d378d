"""Training by denoising, and plain regression: one net, one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from yoda_nb.diffusion.process import add_noise, prediction_target, to_x0
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.training.method import Method, Player

if TYPE_CHECKING:
    from yoda_nb.training.batches import Batch, TrainConfig

MIN_SNR = 5.0  # gamma of Koch, eq. 7


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of (N,S,A,B) weighted by (N,1,A,B)."""
    return (weight * values).sum() / (weight.sum() * values.shape[1])


def middle_of(slabs: Tensor) -> Tensor:
    """The middle slice of one channel's slabs: (N,S,A,B) -> (N,1,A,B)."""
    m = slabs.shape[1] // 2
    return slabs[:, m : m + 1]


def diffusion_loss(net: nn.Module, batch: Batch, config: TrainConfig, noise: Schedule) -> Tensor:
    """Mask-weighted mean squared error of the predicted target [YODA Alg. 1, eq. 7].

    With ``config.structure`` the x0 that the prediction stands for is held to the target by ``structural_loss``.
    """
    ab = noise.alpha_bar.to(batch.target)[batch.times].view(-1, 1, 1, 1)
    x_t = add_noise(batch.target, batch.eps, ab)  # (N,S,A,B)
    output = net(torch.cat([x_t, batch.source], 1), batch.times).float()
    if config.structure:
        x0 = to_x0(middle_of(x_t), output, ab, config.prediction)
        return structural_loss(x0, middle_of(batch.target), batch.weight, config.structure)
    wanted = prediction_target(middle_of(batch.target), middle_of(batch.eps), ab, config.prediction)
    return masked_mean((output - wanted).square(), batch.weight)


def structural_loss(x0: Tensor, target: Tensor, weight: Tensor, structure: float) -> Tensor:
    """Mask-weighted mean absolute error, and ``structure`` times one less the SSIM of the masked images.

    (N,1,A,B) in [-1,1]. The mixture of Zhao et al. 2017 (Loss functions for image restoration with neural
    networks): squared error alone pays for sharp edges that it cannot place with blur.
    """
    from monai.losses import SSIMLoss  # seconds: only where it is trained by

    inside = weight >= 1
    with torch.autocast(x0.device.type, enabled=False):  # variances are differences of squares
        unlike = SSIMLoss(2, data_range=2.0, win_size=7)(torch.where(inside, x0, -1.0), target.where(inside, -1.0))
    return masked_mean((x0 - target).abs(), weight) + structure * unlike / inside.float().mean().clamp_min(0.1)


def _diffusion(nets: Mapping[str, nn.Module], batch: Batch, config: TrainConfig) -> Tensor:
    return diffusion_loss(nets["net"], batch, config, schedule(config.schedule, config.n_train))


def regression_loss(nets: Mapping[str, nn.Module], batch: Batch, config: TrainConfig) -> Tensor:
    """Mask-weighted mean squared error of a net that sees the sources alone."""
    slabs = torch.cat([torch.zeros_like(batch.target), batch.source], 1)
    output = nets["net"](slabs, batch.times).float()
    return masked_mean((output - middle_of(batch.target)).square(), batch.weight)


DIFFUSION = Method("diffusion", (Player(("net",), _diffusion),))
REGRESSION = Method("regression", (Player(("net",), regression_loss),))
