"""AttGAN, SAGAN, UNIT, MUNIT and UNIT-DDPM, which seed 002 compares with, against closed forms and small computations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from yoda_nb.data.phantom import phantom_case
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.nets.base import n_parameters
from yoda_nb.nets.models import save_model
from yoda_nb.papers import SYSTEMS, TRAININGS
from yoda_nb.papers.syndiff import munit, unit
from yoda_nb.papers.syndiff.attention import (
    AttentionGate,
    AttentionUNetConfig,
    AttentiveResNetConfig,
    PixelSelfAttention,
    Spectral,
    spectral,
)
from yoda_nb.papers.syndiff.cyclegan import background, cycle_loss, estimates, one_shot_critics
from yoda_nb.papers.syndiff.munit import MunitConfig, StyledBlock
from yoda_nb.papers.syndiff.nets import ResNetConfig
from yoda_nb.papers.syndiff.unit import UnitConfig
from yoda_nb.papers.syndiff.unit_ddpm import NoisedSources
from yoda_nb.systems.run import translate
from yoda_nb.training.adversarial import generator_loss
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit

ROWS = ("attgan", "sagan", "unit", "munit")
VOLUMES = [phantom_case(seed, spacing=8.0, shape=(24, 28, 22)) for seed in range(2)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(name: str):
    net = TRAININGS[name].config.net
    net = replace(net, channels=(8, 8, 8) if name == "attgan" else (8, 8))
    return replace(TRAININGS[name].config, net=net, batch_size=2, window=16, steps=4, half=False)


def shaken(net: nn.Module, seed: int = 0) -> nn.Module:
    """A net away from its start, where residual branches are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in net.parameters():
            values += 0.1 * torch.randn(values.shape, generator=generator)
    return net


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


# --- UNIT


