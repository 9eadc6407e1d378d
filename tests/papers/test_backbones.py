"""The backbones of seed 001: wavelet, transformers, log-SNR schedules, Min-SNR, slices resampled."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from torch import nn

from yoda_nb.data.phantom import phantom_case
from yoda_nb.diffusion.process import add_noise, target, time_pairs, vp_step
from yoda_nb.diffusion.schedules import LOG_SNR_LIMIT, LOG_SNRS, SHIFT, log_snr, schedule
from yoda_nb.errors import InputError
from yoda_nb.nets.base import build, config_from_dict, config_to_dict, n_parameters
from yoda_nb.nets.models import Model
from yoda_nb.papers import SYSTEMS, TRAININGS
from yoda_nb.papers.backbones import PAPER
from yoda_nb.papers.backbones.continuous import continuous_loss, levels, min_snr_weight, x0_error
from yoda_nb.papers.backbones.slices import resize_slices, slices_process
from yoda_nb.papers.backbones.vit import DiTConfig, UViTConfig, positions, run_tokens, transformer
from yoda_nb.papers.backbones.wavelet import decompose, reconstruct
from yoda_nb.study.claims.backbones.tables import SWAPS, excess, line_power
from yoda_nb.systems.run import prepare
from yoda_nb.systems.table import get_system
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.rows import BUDGET

ROWS = ("unet", "adm", "uvit", "dit", "dit-wavelet", "adm-plain")
# published taps of the 9/7 pair, from the middle outwards, the low one with a gain of sqrt(2)
LOW = (0.852698679009, 0.377402855613, -0.110624404418, -0.023849465020, 0.037828455507)
HIGH = (0.788485616406, -0.418092273222, -0.040689417609, 0.064538882629)


@pytest.fixture(scope="module")
def phantom():
    return phantom_case(3, spacing=4.0, shape=(48, 48, 48))


# --- wavelet ---


@pytest.mark.parametrize("shape", [(2, 3, 24, 16), (1, 1, 2, 2), (1, 2, 6, 10)])
def test_the_wavelet_is_undone_exactly(shape):
    x = torch.randn(shape, dtype=torch.float64)
    bands = decompose(x)
    assert bands.shape == (shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2)
    torch.testing.assert_close(reconstruct(bands), x, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="even"):
        decompose(torch.zeros(1, 1, 5, 4))


def test_the_wavelet_has_the_published_filters():
    impulses = torch.eye(32, dtype=torch.float64).view(32, 1, 1, 32).expand(-1, -1, 2, -1)
    low, detail, _, _ = decompose(impulses)[:, :, 0].unbind(1)  # (32 places, 16 coefficients)
    rows = 2**0.5  # a constant along A passes its low band with this gain
    for k, tap in enumerate(LOW):
        assert low[16 + k, 8] == pytest.approx(rows * tap) and low[16 - k, 8] == pytest.approx(rows * tap)
    for k, tap in enumerate(HIGH):
        assert detail[17 + k, 8] == pytest.approx(rows * tap) and detail[17 - k, 8] == pytest.approx(rows * tap)
    assert low[10:12, 8].abs().max() < 1e-12 and detail[12:14, 8].abs().max() < 1e-12


def test_details_of_straight_lines_vanish_and_noise_keeps_its_variance():
    ramp = torch.arange(16.0, dtype=torch.float64).expand(1, 1, 8, 16)
    low, *details = decompose(ramp)[0]
    torch.testing.assert_close(low[:, 2:-2], 2 * ramp[0, 0, :4, 4:-4:2], rtol=0, atol=1e-9)
    assert all(d[:, 2:-2].abs().max() < 1e-9 for d in details)
    noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert decompose(noise).var(dim=(0, 2, 3)).sub(1).abs().max() < 0.2


# --- nets ---


@pytest.mark.parametrize("name", ROWS)
def test_rows_build_small_nets_that_their_cards_rebuild(name):
    config = TRAININGS[name].config.net
    net = build(config)
    assert config_from_dict(config_to_dict(config)) == config
    out = net(torch.randn(2, 3, 2 * config.divisor, 5 * config.divisor), torch.tensor([-10.0, 3.0]))
    assert out.shape == (2, 1, 2 * config.divisor, 5 * config.divisor)
    assert n_parameters(net) < 400_000
    assert TRAININGS[name].config.steps * TRAININGS[name].config.batch_size == BUDGET


@pytest.mark.parametrize("wavelet", [False, True])
def test_a_dit_starts_as_the_identity_of_tokens_and_predicts_zero(wavelet):
    blocks = transformer(16, 3, 4, 8, 2.0)
    tokens, embedding = torch.randn(2, 9, 16), torch.randn(2, 8)
    for block in blocks:
        torch.testing.assert_close(block(tokens, embedding), tokens)
    net = build(DiTConfig(width=16, depth=2, embedding=8, wavelet=wavelet))
    assert net(torch.randn(2, 3, 16, 24), torch.tensor([1.0, -1.0])).abs().max() == 0


def test_tokens_know_their_place():
    grid = positions(5, 6, 16).view(5, 6, 16)
    assert grid.flatten(0, 1).unique(dim=0).shape[0] == 30
    torch.testing.assert_close(grid[0, :, 8:], grid[4, :, 8:])  # columns do not depend on the row
    torch.testing.assert_close(positions(5, 6, 16).view(5, 6, 16)[2, 3], positions(9, 8, 16).view(9, 8, 16)[4, 4])
    h = torch.randn(1, 16, 5, 6)
    moved = run_tokens(transformer(16, 1, 4, 8, 2.0), h, torch.zeros(1, 8)) - h
    torch.testing.assert_close(moved[0].permute(1, 2, 0), grid)


def test_patches_of_coefficients_need_an_even_side():
    with pytest.raises(ValueError, match="even"):
        build(DiTConfig(patch=3, wavelet=True))


def test_paper_sizes_are_near_its_table_2():
    millions = {}
    for name, config in PAPER.items():
        with torch.device("meta"):
            millions[name] = n_parameters(build(config)) / 1e6
    stated = {"unet": 15, "adm": 35, "uvit": 125, "dit": 558}
    assert all(abs(millions[name] / stated[name] - 1) < 0.25 for name in stated)
    assert abs(millions["dit"] / 558 - 1) < 0.01  # its blocks are stated in full


def test_a_uvit_sees_all_of_a_slice():
    net = build(UViTConfig((8, 8), width=16, depth=1, embedding=8))
    nn.init.normal_(net.middle[0].modulate[-1].weight)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    net(x, torch.tensor([0.5]))[0, 0, 0, 0].backward()
    assert x.grad[0, 0, -1, -1].abs() > 0


# --- schedules ---


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


def test_ddpm_and_ddim_are_seed_001s_equations():
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


# --- training ---


class Answer(nn.Module):
    """A net that knows the answer up to a constant, and remembers what it was told."""

    def __init__(self, v: torch.Tensor, off: float):
        super().__init__()
        self.v, self.off = v, off

    def forward(self, slabs, told):
        self.told = told
        return self.v + self.off


def drawn(n: int = 6) -> Batch:
    g = torch.Generator().manual_seed(0)
    x0, eps = torch.rand(n, 1, 4, 4, generator=g) - 0.5, torch.randn(n, 1, 4, 4, generator=g)
    times, fractions = torch.linspace(50, 950, n).long(), torch.rand(n, generator=g)
    weight = torch.ones(n, 1, 4, 4)
    return Batch(x0, torch.zeros(n, 2, 4, 4), weight, times, eps, fractions, weight)


CONFIG = TrainConfig(net=DiTConfig(), method="continuous", schedule="alpha-cosine", options=(("min_snr", 5.0),))


def test_min_snr_weights_v_by_equation_7():
    snr = torch.tensor([0.1, 1.0, 5.0, 50.0])
    torch.testing.assert_close(min_snr_weight(snr, 5.0), torch.tensor([0.1 / 1.1, 0.5, 5 / 6, 5 / 51]))
    # of x0, whose squared error is that of v over 1 + SNR, it is min(SNR, gamma)
    torch.testing.assert_close(min_snr_weight(snr, 5.0) * (1 + snr), snr.clamp(max=5))


def test_the_loss_is_the_weighted_error_of_v_at_the_log_snr_that_the_net_is_told():
    batch = drawn()
    level = levels(batch, CONFIG)
    ab = torch.sigmoid(level).view(-1, 1, 1, 1)
    net = Answer(target(batch.target, batch.eps, ab, "v"), 0.1)
    plain = continuous_loss({"net": net}, batch, replace(CONFIG, options=(("min_snr", 0.0),)))
    torch.testing.assert_close(plain, torch.tensor(0.01))
    weighted = continuous_loss({"net": net}, batch, CONFIG)
    torch.testing.assert_close(weighted, 0.01 * min_snr_weight(level.exp(), 5.0).mean())
    torch.testing.assert_close(net.told, level)
    u = (batch.times + batch.fractions) / CONFIG.n_train
    torch.testing.assert_close(ab.flatten(), torch.cos(torch.pi / 2 * u) ** 2)
    # an error of v is one of x0 times sigma; halved on the [0,1] scale
    expected = ((1 - ab).sqrt() * 0.05).square().mean()
    for config in (CONFIG, replace(CONFIG, options=(("min_snr", 0.0),))):
        torch.testing.assert_close(x0_error({"net": net}, batch, config), expected)


# --- systems ---


class Background(nn.Module):
    """Predicts v of an image that is the first source, whatever the noise: x0 = source."""

    def forward(self, slabs, told):
        ab = torch.sigmoid(told).view(-1, 1, 1, 1)
        return (ab.sqrt() * slabs[:, :1] - slabs[:, 1:2]) / (1 - ab).sqrt()


def model_of(net: nn.Module, **card) -> Model:
    card = {
        "sources": ["T1w", "T2w"],
        "target": "FLAIR",
        "spacing_mm": 4.0,
        "schedule": "alpha-cosine",
        "n_train": 1000,
        "prediction": "v",
        "options": {"log_snr": True},
        "training": {},
    } | card
    return Model("test", net, DiTConfig(), card, "0")


def job_of(phantom, monkeypatch, **settings):
    monkeypatch.setattr("yoda_nb.systems.run.load_model", lambda name: model_of(Background()))
    return prepare(phantom, get_system("adm", **settings), device="cpu", half=False)


def test_the_rows_are_seed_001s():
    for name in ROWS:
        row = SYSTEMS[name]
        assert row.seed == "001" and row.views == (2,) and row.weights.endswith(f"/{name}")
    assert SYSTEMS["unet"].n_steps == 1 and SYSTEMS["adm"].clip and SYSTEMS["adm"].sigma == "posterior"


@pytest.mark.parametrize("name", LOG_SNRS)
def test_any_schedule_may_follow_a_net_that_was_told_log_snr(phantom, monkeypatch, name):
    job = job_of(phantom, monkeypatch, schedule=name, n_steps=4)
    process = slices_process(job)
    x = process.start(job.generator)
    for i, (t, _) in enumerate(process.pairs[:3]):
        x0 = process.denoise(x, t, i)
        wanted = torch.where(job.cut.mask, job.cut.source[:1], -1.0)
        torch.testing.assert_close(x0, wanted, rtol=0, atol=0.03)  # sqrt(1 - ab) divides near the clean image


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_resampled_slices_come_back(phantom, axis):
    sides = [n for k, n in enumerate(phantom.shape) if k != axis]
    larger = resize_slices(phantom.clean, axis, (2 * sides[0], sides[1] + 9))
    assert larger.shape[1 + axis] == phantom.shape[axis]
    back = resize_slices(larger, axis, tuple(sides))
    assert (back - phantom.clean).abs()[phantom.mask].mean() < 0.01
    alone = resize_slices(phantom.clean.narrow(1 + axis, 20, 1), axis, (30, 30))
    whole = resize_slices(phantom.clean, axis, (30, 30)).narrow(1 + axis, 20, 1)
    assert (alone - whole).abs().max() < 1e-5, "slices mix"
    assert resize_slices(phantom.mask, axis, (30, 30), order=0).dtype == torch.bool


def test_systems_sample_at_the_training_size_and_return_to_the_volume(phantom, monkeypatch):
    job = job_of(phantom, monkeypatch, slice_size=36, n_steps=3)
    process = slices_process(job)
    x = process.start(job.generator)
    assert x.shape == (1, 36, 36, job.cut.shape[2])
    for i, (t, s) in enumerate(process.pairs):
        x0 = process.denoise(x, t, i)
        x = x0 if s < 0 else process.step(x, x0, t, s, torch.zeros_like(x))
    assert x.shape == job.cut.mask.shape
    wanted = torch.where(job.cut.mask, job.cut.source[:1], -1.0)
    assert (x - wanted).abs()[job.cut.mask].mean() < 0.1
    for wrong in ({"slice_size": 37}, {"slice_size": 36, "views": (0, 1)}):
        with pytest.raises(InputError, match="slice_size"):
            slices_process(job_of(phantom, monkeypatch, **wrong))


# --- evidence ---


def test_a_pattern_of_four_voxels_stands_out_at_a_quarter_and_noise_nowhere():
    noise = torch.randn(1, 48, 56, 20, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(noise, dtype=torch.bool)
    frequency, power = line_power(0.5 * noise, mask)
    assert frequency[16] == 0.25 and frequency[-1] == 0.5
    assert power.mean() == pytest.approx(0.25, rel=0.05)
    assert np.abs(excess(power)[1:-1]).max() < 1
    patches = noise + (torch.arange(48).view(1, 48, 1, 1) % 4 == 0)
    raised = excess(line_power(patches, mask)[1])
    assert raised[16] > 3 and np.abs(raised[6:13]).max() < 1


@pytest.mark.parametrize("name", [name for name, settings in SWAPS.items() if "jump_to" in settings])
def test_a_jump_skips_only_steps_at_the_limit(name):
    """There a step leaves x as it is, whatever the net says, so the sampler is that of all the steps."""
    noise, jump_to = schedule(name), SWAPS[name]["jump_to"]
    x, other = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    for t, s in time_pairs(1000, 20)[:-1]:
        if s >= jump_to:
            torch.testing.assert_close(vp_step(x, other, t, s, other, schedule=noise), x)
    assert noise.log_snr(jump_to) == pytest.approx(-LOG_SNR_LIMIT)
