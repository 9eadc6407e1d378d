"""The process against closed forms, and against MONAI where it is right."""

from __future__ import annotations

from functools import partial
from math import sqrt

import pytest
import torch
from seeded import normal, rng

from yoda_nb.diffusion.process import (
    PREDICTIONS,
    SIGMAS,
    add_noise,
    expected,
    gaussian,
    prediction_target,
    step_sigma,
    time_pairs,
    to_x0,
    vp_step,
)
from yoda_nb.diffusion.samplers import noise_from, stepwise
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.diffusion.vp import VP

LINEAR = schedule("linear", 1000)


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("t", [0, 10, 500, 999])
def test_to_x0_inverts_target(kind, t):
    x0, eps, ab = normal(3, 4), normal(3, 4, seed=1), LINEAR.at(t)
    x_t = add_noise(x0, eps, ab)
    assert torch.allclose(to_x0(x_t, prediction_target(x0, eps, ab, kind), ab, kind), x0, atol=1e-9)


def test_an_unknown_target_is_not_taken_for_another():
    with pytest.raises(ValueError, match="'velocity' is unknown"):
        to_x0(normal(3), normal(3), 0.5, "velocity")


def test_v_is_a_rotation():
    """(x_t, v) is (x0, eps) turned by an angle, so their squares have one sum."""
    x0, eps, ab = normal(50), normal(50, seed=1), LINEAR.at(300)
    x_t, v = add_noise(x0, eps, ab), prediction_target(x0, eps, ab)
    assert torch.allclose(x_t**2 + v**2, x0**2 + eps**2)


def test_each_image_may_have_its_own_time():
    x0, eps = normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1)
    ab = LINEAR.alpha_bar[[5, 400, 999]].view(3, 1, 1, 1)
    together = add_noise(x0, eps, ab)
    for i, t in enumerate((5, 400, 999)):
        assert torch.allclose(together[i], add_noise(x0[i], eps[i], LINEAR.at(t)))


@pytest.mark.parametrize("n_train", [1, 2, 3, 10, 37, 100])
def test_time_pairs_form_one_chain_for_every_number_of_steps(n_train):
    for n in range(1, n_train + 1):
        check_chain(time_pairs(n_train, n), n_train, n)
    assert time_pairs(n_train, 1) == [(n_train - 1, -1)]  # regression
    assert time_pairs(n_train, n_train) == [(t, t - 1) for t in reversed(range(n_train))]


@pytest.mark.parametrize("n_train", [3, 10, 37])
def test_truncated_pairs_form_one_chain(n_train):
    for jump in range(n_train - 1):
        for n in range(2, jump + 3):
            pairs = time_pairs(n_train, n, jump_to=jump)
            check_chain(pairs, n_train, n)
            assert pairs[0] == (n_train - 1, jump)


@pytest.mark.parametrize("n_train", [3, 10, 100])
def test_quadratic_times_form_one_chain_and_lie_denser_near_the_end(n_train):
    for jump in (None, *range(0, n_train - 1, 7)):
        most = n_train if jump is None else jump + 2
        for n in range(1 if jump is None else 2, most + 1):
            pairs = time_pairs(n_train, n, jump_to=jump, times="quadratic")
            check_chain(pairs, n_train, n)
            assert jump is None or pairs[0] == (n_train - 1, jump)
        assert pairs == time_pairs(n_train, most, jump_to=jump)  # every step: nothing left to choose
    assert time_pairs(100, 4, times="quadratic") == [(99, 55), (55, 24), (24, 5), (5, -1)]
    with pytest.raises(ValueError, match="even or quadratic"):
        time_pairs(10, 5, times="cubic")


def test_a_thousand_steps_in_many_numbers():
    for n in range(1, 1001, 37):
        check_chain(time_pairs(1000, n), 1000, n)
    for n in (*range(2, 253, 25), 252):
        check_chain(time_pairs(1000, n, jump_to=250), 1000, n)


def check_chain(pairs, n_train: int, n_steps: int) -> None:
    assert len(pairs) == n_steps
    assert pairs[0][0] == n_train - 1 and pairs[-1][1] == -1
    assert all(a[1] == b[0] for a, b in zip(pairs, pairs[1:], strict=False))
    assert all(t > s for t, s in pairs)