class Scale(nn.Module):
    """A translator in one number: codes are ``rate`` times images (of one channel), images codes over ``rate``."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x, times=None, *, part):
        if part == "encode":
            return F.pixel_unshuffle(x * self.rate, 4)
        return F.pixel_shuffle(x, 4) / self.rate


class Silent(nn.Module):
    def forward(self, x, times=None):
        return x.mean((1, 2, 3)) * 0


def one_source(row: str):
    config = small(row)
    config = replace(config, net=replace(config.net, n_sources=1), augment=0.0)
    pool = make_pool([replace(v, source=v.source[:1]) for v in VOLUMES], config)
    return config, draw_batch(pool, config, 0)


def test_translators_that_share_a_code_lose_what_its_noise_costs():
    config, batch = one_source("unit")
    nets = {"net": Scale(2.0), "to_a": Scale(2.0), "critic_a": Silent(), "critic_b": Silent()}
    inside = {"a": batch.source_weight, "b": batch.weight}
    a, b = background(batch.source, inside["a"]), background(batch.target, inside["b"])
    noises = [F.pixel_shuffle(n, 4) for n in unit.noises(batch)]

    def mean(values, domain):
        return (inside[domain] * values.abs()).sum() / inside[domain].sum()

    own = mean(noises[0] / 2, "a") + mean(noises[1] / 2, "b")
    made_b, made_a = background(a + noises[0] / 2, inside["a"]), background(b + noises[1] / 2, inside["b"])
    cycle = mean(made_b + noises[2] / 2 - a, "a") + mean(made_a + noises[3] / 2 - b, "b")
    codes = sum((2 * image).square().mean() for image in (a, b, made_b, made_a))
    doubt = 2 * generator_loss(torch.zeros(1))
    expected = own + cycle + 0.1 * doubt + 0.001 * codes
    assert unit.translators_loss(nets, batch, config).item() == pytest.approx(expected.item(), rel=1e-5)
    still = replace(batch, noise=torch.zeros_like(batch.noise))
    alone = replace(config, options=(("code", 0.0),))
    assert unit.validation(nets, still, alone).item() == pytest.approx(0.0, abs=1e-6)


def test_noises_are_the_batchs_own_and_differ():
    _, batch = one_source("unit")
    parts = unit.noises(batch)
    assert all(part.shape == (2, unit.CODE, 4, 4) for part in parts)
    assert torch.cat([part.flatten() for part in parts]).std() == pytest.approx(1.0, abs=0.1)
    assert len({float(part.sum()) for part in parts}) == 4


# --- MUNIT


def test_a_styled_block_gives_each_channel_the_mean_and_spread_it_is_told():
    torch.manual_seed(0)
    block, x = StyledBlock(3), random(2, 3, 6, 6)
    for layer in block.layers:  # the identity of what comes in
        nn.init.dirac_(layer.weight)
        nn.init.zeros_(layer.bias)
    scale, shift = torch.tensor([0.5, 0.0, 1.0]), torch.tensor([20.0, 30.0, 40.0])  # far above 0: no ReLU
    told = torch.cat([scale, shift]).repeat(2).expand(2, -1)
    added = block(x, told) - x
    assert torch.allclose(added.mean((2, 3)), shift.expand(2, 3), atol=1e-4)
    assert torch.allclose(added.var((2, 3), correction=0).sqrt(), (1 + scale).expand(2, 3), atol=1e-3)


def test_a_style_changes_the_image_and_no_content():
    torch.manual_seed(0)
    net, slabs = shaken(MunitConfig().build()), random(2, 3, 16, 16)
    styles = [random(2, munit.STYLE, seed=s) for s in (1, 2)]
    images = [net(slabs, latent=style) for style in styles]
    assert not torch.allclose(images[0], images[1], atol=1e-3)
    assert torch.equal(net(slabs), net(slabs, latent=torch.zeros(2, munit.STYLE)))
    content = net(slabs[:, 1:], part="content")
    assert torch.equal(net(content, latent=styles[0], part="decode"), images[0])


def test_munits_terms_are_its_four():
    config, batch = one_source("munit")
    torch.manual_seed(0)
    nets = {name: shaken(net) for name, net in config.method.build(config).items()}

    def loss(**weights: float) -> float:
        options = tuple((dict.fromkeys(munit.WEIGHTS, 0.0) | weights).items())
        return munit.translators_loss(nets, batch, replace(config, options=options)).item()

    with torch.no_grad():
        content_a, content_b, style_a, style_b, made_a, made_b = munit.translated(nets, batch)
        a, b = background(batch.source, batch.source_weight), background(batch.target, batch.weight)
        again = nets["to_a"](nets["net"](a, part="content"), latent=nets["style_a"](a), part="decode")
        back = nets["net"](nets["to_a"](b, part="content"), latent=nets["style_b"](b), part="decode")
        image = ((batch.source_weight * (again - a).abs()).sum() / batch.source_weight.sum()).item()
        image += ((batch.weight * (back - b).abs()).sum() / batch.weight.sum()).item()
        content = (nets["to_a"](made_b, part="content") - content_a).abs().mean().item()
        content += (nets["net"](made_a, part="content") - content_b).abs().mean().item()
        style = (nets["style_a"](made_a) - style_a).abs().mean() + (nets["style_b"](made_b) - style_b).abs().mean()
        doubt = generator_loss(nets["critic_a"](made_a)) + generator_loss(nets["critic_b"](made_b))
    for name, value in {"image": image, "content": content, "style": float(style), "adversarial": float(doubt)}.items():
        assert loss(**{name: 1.0}) == pytest.approx(value, rel=1e-4), name
    assert loss(image=1.0) == pytest.approx(munit.validation(nets, batch, config).item(), rel=1e-5)


# --- UNIT-DDPM


def test_sources_are_shown_at_the_noise_level_of_their_time():
    """Alike in each step, of the job's generator, and without noise at the end of alpha-bar 1."""
    seen = []

    class Watch(nn.Module):
        def forward(self, slabs, times):
            seen.append(slabs)
            return slabs[:, :1]

    path, slabs = schedule("cosine", 1000), random(64, 3, 16, 16)
    for t in (0, 500, 999):
        net = NoisedSources(Watch(), path, torch.Generator().manual_seed(0))
        net(slabs, torch.full((64,), float(t)))
        rest = seen[-1][:, 1:] - path.at(t) ** 0.5 * slabs[:, 1:]
        assert torch.equal(seen[-1][:, :1], slabs[:, :1]), "x_t is as it was"
        assert rest.std() == pytest.approx((1 - path.at(t)) ** 0.5, rel=0.02) and abs(rest.mean()) < 0.02
    again = NoisedSources(Watch(), path, torch.Generator().manual_seed(0))
    again(slabs, torch.full((64,), 999.0))
    assert torch.equal(seen[-1], seen[-2])


