"""The process in a world of Gaussians: data N(MU, S^2), whose best denoiser has a closed form."""

from __future__ import annotations

from functools import partial
from math import sqrt

import pytest
import torch
from seeded import normal, rng

from yoda_nb.diffusion.process import PREDICTIONS, SIGMAS, expected, prediction_target, time_pairs, to_x0, vp_step
from yoda_nb.diffusion.samplers import noise_from, stepwise
from yoda_nb.diffusion.schedules import schedule

LINEAR = schedule("linear", 1000)


MU, S = 0.3, 0.2


def posterior_mean(x: torch.Tensor, t: int) -> torch.Tensor:
    """E[x0 | x_t] for x_t = a x0 + b eps."""
    ab = LINEAR.at(t)
    return MU + sqrt(ab) * S**2 * (x - sqrt(ab) * MU) / (ab * S**2 + 1 - ab)


def gauss_denoiser(kind: str):
    """The same denoiser, through what a net of that kind would put out."""

    def denoise(x, t, i):
        ab, x0 = LINEAR.at(t), posterior_mean(x, t)
        eps = (x - sqrt(ab) * x0) / sqrt(1 - ab)
        return to_x0(x, prediction_target(x0, eps, ab, kind), ab, kind)

    return denoise


def analytic(pairs, sigma: str) -> tuple[float, float]:
    """Mean and standard deviation of the samples: every step is affine in x, so Gauss stays Gauss."""
    mean, variance = 0.0, 1.0
    for t, s in pairs:
        a, b = LINEAR.at(t), LINEAR.at(s)
        gain = sqrt(a) * S**2 / (a * S**2 + 1 - a)  # x0 = gain x + shift
        shift = MU * (1 - gain * sqrt(a))
        if s < 0:
            return gain * mean + shift, abs(gain) * sqrt(variance)
        beta = 1 - a / b
        if sigma == "posterior":  # Ho et al. 2020, eq. 7, written with beta
            of_x0, of_x = sqrt(b) * beta / (1 - a), sqrt(a / b) * (1 - b) / (1 - a)
            new = (1 - b) / (1 - a) * beta
        elif sigma == "zero":  # Song et al. 2021, eq. 13
            of_x = sqrt((1 - b) / (1 - a))
            of_x0, new = sqrt(b) - of_x * sqrt(a), 0.0
        else:  # YODA, Alg. 2, line 5
            of_x0, of_x, new = sqrt(b), 0.0, 1 - b
        slope = of_x0 * gain + of_x
        mean, variance = slope * mean + of_x0 * shift, slope**2 * variance + new
    raise AssertionError("the pairs do not end in -1")


@pytest.mark.parametrize("n", [1, 2, 4, 10, 50, 1000])
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_samples_have_the_analytic_mean_and_spread(kind, sigma, n):
    pairs, count = time_pairs(1000, n), 4_000
    sampler = stepwise(partial(vp_step, schedule=LINEAR, sigma=sigma))
    x = sampler(gauss_denoiser(kind), normal(count), pairs, noise=noise_from(rng(1)))
    mean, std = analytic(pairs, sigma)
    assert float(x.mean()) == pytest.approx(mean, abs=4.5 * std / sqrt(count) + 1e-6)
    assert float(x.std()) == pytest.approx(std, rel=4.5 / sqrt(2 * count) + 1e-6)


@pytest.mark.parametrize("sigma", ["posterior", "zero"])
def test_all_steps_reach_the_data(sigma):
    mean, std = analytic(time_pairs(1000, 1000), sigma)
    assert mean == pytest.approx(MU, abs=1e-2)
    assert std == pytest.approx(S, rel=0.02)


def test_few_steps_make_too_little_noise():
    spread = [analytic(time_pairs(1000, n), "posterior")[1] for n in (1, 2, 4, 10, 50, 1000)]
    assert all(a < b for a, b in zip(spread, spread[1:], strict=False))


def test_re_noising_makes_less_noise_than_the_posterior():
    """Algorithm 2 as printed forgets x_t: the noise that the data has is not all made anew."""
    pairs = time_pairs(1000, 1000)
    assert analytic(pairs, "fresh")[1] < 0.75 * analytic(pairs, "posterior")[1]


def test_expected_error_falls_as_one_over_root_n():
    """ExpA's distance to the regression image is the samples' spread over sqrt(n)."""
    pairs, sampler = time_pairs(1000, 50), stepwise(partial(vp_step, schedule=LINEAR))
    mean, std = analytic(pairs, "posterior")
    generator = rng(3)

    def trajectories(n):
        for _ in range(n):
            start = torch.randn(2000, generator=generator, dtype=torch.float64)
            yield sampler(gauss_denoiser("v"), start, pairs, noise=noise_from(generator))

    for n in (1, 4, 16):
        error = expected(trajectories(n), "mean") - mean
        assert float(error.square().mean().sqrt()) == pytest.approx(std / sqrt(n), rel=0.08)
    assert mean == pytest.approx(MU, abs=0.01)  # what regression gives