def test_pairs_that_can_be_read():
    assert time_pairs(10, 5) == [(9, 7), (7, 5), (5, 3), (3, 1), (1, -1)]
    assert time_pairs(1000, 5, jump_to=250) == [(999, 250), (250, 187), (187, 124), (124, 62), (62, -1)]


@pytest.mark.parametrize(("n", "jump"), [(0, None), (-1, None), (11, None), (1, 4), (7, 4), (3, 9), (3, -1)])
def test_steps_that_do_not_fit_are_refused(n, jump):
    with pytest.raises(ValueError, match="must lie in"):
        time_pairs(10, n, jump_to=jump)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize(("t", "s"), [(999, 250), (999, 998), (250, 187), (40, 3), (1, 0), (0, -1)])
def test_a_step_lands_on_the_noise_level_of_s(sigma, t, s):
    """Noise of both kinds adds up to 1 - ab_s, whatever share of it is new."""
    step = partial(vp_step, schedule=LINEAR, sigma=sigma)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    signal = float(step(sqrt(LINEAR.at(t)) * one, one, t, s, zero))  # x_t of eps = 0
    old = float(step(sqrt(1 - LINEAR.at(t)) * one, zero, t, s, zero))  # x_t of x0 = 0, eps = 1
    new = float(step(zero, zero, t, s, one))
    assert signal == pytest.approx(sqrt(LINEAR.at(s)))
    assert old**2 + new**2 == pytest.approx(1 - LINEAR.at(s), abs=1e-12)
    assert new == pytest.approx(step_sigma(LINEAR, t, s, sigma))


def test_fresh_is_line_5_of_algorithm_2():
    x, x0, noise = normal(9), normal(9, seed=1), normal(9, seed=2)
    ab = LINEAR.at(250)
    line5 = sqrt(ab) * x0 + sqrt(1 - ab) * noise
    assert torch.allclose(vp_step(x, x0, 300, 250, noise, schedule=LINEAR, sigma="fresh"), line5)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_jump_is_always_fresh(sigma):
    x, x0, noise = normal(9), normal(9, seed=1), normal(9, seed=2)
    jump = vp_step(x, x0, 999, 250, noise, schedule=LINEAR, sigma=sigma, jump_to=250)
    assert torch.equal(jump, vp_step(x, x0, 999, 250, noise, schedule=LINEAR, sigma="fresh"))


@pytest.mark.parametrize("t", [1, 2, 10, 500, 998, 999])
def test_posterior_is_monai_ddpm(t):
    from monai.networks.schedulers import DDPMScheduler

    betas = {"schedule": "linear_beta", "beta_start": 1e-4, "beta_end": 0.02}
    kind = {"variance_type": "fixed_small", "prediction_type": "sample", "clip_sample": False}
    theirs = DDPMScheduler(1000, **betas, **kind)
    assert theirs.alphas_cumprod.numpy() == pytest.approx(LINEAR.alpha_bar.numpy(), rel=1e-4)
    x0 = normal(1, 1, 40, 50)
    x = add_noise(x0, normal(1, 1, 40, 50, seed=1), LINEAR.at(t))
    mean = vp_step(x, x0, t, t - 1, torch.zeros_like(x), schedule=LINEAR)
    monai, _ = theirs.step(x0.float(), t, x.float(), generator=rng(7))
    noise = torch.randn(x.shape, generator=rng(7))
    std = sqrt(float(theirs._get_variance(t)))
    assert std == pytest.approx(step_sigma(LINEAR, t, t - 1, "posterior"), rel=1e-3)
    assert torch.allclose(mean.float() + std * noise, monai, atol=1e-3)


@pytest.mark.parametrize(
    ("n", "jump"), [(1, None), (2, None), (7, None), (1000, None), (2, 250), (50, 250), (252, 250)]
)
def test_the_noise_level_never_drifts(n, jump):
    """An oracle and no new noise: at every t, x_t = sqrt(ab) x0 + sqrt(1 - ab) eps for one eps."""
    truth, eps, seen = normal(1, 2, 2, 2), normal(1, 2, 2, 2, seed=1), []

    def oracle(x, t, i):
        assert torch.allclose(x, add_noise(truth, eps, LINEAR.at(t)), atol=1e-9)
        seen.append(t)
        return truth

    sampler = stepwise(partial(vp_step, schedule=LINEAR, sigma="zero"))
    start = add_noise(truth, eps, LINEAR.at(999))
    pairs = time_pairs(1000, n, jump_to=jump)
    assert torch.equal(sampler(oracle, start, pairs, noise=noise_from(rng())), truth)
    assert seen == [t for t, _ in pairs]


