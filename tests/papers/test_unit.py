"""UNIT and MUNIT, translators that share codes, against closed forms and small computations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import VOLUMES, random, shaken
from torch import nn
from torch.nn import functional as F

from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.adversarial import generator_loss
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_papers.syndiff import munit, unit
from yoda_papers.syndiff.cyclegan import background
from yoda_papers.syndiff.munit import MunitConfig, StyledBlock


def one_source(row: str):
    """Settings and a batch of one source, with which two translators are of one kind."""
    config = TRAININGS[row].config
    net = replace(config.net, channels=(8, 8), n_sources=1)
    config = replace(config, net=net, batch_size=2, window=16, steps=4, half=False, augment=0.0)
    pool = make_pool([replace(v, source=v.source[:1]) for v in VOLUMES], config)
    return config, draw_batch(pool, config, 0)


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
