"""The losses of denoising and of regression, by hand."""

from __future__ import annotations

import pytest
import torch

from yoda_nb.diffusion.process import add_noise
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import diffusion_loss

NET = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)


TINY = TrainConfig(net=NET, steps=10, batch_size=3, window=8, warmup=2, margin_mm=(4, 2, 2))


def test_the_loss_is_the_weighted_mean_square():
    g = torch.Generator().manual_seed(0)
    x0, eps = torch.randn((2, 2, 3, 4, 4), generator=g)
    weight = torch.where(torch.rand((2, 1, 4, 4), generator=g) > 0.5, 1.0, 0.01)
    times, noise = torch.tensor([10, 700]), schedule()
    batch = Batch(x0, torch.randn((2, 6, 4, 4), generator=g), weight, times, eps, torch.zeros(2), weight)
    total = over = 0.0
    for n in range(2):  # by hand, with a net that answers with its middle slice of x_t
        ab = noise.at(int(times[n]))
        x_t, v = add_noise(x0[n, 1], eps[n, 1], ab), ab**0.5 * eps[n, 1] - (1 - ab) ** 0.5 * x0[n, 1]
        total += float((weight[n, 0] * (x_t - v) ** 2).sum())
        over += float(weight[n].sum())
    loss = diffusion_loss(lambda slabs, t: slabs[:, 1:2], batch, TINY, noise)
    assert float(loss) == pytest.approx(total / over, rel=1e-5)
