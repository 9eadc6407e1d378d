"""The losses of denoising and of regression, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from yoda_nb.diffusion.process import add_noise
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import diffusion_loss, structural_loss

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


def test_the_structural_loss_is_the_absolute_error_and_what_ssim_lacks():
    g = torch.Generator().manual_seed(0)
    target = (torch.rand((2, 1, 16, 16), generator=g) * 2 - 1).half().float()
    image = (target + 0.3 * torch.randn(target.shape, generator=g)).clamp(-1, 1)
    weight = torch.ones_like(target)
    a, b = (x[:, 0].double().numpy() for x in (image, target))

    def local(x: np.ndarray) -> np.ndarray:  # a Gaussian of 1.5 voxels over 7 x 7
        return gaussian_filter(x, 1.5, radius=3, axes=(1, 2))[:, 3:-3, 3:-3]

    ma, mb, c1, c2 = local(a), local(b), 0.02**2, 0.06**2
    va, vb, cov = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
    ssim = ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()
    by_hand = float((image - target).abs().mean()) + 0.5 * (1 - ssim)
    assert float(structural_loss(image, target, weight, 0.5)) == pytest.approx(by_hand, rel=1e-4)
    assert float(structural_loss(target, target, weight, 0.5)) == pytest.approx(0, abs=1e-6)


def test_a_regression_by_structure_pays_for_x0_and_not_for_what_is_outside():
    g = torch.Generator().manual_seed(0)
    x0, eps = torch.rand((2, 2, 3, 16, 16), generator=g)
    weight = torch.ones((2, 1, 16, 16))
    weight[..., 10:] = 0.0
    x0 = torch.where(weight > 0, x0, -1.0)
    noise = schedule()
    times = torch.full((2,), 999)
    batch = Batch(x0, torch.randn((2, 6, 16, 16), generator=g), weight, times, eps, torch.zeros(2), weight)
    ab = noise.at(999)
    v = ab**0.5 * eps[:, 1:2] - (1 - ab) ** 0.5 * x0[:, 1:2]
    wrong = v + torch.where(weight > 0, 0.0, 0.7)
    config = replace(TINY, regression=True, structure=0.5)
    assert float(diffusion_loss(lambda slabs, t: v, batch, config, noise)) == pytest.approx(0, abs=1e-4)
    assert float(diffusion_loss(lambda slabs, t: wrong, batch, config, noise)) == pytest.approx(0, abs=1e-4)
    assert float(diffusion_loss(lambda slabs, t: v + 0.1, batch, config, noise)) > 0.05
