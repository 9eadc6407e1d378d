"""Gaussian bridges: marginals, posterior, score and steps against closed forms (SKC-ISTA)."""

from __future__ import annotations

import pytest
import torch
from seeded import normal

from yoda_nb.diffusion.bridges import bridge_step, kernel_variance, posterior_std, score
from yoda_nb.diffusion.process import time_pairs
from yoda_nb.diffusion.samplers import noise_from, stepwise
from yoda_papers.bridge.path import brownian

T = 40


@pytest.fixture
def path():
    return brownian(T, ends="closed")


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((1, 6, 5, 4), generator=generator, dtype=torch.float64) for _ in range(3)]


def test_a_brownian_bridge_starts_at_the_target_and_ends_at_the_source(path):
    assert path.at(-1) == (1, 0, 0)
    assert path.at(T - 1) == (0, 1, 0)
    assert path.std.max() == pytest.approx(0.5**0.5)  # half way, with s = 1


def test_an_open_bridge_stays_a_thousandth_from_its_ends():
    """The authors' m_t: T even times from 0.001 to 0.999."""
    path = brownian(1000)
    m = [0.001 + 0.998 * t / 999 for t in range(1000)]
    for t in (0, 1, 499, 998, 999):
        assert path.at(t) == pytest.approx((1 - m[t], m[t], (2 * m[t] * (1 - m[t])) ** 0.5))
    assert float(path.std.min()) == pytest.approx(0.0447, abs=1e-4)


@pytest.mark.parametrize("ends", ["open", "closed"])
@pytest.mark.parametrize(("t", "s"), [(30, 29), (30, 10), (T - 2, 3)])
def test_the_deterministic_step_is_that_of_the_authors(ends, t, s):
    """m_s y + (1 - m_s) x0 + sqrt((delta_s - sigma^2) / delta_t) of the residual, in plain numbers."""
    m_t, m_s = ((k + 1) / T if ends == "closed" else 0.001 + 0.998 * k / (T - 1) for k in (t, s))
    delta_t, delta_s = (2 * (m - m * m) for m in (m_t, m_s))
    kernel = delta_t - delta_s * (1 - m_t) ** 2 / (1 - m_s) ** 2
    x0, y, x = 0.3, -0.8, 0.25
    kept = ((delta_s - kernel * delta_s / delta_t) / delta_t) ** 0.5
    assert kept == pytest.approx(delta_s * (1 - m_t) / (delta_t * (1 - m_s)))  # the posterior mean's, in closed form
    wanted = (1 - m_s) * x0 + m_s * y + kept * (x - (1 - m_t) * x0 - m_t * y)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    args = (x * one, x0 * one, t, s, 7 * one)
    how = {"y": y * one, "bridge": brownian(T, ends=ends)}
    assert float(bridge_step(*args, **how, sigma="mean")) == pytest.approx(wanted)
    zero = float(bridge_step(*args, **how, sigma="zero"))
    assert zero == pytest.approx((1 - m_s) * x0 + m_s * y + (delta_s / delta_t) ** 0.5 * (x - (1 - m_t) * x0 - m_t * y))


def test_walking_the_markov_kernel_gives_the_marginals(path):
    """x_t = (a_t / a_s) x_s + (b_t - a_t b_s / a_s) y + sqrt(var_{t|s}) eps, one step at a time."""
    x0, y = 0.7, -0.4
    x = torch.full((40_000,), x0, dtype=torch.float64)
    for t in range(T - 1):
        (a_t, b_t, std_t), (a_s, b_s, _) = path.at(t), path.at(t - 1)
        walk = kernel_variance(path, t, t - 1) ** 0.5 * normal(len(x), seed=t)
        x = a_t / a_s * x + (b_t - a_t / a_s * b_s) * y + walk
        if t in (0, T // 2, T - 2):
            assert float(x.mean()) == pytest.approx(a_t * x0 + b_t * y, abs=0.015)
            assert float(x.std()) == pytest.approx(std_t, rel=0.02)


@pytest.mark.parametrize(("t", "s"), [(30, 29), (30, 10), (1, 0)])
def test_the_posterior_is_that_of_bayes(path, t, s):
    """q(x_s | x_t, x0, y) from the product of two Gaussians on a grid of x_s."""
    x0, y, x_t = 0.3, -0.8, 0.25
    (a_t, b_t, _), (a_s, b_s, std_s) = path.at(t), path.at(s)
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    prior = -((grid - a_s * x0 - b_s * y) ** 2) / (2 * std_s**2)
    kernel = -((x_t - a_t / a_s * grid - (b_t - a_t / a_s * b_s) * y) ** 2) / (2 * kernel_variance(path, t, s))
    p = torch.softmax(prior + kernel, 0)
    mean = (p * grid).sum()
    std = ((p * (grid - mean) ** 2).sum()) ** 0.5
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = bridge_step(x_t * one, x0 * one, t, s, 0 * one, y=y * one, bridge=path)
    assert float(found) == pytest.approx(float(mean), abs=1e-6)
    assert posterior_std(path, t, s) == pytest.approx(float(std), rel=1e-5)


@pytest.mark.parametrize("sigma", ["posterior", "mean", "zero"])
def test_an_oracle_gives_the_target_back(path, images, sigma):
    x0, y, _ = images
    pairs = time_pairs(T, 7)

    def step(x, found, t, s, noise):
        return bridge_step(x, found, t, s, noise, y=y, bridge=path, sigma=sigma)

    noise = noise_from(torch.Generator().manual_seed(1))
    result = stepwise(step)(lambda x, t, i: x0, y, pairs, noise=noise)
    torch.testing.assert_close(result, x0)


def test_without_noise_every_point_of_the_way_keeps_its_share_of_noise(path, images):
    """sigma = 0: with the true x0, x_t = a x0 + b y + std eps of one eps at every time."""
    x0, y, eps = images
    a, b, std = path.at(30)
    x = a * x0 + b * y + std * eps
    for t, s in ((30, 17), (17, 4)):
        x = bridge_step(x, x0, t, s, torch.zeros_like(x), y=y, bridge=path, sigma="zero")
        a, b, std = path.at(s)
        torch.testing.assert_close(x, a * x0 + b * y + std * eps)


def test_the_score_is_the_gradient_of_the_log_density(path, images):
    x0, y, noise = images
    x = noise.clone().requires_grad_()
    a, b, std = path.at(20)
    torch.distributions.Normal(a * x0 + b * y, std).log_prob(x).sum().backward()
    torch.testing.assert_close(score(x.detach(), x0, 20, y=y, bridge=path), x.grad)
    m, delta = b, std**2  # as printed, with the net's output x_t - x0 (eq. 6)
    torch.testing.assert_close(x.grad, -(m * (noise - y) + (1 - m) * (noise - x0)) / delta)
    with pytest.raises(ValueError, match="no noise"):
        score(noise, x0, T - 1, y=y, bridge=path)
