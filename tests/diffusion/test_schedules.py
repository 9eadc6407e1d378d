"""Noise schedules: of the papers, in continuous time, and what a schedule swapped after training keeps."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from yoda_nb.diffusion.process import add_noise, vp_step
from yoda_nb.diffusion.schedules import LOG_SNR_LIMIT, LOG_SNRS, SHIFT, fast_diffusion, log_snr, schedule

LINEAR = schedule("linear", 1000)


@pytest.mark.parametrize("n_train", [1000, 250, 50, 10])
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_signal_falls_from_nearly_all_to_nearly_none(name, n_train):
    ab = schedule(name, n_train).alpha_bar
    assert len(ab) == n_train and ab.dtype == torch.float64
    assert (ab.diff() < 0).all() and 0 < ab[-1] < 1e-3 and ab[0] < 1
    assert schedule(name, n_train).at(-1) == 1.0


def test_linear_is_ddpm_and_cosine_is_its_definition():
    beta = np.linspace(1e-4, 0.02, 1000)
    assert LINEAR.alpha_bar.numpy() == pytest.approx(np.cumprod(1 - beta), rel=1e-12)
    t = np.arange(1, 901) / 1000  # before the clip of beta, which only concerns the very end
    f = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert schedule("cosine").alpha_bar[:900].numpy() == pytest.approx(f, rel=1e-9)
    with pytest.raises(ValueError, match="'sine' is unknown"):
        schedule("sine")


def test_alpha_is_a_cosine():
    u = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(log_snr("alpha-cosine", u)), torch.cos(torch.pi / 2 * u) ** 2)
    shifted = log_snr("shifted-cosine", u[:12]) - log_snr("alpha-cosine", u[:12])
    torch.testing.assert_close(shifted, torch.full_like(shifted, 2 * log(32 / 256)))
    assert SHIFT < 0


@pytest.mark.parametrize("tau", [0.5, 0.1, 0.008])
def test_sigmoid_schedules_are_those_of_jabri(tau):
    u = torch.tensor([0.2 * tau, 0.6 * tau, tau], dtype=torch.float64)
    s = [torch.sigmoid(torch.tensor(x / tau, dtype=torch.float64)) for x in (0.0, 3.0)]
    gamma = (s[1] - torch.sigmoid(3 * u / tau)) / (s[1] - s[0])
    torch.testing.assert_close(torch.sigmoid(log_snr(f"sigmoid-{tau:g}", u)), gamma, rtol=1e-6, atol=0)


def test_the_swaps_schedules_are_noisier_than_the_cosine_and_sigmoids_more_so_with_small_tau():
    signal = {name: schedule(name).alpha_bar for name in LOG_SNRS}
    assert all(signal["alpha-cosine"].mean() >= other.mean() for other in signal.values())
    for less, more in (("0.5", "0.1"), ("0.1", "0.008")):
        assert (signal[f"sigmoid-{less}"] >= signal[f"sigmoid-{more}"] - 1e-12).all()
    for name in LOG_SNRS:
        noise = schedule(name)
        assert (noise.alpha_bar.diff() <= 0).all()
        assert noise.log_snr(999) == pytest.approx(-LOG_SNR_LIMIT)
    with pytest.raises(ValueError, match="continuous"):
        log_snr("linear", torch.tensor(0.5))


def test_limits_hold_at_the_ends_of_time():
    ends = log_snr("alpha-cosine", torch.tensor([0.0, 1e-9, 1 - 1e-9, 1.0]))
    assert ends.tolist() == [LOG_SNR_LIMIT] * 2 + [-LOG_SNR_LIMIT] * 2


def test_a_swapped_schedule_keeps_the_marginals_of_its_own_log_snr():
    """With the true x0 every DDIM step lands on sqrt(ab) x0 + sqrt(1 - ab) eps of one eps."""
    x0, eps = torch.randn(1, 4, 4, 4), torch.randn(1, 4, 4, 4)
    for name in LOG_SNRS:
        noise = schedule(name)
        x, times = add_noise(x0, eps, noise.at(999)), [999, 600, 300, 120, 30, 5, 0]
        for t, s in zip(times[:-1], times[1:], strict=True):
            x = vp_step(x, x0, t, s, torch.zeros_like(x), schedule=noise, sigma="zero")
            torch.testing.assert_close(x, add_noise(x0, eps, noise.at(s)), rtol=0, atol=2e-4)


@pytest.mark.parametrize("n", [2, 4, 8, 1000])
def test_the_steps_of_the_schedule_multiply_to_the_continuous_process(n):
    u = torch.arange(1, n + 1, dtype=torch.float64) / n
    integral = 0.1 * u + (20 - 0.1) * u**2 / 2  # of beta_min + (beta_max - beta_min) u
    assert torch.allclose(schedule("syndiff", n).alpha_bar, torch.exp(-integral), rtol=1e-12, atol=0)


def test_the_exponent_as_printed_would_take_noise_away():
    n = 1000
    t, k = torch.arange(1, n + 1, dtype=torch.float64) / n, 1 / n
    printed = 1 - torch.exp(0.1 * k - (20 - 0.1) * (2 * t * k - k**2) / 2)
    assert printed[0] < 0 and (fast_diffusion(n) > 0).all() and (fast_diffusion(n).diff() > 0).all()
