"""The backbones of Koch: their rows, training in continuous time, slices resampled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import CARD
from torch import nn

from yoda_nb.diffusion.process import prediction_target
from yoda_nb.diffusion.schedules import LOG_SNRS
from yoda_nb.errors import InputError
from yoda_nb.nets.base import config_from_dict, config_to_dict, n_parameters
from yoda_nb.nets.models import Model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import NETS, TRAININGS
from yoda_nb.systems.run import Run, prepare
from yoda_nb.systems.table import get_system
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.rows import BUDGET, STEPS
from yoda_papers.backbones import BUDGETS, GAMMAS, LONG, PATCH, TRAINED, of_budget
from yoda_papers.backbones.continuous import CONTINUOUS, continuous_loss, levels, min_snr_weight, x0_error
from yoda_papers.backbones.slices import resize_slices
from yoda_papers.backbones.vit import DiTConfig

ROWS = ("unet", "adm", "uvit", "dit", "dit-wavelet", "adm-plain")
PATCHES = ("dit-8", "dit-8-wavelet", "dit-8-long")


@pytest.fixture(scope="module")
def phantom():
    return phantom_case(3, spacing=4.0, shape=(48, 48, 48))


@pytest.mark.parametrize("name", [*ROWS, *PATCHES])
def test_rows_build_small_nets_that_their_cards_rebuild(name):
    config = TRAININGS[name].config.net
    net = config.build()
    assert config_from_dict(config_to_dict(config), NETS) == config
    out = net(torch.randn(2, 3, 2 * config.divisor, 5 * config.divisor), torch.tensor([-10.0, 3.0]))
    assert out.shape == (2, 1, 2 * config.divisor, 5 * config.divisor)
    assert n_parameters(net) < 400_000
    times = LONG if name.endswith("-long") else 1
    assert TRAININGS[name].config.steps * TRAININGS[name].config.batch_size == times * BUDGET


def test_patches_of_8_are_the_only_change():
    own, large = TRAININGS["dit"].config, TRAININGS["dit-8"].config
    assert large == replace(own, net=replace(own.net, patch=PATCH)) and large.window % PATCH == 0
    assert TRAININGS["dit-8-wavelet"].config == replace(large, net=replace(large.net, wavelet=True))
    assert TRAININGS["dit-8-long"].config == replace(large, steps=LONG * large.steps)


@pytest.mark.parametrize("name", TRAINED)
def test_trainings_of_other_lengths_and_seeds_differ_in_the_weight_alone(name):
    for steps, seeds in BUDGETS.items():
        for seed in seeds:
            row, own = (TRAININGS[of_budget(one, steps, seed)] for one in (name, "adm"))
            options = dict(own.config.options) | {"min_snr": GAMMAS[name]}
            assert row.config == replace(own.config, options=tuple(options.items()))
            assert (row.config.steps, row.config.seed) == (steps, seed)
            assert row.config.warmup / steps == TRAININGS["adm"].config.warmup / STEPS


def test_a_limit_that_is_never_reached_weights_by_snr():
    snr = torch.tensor([0.01, 1.0, 2.0**14])
    torch.testing.assert_close(min_snr_weight(snr, GAMMAS["adm-snr"]), snr / (snr + 1))


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


CONFIG = TrainConfig(net=DiTConfig(), method=CONTINUOUS, schedule="alpha-cosine", options=(("min_snr", 5.0),))


def test_min_snr_weights_v_by_equation_7():
    snr = torch.tensor([0.1, 1.0, 5.0, 50.0])
    torch.testing.assert_close(min_snr_weight(snr, 5.0), torch.tensor([0.1 / 1.1, 0.5, 5 / 6, 5 / 51]))
    # of x0, whose squared error is that of v over 1 + SNR, it is min(SNR, gamma)
    torch.testing.assert_close(min_snr_weight(snr, 5.0) * (1 + snr), snr.clamp(max=5))


def test_the_loss_is_the_weighted_error_of_v_at_the_log_snr_that_the_net_is_told():
    batch = drawn()
    level = levels(batch, CONFIG)
    ab = torch.sigmoid(level).view(-1, 1, 1, 1)
    net = Answer(prediction_target(batch.target, batch.eps, ab, "v"), 0.1)
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


class Background(nn.Module):
    """Predicts v of an image that is the first source, whatever the noise: x0 = source."""

    def forward(self, slabs, told):
        ab = torch.sigmoid(told).view(-1, 1, 1, 1)
        return (ab.sqrt() * slabs[:, :1] - slabs[:, 1:2]) / (1 - ab).sqrt()


def model_of(net: nn.Module, **card) -> Model:
    card = CARD | {"spacing_mm": 4.0, "schedule": "alpha-cosine", "options": {"log_snr": True}} | card
    return Model("test", net, DiTConfig(), card, "0")


def job_of(phantom, monkeypatch, **settings):
    monkeypatch.setattr("yoda_nb.systems.run.load_model", lambda name: model_of(Background()))
    return prepare(phantom, get_system("adm", **settings), Run(device="cpu", half=False))


@pytest.mark.parametrize("name", LOG_SNRS)
def test_any_schedule_may_follow_a_net_that_was_told_log_snr(phantom, monkeypatch, name):
    job = job_of(phantom, monkeypatch, schedule=name, n_steps=4)
    process = job.spec.sampling.process(job)
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
    process = job.spec.sampling.process(job)
    x = process.start(job.generator)
    assert x.shape == (1, 36, 36, job.cut.shape[2])
    x = process.sampler(process.denoise, x, process.pairs, noise=lambda x, t, s: torch.zeros_like(x))
    assert x.shape == job.cut.mask.shape
    wanted = torch.where(job.cut.mask, job.cut.source[:1], -1.0)
    assert (x - wanted).abs()[job.cut.mask].mean() < 0.1
    for wrong in ({"slice_size": 37}, {"slice_size": 36, "views": (0, 1)}):
        with pytest.raises(InputError, match="slice_size"):
            job = job_of(phantom, monkeypatch, **wrong)
            job.spec.sampling.process(job)
