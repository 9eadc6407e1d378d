from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from seeded import rng

from yoda_nb.errors import InputError
from yoda_nb.metrics.noise import add_rician, mse_split, noise_and_voxels, rician_mean, rician_std, white_matter_noise
from yoda_nb.phantoms.phantom import TISSUES, phantom_case


@pytest.mark.parametrize("signal", [0.0, 0.02, 0.1, 0.8, 1.2])
def test_rician_moments_match_scipy_and_samples(signal):
    sigma = 0.04
    law = stats.rice(signal / sigma, scale=sigma)
    assert rician_mean(signal, sigma) == pytest.approx(law.mean(), rel=1e-9)
    assert rician_std(signal, sigma) == pytest.approx(law.std(), rel=1e-6)
    x = add_rician(torch.full((200_000,), signal), sigma, generator=rng())
    assert float(x.mean()) == pytest.approx(law.mean(), abs=4 * sigma / 200_000**0.5)
    assert float(x.std()) == pytest.approx(law.std(), rel=0.01)
    assert stats.kstest(x.numpy()[:5000], law.cdf).pvalue > 1e-3


def test_rician_limits():
    assert rician_mean(0.0, 1.0) == pytest.approx(np.sqrt(np.pi / 2))
    assert rician_std(0.0, 1.0) == pytest.approx(np.sqrt(2 - np.pi / 2))
    assert rician_mean(1.0, 1e-7) == pytest.approx(1.0) and rician_std(1.0, 1e-7) == pytest.approx(1e-7)
    both_sides = rician_std(np.array([99.999, 100.001]), 1.0)  # the two branches meet
    assert both_sides[0] == pytest.approx(both_sides[1], rel=1e-7)
    assert rician_mean([0.5], 0) == 0.5 and rician_std([0.5], 0) == 0.0


def test_add_rician_is_seeded_unclipped_and_pure():
    image = torch.ones(1, 8, 8, 8)
    a, b = (add_rician(image, 0.2, generator=rng(3)) for _ in range(2))
    assert torch.equal(a, b) and a.max() > 1 and torch.equal(image, torch.ones_like(image))
    assert torch.equal(add_rician(image, 0.0, generator=rng()), image)


def test_rms_of_acquisitions_tends_to_the_known_second_moment():
    x = torch.stack([add_rician(torch.full((2000,), 0.5), 0.1, generator=rng(i)) for i in range(300)])
    assert float(x.square().mean().sqrt()) == pytest.approx((0.25 + 2 * 0.01) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 40, 40, 40), (40, 40, 40)])
def test_white_matter_noise_is_unbiased_for_white_noise(shape):
    coords = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 40)] * 3, indexing="ij"))
    mask = (coords.norm(dim=0) < 0.8).reshape(shape)
    image = torch.where(mask, 0.6, 0.0) + 0.04 * torch.randn(shape, generator=rng())
    sigma, n = noise_and_voxels(image, mask)
    assert sigma == pytest.approx(0.04, rel=0.02) and 0.5 * mask.sum() < n < mask.sum()
    # Without the correction the estimate is too low by the factor of the full kernel.
    line = np.exp(-0.5 * (np.arange(5) - 2) ** 2 / 1.1**2)
    line /= line.sum()
    factor = 1 - 2 * line[2] ** 3 + (line**2).sum() ** 3
    assert white_matter_noise(image, mask, correct=False) == pytest.approx(sigma * factor**0.5, rel=0.01)


def test_white_matter_noise_is_exact_in_expectation_for_a_ragged_mask():
    mask = torch.rand(1, 24, 24, 24, generator=rng()) < 0.97
    images = [0.5 + 0.1 * torch.randn(mask.shape, generator=rng(i)) for i in range(20)]
    squares = [white_matter_noise(image, mask) ** 2 for image in images]
    assert np.mean(squares) == pytest.approx(0.01, rel=0.02)


def test_white_matter_noise_ignores_what_lies_outside():
    mask = torch.zeros(1, 20, 20, 20, dtype=torch.bool)
    mask[:, 4:16, 4:16, 4:16] = True
    image = 0.5 + 0.05 * torch.randn(mask.shape, generator=rng())
    other = torch.where(mask, image, torch.tensor(float("nan")))
    assert white_matter_noise(image, mask) == white_matter_noise(other, mask)


def test_white_matter_noise_of_a_phantom_is_the_noise_it_was_given():
    v = phantom_case(1, sigma=0.04)
    healthy = (v.labels == TISSUES.index("WM")) & ~v.lesions
    assert white_matter_noise((v.target + 1) / 2, healthy) == pytest.approx(v.sigma, rel=0.05)


def test_white_matter_noise_errors():
    thin = torch.zeros(1, 10, 10, 10)
    thin[:, 4:6] = 1
    with pytest.raises(InputError, match="tissue boundary"):
        white_matter_noise(torch.rand(1, 10, 10, 10), thin)
    with pytest.raises(InputError, match="share one shape"):
        white_matter_noise(torch.rand(1, 10, 10, 10), torch.ones(1, 10, 10, 9))


def test_mse_split_sums_to_the_mse_and_cross_vanishes_for_independent_noise():
    shape = (1, 40, 40, 40)
    clean = torch.rand(shape, generator=rng(1))
    pred_clean = clean + 0.02 * torch.randn(shape, generator=rng(2))
    acquired = clean + 0.04 * torch.randn(shape, generator=rng(3))
    pred = pred_clean + 0.03 * torch.randn(shape, generator=rng(4))
    mask = torch.rand(shape, generator=rng(5)) < 0.5
    split = mse_split(pred, acquired, clean, pred_clean, mask)
    four = ("mse_clean", "acquisition_noise", "generation_noise", "cross")
    assert sum(split[k] for k in four) == pytest.approx(split["total"], rel=1e-9)
    assert split["total"] == pytest.approx(float((pred - acquired)[mask].double().square().mean()), rel=1e-5)
    assert split["acquisition_noise"] == pytest.approx(0.04**2, rel=0.02)
    assert split["generation_noise"] == pytest.approx(0.03**2, rel=0.02)
    assert abs(split["cross"]) < 0.02 * split["total"]
    correlated = mse_split(pred_clean + (acquired - clean), acquired, clean, pred_clean, mask)
    assert correlated["cross_noise"] == pytest.approx(-2 * 0.04**2, rel=0.02)
    assert correlated["total"] == pytest.approx(split["mse_clean"], rel=1e-4)
    with pytest.raises(InputError, match="empty"):
        mse_split(pred, acquired, clean, pred_clean, torch.zeros(shape))