def test_nothing_is_drawn_for_a_step_without_noise():
    """And DDIM gives what it gives with draws; a step that is re-noised draws still."""
    drawn = []
    for quiet in (None, VP(sigma="zero").noiseless):
        generator = torch.Generator().manual_seed(3)
        x = gaussian((1, 4, 4, 4), generator)
        sampler = stepwise(partial(vp_step, schedule=LINEAR, sigma="zero"))
        made = sampler(lambda x, t, i: 0.5 * x, x, time_pairs(1000, 5), noise=noise_from(generator, quiet))
        drawn.append((made, torch.rand(1, generator=generator)))
    assert torch.equal(drawn[0][0], drawn[1][0]) and not torch.equal(drawn[0][1], drawn[1][1])
    fresh = torch.Generator().manual_seed(3)
    gaussian((1, 4, 4, 4), fresh)
    assert torch.equal(drawn[1][1], torch.rand(1, generator=fresh)), "nothing but the start was drawn"
    assert not VP(sigma="posterior").noiseless(9, 5) and not VP(sigma="zero", jump_to=5).noiseless(9, 5)
    assert VP(sigma="zero", jump_to=5).noiseless(5, 3)


def test_rms_and_mean_by_hand():
    samples = [torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([-1.0, -1.0, 0.0])]
    # magnitudes 0 0, 1 0, 2 1
    assert expected(samples).tolist() == pytest.approx([-1, sqrt(1 / 2) - 1, sqrt(5 / 2) - 1])
    assert expected(samples, "mean").tolist() == pytest.approx([-1, -0.5, 0.5])
    assert torch.allclose(expected(samples[:1]), samples[0])


def test_rms_of_magnitudes_lies_above_the_mean_by_the_noise():
    """RMS^2 = mean^2 + variance: at signal 1 and noise s, RMS is about 1 + s^2 / 2."""
    samples = [0.1 * normal(20_000, seed=i) for i in range(10)]  # magnitude 1 +- 0.1
    gap = float((expected(samples) - expected(samples, "mean")).mean())
    assert gap == pytest.approx(0.1**2 / 2 * 0.9, rel=0.05)


def test_rms_clips_magnitudes_and_mean_does_not():
    assert expected([torch.tensor([-1.5, 1.5])]).tolist() == pytest.approx([-1, 1])
    assert expected([torch.tensor([-1.5, 1.5])], "mean").tolist() == pytest.approx([-1.5, 1.5])


def test_samples_are_consumed_one_at_a_time():
    """No more than the running sum and one sample are alive."""
    import weakref

    alive: list[weakref.ref] = []

    def stream():
        for i in range(20):
            x = torch.full((4,), float(i) / 20)
            alive.append(weakref.ref(x))
            yield x
            del x
            assert sum(r() is not None for r in alive) <= 2

    assert expected(stream(), "mean").tolist() == pytest.approx([0.475] * 4)


def test_expected_refuses_nothing_and_nonsense():
    with pytest.raises(ValueError, match="at least one"):
        expected([])
    with pytest.raises(ValueError, match="'median'"):
        expected([torch.zeros(1)], "median")


def test_ddpm_and_ddim_are_the_papers_equations():
    noise = schedule("alpha-cosine")
    x, x0, eps = (torch.randn(1, 4, 4, 4, dtype=torch.float64) for _ in range(3))
    t, s = 700, 650
    (a_t, s_t), (a_s, s_s) = ((noise.at(k) ** 0.5, (1 - noise.at(k)) ** 0.5) for k in (t, s))
    ddim = a_s * x0 + s_s / s_t * (x - a_t * x0)  # eq. 6
    torch.testing.assert_close(vp_step(x, x0, t, s, eps, schedule=noise, sigma="zero"), ddim)
    a_ts, var_ts = a_t / a_s, s_t**2 - (a_t / a_s) ** 2 * s_s**2
    mean = a_ts * s_s**2 / s_t**2 * x + a_s * var_ts / s_t**2 * x0  # eq. 3
    ddpm = mean + (var_ts * s_s**2 / s_t**2) ** 0.5 * eps
    torch.testing.assert_close(vp_step(x, x0, t, s, eps, schedule=noise, sigma="posterior"), ddpm)
