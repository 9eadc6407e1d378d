"""Solvers of the probability-flow ODE: their order on Gaussian data, and the published formulas in another form."""

from __future__ import annotations

from functools import partial
from math import sqrt

import numpy as np
import pytest
import torch

from yoda_nb.diffusion.process import time_pairs, vp_step
from yoda_nb.diffusion.samplers import dpmpp_2m, heun, noise_from, stepwise
from yoda_nb.diffusion.schedules import schedule

FINE = schedule("linear", 2**20)  # so fine that rounding a time to a whole number changes nothing here
LINEAR = schedule("linear", 1000)
MU, S = 0.3, 0.2
STEPS = (32, 64, 128, 256, 512)


def ddim(*, schedule):
    return partial(
        stepwise(partial(vp_step, schedule=schedule, sigma="zero")), noise=noise_from(torch.Generator().manual_seed(0))
    )


SAMPLERS = {
    "ddim": ddim,
    "heun": lambda *, schedule: partial(heun, schedule=schedule),
    "dpmpp": lambda *, schedule: partial(dpmpp_2m, schedule=schedule),
}
ORDER = {"ddim": 1, "heun": 2, "dpmpp": 2}


def sigma(plan, t: int) -> float:
    """Standard deviation of the noise of x / sqrt(ab)."""
    return sqrt((1 - plan.at(t)) / plan.at(t))


def gauss(plan):
    """E[x0 | x_t] for data N(MU, S^2)."""

    def denoise(x, t, i):
        ab = plan.at(t)
        return MU + sqrt(ab) * S**2 * (x - sqrt(ab) * MU) / (ab * S**2 + 1 - ab)

    return denoise


def exact(x, plan, t: int, s: int):
    """The solution of the ODE on Gaussian data: how many standard deviations x lies from the mean never changes."""
    spread = [sqrt(S**2 + (sigma(plan, k) ** 2 if k >= 0 else 0.0)) for k in (t, s)]
    return sqrt(plan.at(s)) * (MU + (x / sqrt(plan.at(t)) - MU) * spread[1] / spread[0])


def start() -> torch.Tensor:
    return torch.linspace(-2, 2, 9, dtype=torch.float64).view(1, 1, 3, 3)


