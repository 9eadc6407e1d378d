"""The method that GANs of pairs share, and the rows that are trained by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import VOLUMES, one_shot, saved
from torch import nn

from yoda_nb.nets.base import n_parameters
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_nb.training.pairs import absolute, as_volumes, beside, least_squares, paired_gan
from yoda_nb.training.rows import BUDGET
from yoda_papers.bridge.maskgan import MASKGAN, MaskedConfig
from yoda_papers.bridge.revgan import REVGAN, RevConfig
from yoda_papers.ea_gan import DEA_GAN, GEA_GAN, UNet3DConfig
from yoda_papers.resvit import RESVIT, ResViTConfig

SMALL = ResViTConfig(channels=(4, 6, 8), inner=(8, 8), width=8, depth=1, heads=2)
THICK = UNet3DConfig(channels=(4, 4), thickness=5, out_slices=5)
REV = RevConfig(channels=4, depth=2, thickness=5, out_slices=5)
MASKED = MaskedConfig(channels=(8, 8), res_blocks=1)


def test_least_squares_is_zero_for_a_critic_that_is_right():
    judged = torch.tensor([1.0, 1.0, 0.0])
    assert least_squares(judged, True) == pytest.approx(1 / 3) and least_squares(judged, False) == pytest.approx(2 / 3)


class Judge(nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3), keepdim=True)


class Second(nn.Module):
    """The second source's middle slice."""

    def forward(self, slabs, times):
        return slabs[:, 2:3]


def test_both_players_losses_are_those_written_down():
    method = paired_gan("pairs", lambda c: Judge(), absolute, 0.25)
    setting = one_shot(SMALL, method)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    nets = {"net": Second(), "critic": Judge()}
    fake, real = batch.source[:, 1:2], batch.target
    d_real, d_fake = (beside(x, batch.source).mean((1, 2, 3)) for x in (real, fake))
    critic, generator = (player.loss(nets, batch, setting) for player in method.players)
    assert critic == pytest.approx(float(((d_real - 1) ** 2).mean() + (d_fake**2).mean()) / 2, rel=1e-5)
    distance = np.average((fake - real).abs(), weights=batch.weight)
    assert generator == pytest.approx(float(distance + 0.25 * ((d_fake - 1) ** 2).mean()), rel=1e-5)
    assert method.validation(nets, batch, setting) == pytest.approx(float(distance), rel=1e-6)
    alone = replace(setting, options=(("adversarial", 0.0),))
    assert method.players[1].loss(nets, batch, alone) == pytest.approx(float(distance), rel=1e-6)


def test_all_brain_of_a_patch_counts():
    """Brain above and below the middle slice, where that has none: weight 1, and background little."""
    seen = {}

    def distance(made, acquired, weight):
        seen["weight"] = weight
        return absolute(made, acquired, weight)

    method = paired_gan("patches", lambda c: Judge(), distance, 0.0, as_volumes)
    setting = one_shot(THICK, method)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    method.validation({"net": setting.net.build()}, batch, setting)
    brain = (batch.target > -1) | (batch.weight >= 1)
    assert torch.equal(seen["weight"], torch.where(brain, 1.0, setting.outside)) and 0.1 < brain.float().mean() < 1


def test_the_critics_loss_moves_no_generator():
    setting = one_shot(THICK, DEA_GAN)
    nets = DEA_GAN.build(setting)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    DEA_GAN.players[0].loss(nets, batch, setting).backward()
    assert all(p.grad is None for p in nets["net"].parameters())
    assert all(p.grad is not None for p in nets["critic"].parameters())


@pytest.mark.parametrize(
    ("net", "method", "name"),
    [
        (SMALL, RESVIT, "resvit"),
        (THICK, DEA_GAN, "dea-gan"),
        (THICK, GEA_GAN, "gea-gan"),
        (REV, REVGAN, "revgan"),
        (MASKED, MASKGAN, "maskgan"),
    ],
)
def test_training_brings_images_nearer_and_the_row_runs(net, method, name, tmp_path):
    setting = one_shot(net, method, steps=80, lr=5e-3, warmup=0, ema=0.0)
    pool = make_pool(VOLUMES, setting)
    batch = draw_batch(pool, setting, 1000)
    torch.manual_seed(0)
    untrained = method.build(setting)
    trained = fit(VOLUMES, setting, out=tmp_path / "run", device="cpu")
    with torch.no_grad():
        before, after = (float(method.validation({"net": n}, batch, setting)) for n in (untrained["net"], trained))
    assert after < 0.8 * before
    model = saved(trained, tmp_path, net)
    v = VOLUMES[0]
    made = translate(v, name, model=model, device="cpu").target
    assert made.shape == v.mask.shape and (made[~v.mask] == -1).all() and made[v.mask].std() > 0.05


@pytest.mark.parametrize("name", ["resvit", "dea-gan", "gea-gan", "revgan", "maskgan"])
def test_rows_are_of_the_shared_budget_at_their_papers_betas(name):
    row = TRAININGS[name].config
    assert (
        row.steps * row.batch_size * row.net.counted == pytest.approx(BUDGET, rel=1e-3)
        and row.views == (2,)
        and row.betas == (0.5, 0.999)
    )
    assert row.window % row.net.divisor == 0 and n_parameters(row.net.build()) < 420_000  # 0.8 MB as float16
