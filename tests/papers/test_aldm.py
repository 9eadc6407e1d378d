"""ALDM: codes, their quantisation, their noise and their diffusion against small computations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import VOLUMES, one_shot, random, saved, shaken
from torch import nn

from yoda_nb.diffusion.process import vp_step
from yoda_nb.systems.run import translate
from yoda_nb.training.adversarial import generator_loss
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_papers import aldm
from yoda_papers.aldm import ALDM, NOISE, LatentConfig, code_noise, on_sphere

SMALL = LatentConfig(channels=(4, 8), codes=16, width=8, blocks=1, steps=4, thickness=7, out_slices=7)
CONFIG = one_shot(SMALL, ALDM)


@pytest.fixture
def net() -> nn.Module:
    """A net away from its start, where residual branches are zero."""
    torch.manual_seed(0)
    return shaken(SMALL.build(), 0.05).eval()


def test_codes_have_a_mean_square_of_one(net):
    z = net(random(2, 7, 16, 24), part="encode")
    assert z.shape == (2, 4, 2, 4, 6) and torch.allclose(z.square().mean(1), torch.ones(2, 2, 4, 6), atol=1e-5)
    assert net(random(2, 14, 16, 24), part="translate").shape == z.shape
    assert net(z, part="decode").shape == (2, 7, 16, 24)


def test_a_code_becomes_the_nearest_vector_of_the_book(net):
    z = on_sphere(random(2, 4, 2, 3, 3))
    book = net.codebook / net.codebook.norm(dim=1, keepdim=True) * 2  # of 4 channels: length 2
    found = net(z, part="quantise")
    for n, d, h, w in np.ndindex(2, 2, 3, 3):
        nearest = (book - z[n, :, d, h, w]).square().sum(1).argmin()
        assert torch.allclose(found[n, :, d, h, w], book[nearest], atol=1e-6)
    assert torch.allclose(net(found, part="quantise"), found, atol=1e-6)


def test_the_noise_of_a_code_is_that_of_its_voxels():
    """Patches that overlap by whole codes share their noise, and each number is used at most once."""
    noise = random(1, 24, 16, 16)
    whole = code_noise(noise, 4)
    assert whole.shape == (1, 4, 6, 4, 4) and len(whole.unique()) == whole.numel()
    assert torch.equal(code_noise(noise[:, 8:16], 4), whole[:, :, 2:4])
    assert torch.equal(code_noise(noise[:, :7], 4), whole[:, :, :2]), "a depth that is filled up"
    assert code_noise(random(1, 64, 64, 64), 4).std() == pytest.approx(1.0, abs=0.02)


def test_a_perfect_denoiser_ends_in_the_code_it_knows(net):
    """DDIM with the true noise: whatever it starts from, the image of that code, quantised."""
    goal = net(random(1, 7, 16, 16, seed=5), part="encode")

    class Oracle(nn.Module):
        def forward(self, codes, times):
            ab = NOISE.at(int(times[0]))
            return (codes[:, :4] - ab**0.5 * goal) / (1 - ab) ** 0.5

    net.denoiser = Oracle()
    expected = net(net(goal, part="quantise"), part="decode")
    for seed in (1, 2):
        assert torch.allclose(net(random(1, 21, 16, 16, seed=seed)), expected, atol=1e-4)


def test_a_call_is_ddim_step_by_step(net):
    slabs = random(2, 21, 16, 16)
    z, given = code_noise(slabs[:, :7], 4), net(slabs[:, 7:], part="translate")
    for t, s in ((999, 749), (749, 499), (499, 249), (249, -1)):
        eps = net(torch.cat([z, given], 1), torch.full((2,), float(t)), part="denoise")
        x0 = (z - (1 - NOISE.at(t)) ** 0.5 * eps) / NOISE.at(t) ** 0.5
        z = vp_step(z, x0, t, s, torch.zeros_like(z), schedule=NOISE, sigma="zero")
    assert torch.allclose(net(slabs), net(net(on_sphere(z), part="quantise"), part="decode"), atol=1e-5)
    assert net(slabs).abs().max() < 1 and not torch.equal(net(slabs), net(-slabs))


def test_the_loss_is_images_codes_critic_and_noise(net):
    batch = draw_batch(make_pool(VOLUMES, CONFIG), CONFIG, 0)
    nets = {"net": net, "critic": ALDM.build(CONFIG)["critic"]}
    with torch.no_grad():
        z_b, z_a = net(batch.target, part="encode"), net(batch.source, part="translate")
        q_b, q_a = (net(z, part="quantise") for z in (z_b, z_a))
        own, made = (net(q, part="decode") for q in (q_b, q_a))
        brain = torch.where((batch.target > -1) | (batch.weight >= 1), 1.0, CONFIG.outside)
        images = sum(np.average((x - batch.target).abs(), weights=brain) for x in (own, made))
        codes = 1.25 * float((z_b - q_b).square().mean() + (z_a - q_a).square().mean())
        doubt = float(generator_loss(nets["critic"](own[:, None])) + generator_loss(nets["critic"](made[:, None])))
        times, eps = (1000 * batch.fractions).long(), code_noise(batch.eps, 4)
        ab = NOISE.alpha_bar[times].float().view(-1, 1, 1, 1, 1)
        noised = torch.cat([ab.sqrt() * z_b + (1 - ab).sqrt() * eps, z_a], 1)
        noise = float((net(noised, times, part="denoise") - eps).square().mean())
        expected = images + codes + aldm.ADVERSARIAL * doubt + noise
        assert float(ALDM.players[1].loss(nets, batch, CONFIG)) == pytest.approx(expected, rel=1e-4)


def test_diffusion_moves_no_autoencoder_and_images_move_all_of_it(net):
    batch = draw_batch(make_pool(VOLUMES, CONFIG), CONFIG, 0)
    nets = {"net": net, "critic": ALDM.build(CONFIG)["critic"]}
    z_b, z_a = net(batch.target, part="encode"), net(batch.source, part="translate")
    aldm._noise_loss(nets, batch, z_b, z_a).backward()
    moved = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None}
    assert moved == {"denoiser"}
    net.zero_grad(set_to_none=True)
    ALDM.players[1].loss(nets, batch, CONFIG).backward()
    moved = {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"encoder", "decoder", "codebook", "translator", "denoiser"}


def test_training_brings_images_nearer_and_the_row_runs(tmp_path):
    setting = replace(CONFIG, steps=80, lr=5e-3, warmup=0, ema=0.0)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 1000)
    torch.manual_seed(0)
    untrained = ALDM.build(setting)["net"]
    trained = fit(VOLUMES, setting, device="cpu")
    with torch.no_grad():
        before, after = (float(ALDM.validation({"net": n}, batch, setting)) for n in (untrained, trained))
    assert after < 0.8 * before
    model = saved(trained, tmp_path, SMALL)
    v = VOLUMES[0]
    made, again, other = (translate(v, "aldm", model=model, device="cpu", seed=seed).target for seed in (0, 0, 1))
    assert torch.equal(made, again) and not torch.equal(made, other), "a seed is a noise"
    assert (made[~v.mask] == -1).all() and made[v.mask].isfinite().all() and made[v.mask].std() > 0
