"""AttGAN, SAGAN, UNIT and MUNIT, which SynDiff compares with: attention by loops, and what the four share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import VOLUMES, random, saved, shaken
from torch import nn

from yoda_nb.nets.base import n_parameters
from yoda_nb.systems.papers import SYSTEMS, TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_papers.syndiff.attention import (
    AttentionGate,
    AttentionUNetConfig,
    AttentiveResNetConfig,
    PixelSelfAttention,
    Spectral,
    spectral,
)
from yoda_papers.syndiff.cyclegan import one_shot_critics
from yoda_papers.syndiff.munit import MunitConfig
from yoda_papers.syndiff.nets import ResNetConfig
from yoda_papers.syndiff.unit import UnitConfig

ROWS = ("attgan", "sagan", "unit", "munit")


def small(name: str):
    net = TRAININGS[name].config.net
    net = replace(net, channels=(8, 8, 8) if name == "attgan" else (8, 8))
    return replace(TRAININGS[name].config, net=net, batch_size=2, window=16, steps=4, half=False)


# --- attention


def test_a_gate_weighs_each_pixel_of_a_skip_by_one_number():
    torch.manual_seed(0)
    gate, skip, signal = AttentionGate(4), random(2, 4, 3, 5), random(2, 4, 3, 5, seed=1)
    kernels = [layer.weight[..., 0, 0] for layer in (gate.of_skip, gate.of_signal, gate.psi)]
    inner = torch.einsum("oc,ncab->noab", kernels[0], skip) + torch.einsum("oc,ncab->noab", kernels[1], signal)
    inner = (inner + gate.of_signal.bias[:, None, None]).relu()
    alpha = torch.sigmoid(torch.einsum("oc,ncab->noab", kernels[2], inner) + gate.psi.bias[:, None, None])
    found = gate(skip, signal)
    assert alpha.shape == (2, 1, 3, 5) and torch.allclose(found, alpha * skip, atol=1e-6)
    nn.init.constant_(gate.psi.bias, -50.0)
    assert gate(skip, signal).abs().max() < 1e-10, "a closed gate lets nothing through"


def test_self_attention_is_that_of_the_paper_by_loops():
    torch.manual_seed(0)
    layer, x = PixelSelfAttention(8), random(1, 8, 2, 3)
    assert torch.equal(layer(x), x), "gamma starts at 0"
    nn.init.constant_(layer.gamma, 0.5)
    f, g, h = (each(x)[0].flatten(1) for each in (layer.f, layer.g, layer.h))  # (inner, 6)
    o = torch.zeros_like(h)
    for j in range(6):
        s = torch.stack([f[:, i] @ g[:, j] for i in range(6)])
        o[:, j] = sum(beta * h[:, i] for i, beta in enumerate(s.softmax(0)))
    expected = x + 0.5 * layer.v(o.view(1, -1, 2, 3))
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_sagan_has_attention_in_its_last_two_residual_blocks():
    net, plain = AttentiveResNetConfig().build(), ResNetConfig().build()
    at = [k for k, part in enumerate(net.middle) if isinstance(part, nn.Sequential) and len(part) == 2 and k]
    with_ = [k for k in at if isinstance(net.middle[k][1], PixelSelfAttention)]
    assert with_ == [6, 7] and len(net.middle) == len(plain.middle) == 9
    torch.manual_seed(0)
    net = AttentiveResNetConfig().build()
    torch.manual_seed(0)
    assert n_parameters(net) > n_parameters(ResNetConfig().build())


def test_a_spectral_kernel_stretches_no_input_by_more_than_one():
    kernel = random(6, 3, 3, 3)
    normal = Spectral()(kernel)
    assert torch.linalg.svdvals(normal.flatten(1))[0] == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(normal * torch.linalg.svdvals(kernel.flatten(1))[0], kernel, atol=1e-5)
    critic = spectral(nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 1)))
    for layer in (critic[0], critic[2]):
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) == pytest.approx(1.0, abs=1e-5)
    critic(random(1, 2, 8, 8)).sum().backward()
    assert critic[0].parametrizations.weight.original.grad.isfinite().all()


# --- all four


@pytest.mark.parametrize("row", ROWS)
def test_only_sagans_critics_are_spectrally_normalised(row):
    config = small(row)
    nets = config.method.build(config)
    told = [name for name, net in nets.items() if any("parametrizations" in k for k, _ in net.named_parameters())]
    assert told == (["critic_a", "critic_b"] if row == "sagan" else [])


@pytest.mark.parametrize("config", [AttentionUNetConfig(), AttentiveResNetConfig(), UnitConfig(), MunitConfig()])
def test_generators_look_at_sources_alone(config):
    torch.manual_seed(0)
    net, slabs = shaken(config.build()).eval(), random(2, 3, 16, 24)
    other = torch.cat([slabs[:, :1] + 5, slabs[:, 1:]], 1)
    found = net(slabs, torch.zeros(2))
    assert found.shape == (2, 1, 16, 24) and found.abs().max() <= 1 and torch.equal(found, net(other, torch.ones(2)))
    assert not torch.equal(found, net(-slabs, torch.zeros(2)))
    assert replace(config, n_sources=1, out_slices=2).build()(slabs[:, :2]).shape == (2, 2, 16, 24)


@pytest.mark.parametrize("row", ROWS)
def test_players_learn_and_critics_are_those_of_syndiff(row):
    config = small(row)
    batch = draw_batch(make_pool(VOLUMES, config), config, 0)
    torch.manual_seed(0)
    nets = {name: shaken(net) for name, net in config.method.build(config).items()}
    critics, generators = config.method.players
    for player in (critics, generators):
        weights = [p for k in player.nets for p in nets[k].parameters()]
        found = torch.autograd.grad(player.loss(nets, batch, config), weights, allow_unused=True)
        assert all(g is not None and g.isfinite().all() for g in found)
    assert critics.nets == ("critic_a", "critic_b") and "net" in generators.nets
    made = torch.zeros(2, 2, 16, 16), torch.zeros(2, 1, 16, 16)
    assert one_shot_critics(batch, nets, config, *made).isfinite()


@pytest.mark.parametrize("row", ROWS)
def test_rows_are_unpaired_small_and_run_as_trained(row, tmp_path):
    config = small(row)
    full = TRAININGS[row].config
    assert full.unpaired and full.betas == (0.5, 0.9) and n_parameters(full.net.build()) < 420_000
    net = fit(VOLUMES, replace(config, warmup=0), device="cpu")
    model = saved(net, tmp_path, config.net)
    made, again, other = (translate(VOLUMES[0], row, model=model, device="cpu", seed=seed).target for seed in (0, 0, 1))
    inside = VOLUMES[0].mask
    assert torch.equal(made, again) and (made[~inside] == -1).all() and made[inside].std() > 0
    assert torch.equal(made, other) == (row != "munit"), "only a style is drawn"
    assert SYSTEMS[row].evaluations == 1 and SYSTEMS[row].reference.startswith("SynDiff")