def test_denoisers_are_asked_for_their_own_noise_beside_a_noised_translation():
    config = replace(small_ddpm(), options=(("cycle", 0.25),))
    batch = draw_batch(make_pool(VOLUMES, config), config, 0)
    torch.manual_seed(0)
    nets = {name: shaken(net, seed=k) for k, (name, net) in enumerate(config.method.build(config).items())}
    ab = schedule("cosine", 1000).alpha_bar[batch.times].float().view(-1, 1, 1, 1)
    a, b = background(batch.source, batch.source_weight), background(batch.target, batch.weight)
    own_a, beside_a, beside_b = batch.noise.split([2 * 256, 256, 2 * 256], 1)
    with torch.no_grad():
        y_a, y_b = estimates(nets, batch)
        told = []
        for net, x0, eps, guide, other, inside in (
            ("net_a", a, own_a.view_as(a), y_b, beside_a.view_as(b), batch.source_weight),
            ("net", b, batch.eps, y_a, beside_b.view_as(a), batch.weight),
        ):
            noisy = [ab.sqrt() * image + (1 - ab).sqrt() * noise for image, noise in ((x0, eps), (guide, other))]
            error = (nets[net](torch.cat(noisy, 1), batch.times) - eps).square()
            told.append(((inside * error).sum() / (inside.sum() * error.shape[1])).item())
        translators, denoisers = (player.loss(nets, batch, config).item() for player in config.method.players)
        assert denoisers == pytest.approx(sum(told), rel=1e-4)
        cycle = cycle_loss(nets, batch, y_a, y_b).item()
        assert translators == pytest.approx(sum(told) + 0.25 * cycle, rel=1e-4)
        assert config.method.validation(nets, batch, config).item() == pytest.approx(told[1], rel=1e-4)


def small_ddpm():
    config = TRAININGS["unit-ddpm"].config
    return replace(config, net=replace(config.net, channels=(8, 8)), batch_size=2, window=16, steps=4, half=False)


def test_the_two_diffusions_run_as_they_were_trained(tmp_path):
    config = small_ddpm()
    net = fit(VOLUMES, replace(config, warmup=0), device="cpu")
    card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 8.0, "schedule": "cosine", "n_train": 1000}
    save_model(net, tmp_path / "net.safetensors", config=config.net, card=card | {"prediction": "eps", "training": {}})
    made, again, other = (
        translate(VOLUMES[0], "unit-ddpm", model=tmp_path / "net.safetensors", device="cpu", n_steps=3, seed=s).target
        for s in (0, 0, 1)
    )
    assert torch.equal(made, again) and not torch.equal(made, other) and made.isfinite().all()
    assert config.method.players[0].nets == ("to_a", "to_b") and SYSTEMS["unit-ddpm"].evaluations == 1000


# --- all four


@pytest.mark.parametrize("row", ROWS)
def test_players_learn_and_critics_are_seed_002s(row):
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
    card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 8.0, "schedule": "linear", "n_train": 1}
    card |= {"prediction": "x0", "training": {}}
    save_model(net, tmp_path / "net.safetensors", config=config.net, card=card)
    made, again, other = (
        translate(VOLUMES[0], row, model=tmp_path / "net.safetensors", device="cpu", seed=seed).target
        for seed in (0, 0, 1)
    )
    inside = VOLUMES[0].mask
    assert torch.equal(made, again) and (made[~inside] == -1).all() and made[inside].std() > 0
    assert torch.equal(made, other) == (row != "munit"), "only a style is drawn"
    assert SYSTEMS[row].evaluations == 1 and SYSTEMS[row].reference.startswith("seed 002")