def slope(errors) -> float:
    return float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_error_at_the_clean_image_falls_with_the_order_of_the_method(name):
    """Quadratic times: the last pair, which no method takes to second order, shrinks as N^-2 by itself."""
    errors = []
    for n in STEPS:
        pairs = time_pairs(len(FINE), n, times="quadratic")
        found = SAMPLERS[name](schedule=FINE)(gauss(FINE), start(), pairs)
        errors.append(float((found - exact(start(), FINE, len(FINE) - 1, -1)).abs().max()))
    print(name, "to x0", [f"{e:.2e}" for e in errors], f"slope {slope(errors):.3f}")
    assert slope(errors) == pytest.approx(-ORDER[name], abs=0.2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_error_at_a_noisy_time_falls_with_the_order_of_the_method(name):
    """From the middle to a time with noise left: no step but those of the method has a part in it."""
    first, last, errors = len(FINE) * 3 // 4, len(FINE) // 16, []
    for n in STEPS:
        times = np.rint(np.linspace(first, last, n + 1)).astype(int).tolist()
        pairs = list(zip(times[:-1], times[1:], strict=True))
        found = SAMPLERS[name](schedule=FINE)(gauss(FINE), start(), pairs)
        errors.append(float((found - exact(start(), FINE, first, last)).abs().max()))
    print(name, "to a noisy time", [f"{e:.2e}" for e in errors], f"slope {slope(errors):.3f}")
    assert slope(errors) == pytest.approx(-ORDER[name], abs=0.2)


# --- the published formulas, in the variables in which they are published


def two_values(x_hat: np.ndarray, noise: float) -> np.ndarray:
    """E[x0 | x'] for data -1 or 1 and x' = x0 + noise eps: far from linear."""
    return np.tanh(x_hat / noise**2)


def torch_two_values(x, t, i):
    x_hat = x.numpy() / sqrt(LINEAR.at(t))
    return torch.from_numpy(two_values(x_hat, sigma(LINEAR, t)))


def heun_in_sigma(x: np.ndarray, sigmas: list[float]) -> np.ndarray:
    """Karras et al. 2022, Alg. 2 with gamma = 0, lines 6 to 11: x in the variance-exploding scale, sigmas end in 0."""
    for now, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        d = (x - two_values(x, now)) / now
        moved = x + (following - now) * d
        if following != 0:
            d_following = (moved - two_values(moved, following)) / following
            moved = x + (following - now) * (d / 2 + d_following / 2)
        x = moved
    return x


def dpmpp_in_lambda(x: np.ndarray, alphas: list[float], stds: list[float]) -> np.ndarray:
    """Lu et al. 2022, Alg. 2: x in the variance-preserving scale; alphas end in 1 and stds in 0."""
    lam = [np.log(a / s) if s else np.inf for a, s in zip(alphas, stds, strict=True)]
    q: list[np.ndarray] = []
    for i in range(1, len(alphas)):
        q.append(two_values(x / alphas[i - 1], stds[i - 1] / alphas[i - 1]))
        h = lam[i] - lam[i - 1]
        d = q[-1]
        if len(q) > 1 and np.isfinite(h):
            r = (lam[i - 1] - lam[i - 2]) / h
            d = (1 + 1 / (2 * r)) * q[-1] - q[-2] / (2 * r)
        x = stds[i] / stds[i - 1] * x - alphas[i] * np.expm1(-h) * d
    return x


@pytest.mark.parametrize("times", ["even", "quadratic"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
def test_heun_is_the_published_algorithm(n, times):
    pairs, x = time_pairs(1000, n, times=times), start()
    sigmas = [sigma(LINEAR, t) for t, _ in pairs] + [0.0]
    found = heun(torch_two_values, x, pairs, schedule=LINEAR)
    np.testing.assert_allclose(found.numpy(), heun_in_sigma(x.numpy() / sqrt(LINEAR.at(999)), sigmas), atol=1e-10)


@pytest.mark.parametrize("times", ["even", "quadratic"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 20])
def test_dpmpp_is_the_published_algorithm(n, times):
    pairs, x = time_pairs(1000, n, times=times), start()
    alphas = [sqrt(LINEAR.at(t)) for t in [t for t, _ in pairs] + [-1]]
    stds = [sqrt(1 - LINEAR.at(t)) for t in [t for t, _ in pairs] + [-1]]
    found = dpmpp_2m(torch_two_values, x, pairs, schedule=LINEAR)
    np.testing.assert_allclose(found.numpy(), dpmpp_in_lambda(x.numpy(), alphas, stds), atol=1e-10)


# --- what every sampler owes


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_constant_estimate_is_reached_and_no_input_changes(name):
    truth, x = start() / 5, start()
    before = x.clone()
    for n in (1, 2, 5, 40):
        found = SAMPLERS[name](schedule=LINEAR)(lambda x, t, i: truth, x, time_pairs(1000, n))
        assert torch.equal(found, truth) and torch.equal(x, before)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_shown_once_with_the_estimate_at_its_time(name):
    seen, pairs = [], time_pairs(1000, 4)
    sampler = SAMPLERS[name](schedule=LINEAR)
    made = sampler(lambda x, t, i: x / 2 + t / 1000, start(), pairs, on_step=lambda *step: seen.append(step))
    assert [(i, pair) for i, pair, *_ in seen] == list(enumerate(pairs))
    x = start()
    for _, (t, _), x_s, x0 in seen:
        assert torch.equal(x0, x / 2 + t / 1000)
        x = x_s
    assert torch.equal(x, made)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_looks_through_one_view(name):
    """The index that chooses the view is that of the step, also for its second estimate, which is at the time s."""
    asked, pairs = [], time_pairs(1000, 4)

    def denoise(x, t, i):
        asked.append((t, i))
        return x / 2

    SAMPLERS[name](schedule=LINEAR)(denoise, start(), pairs)
    twice = name == "heun"
    assert asked == [(at, i) for i, (t, s) in enumerate(pairs) for at in ((t, s) if twice and s >= 0 else (t,))]


@pytest.mark.parametrize("name", ["heun", "dpmpp"])
def test_one_step_is_regression_and_nothing_is_drawn(name):
    def refused(x, t, s):
        raise AssertionError("noise was drawn")

    sampler = SAMPLERS[name](schedule=LINEAR)
    one = sampler(gauss(LINEAR), start(), [(999, -1)], noise=refused)
    assert torch.equal(one, gauss(LINEAR)(start(), 999, 0))
    runs = [sampler(gauss(LINEAR), start(), time_pairs(1000, 9), noise=refused) for _ in range(2)]
    assert torch.equal(*runs)
