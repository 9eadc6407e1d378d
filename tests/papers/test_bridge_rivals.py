"""RevGAN and MaskGAN, which SKC-ISTA compares with, against their inverses and small computations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_training import VOLUMES, one_shot, random, shaken
from torch import nn
from torch.nn import functional as F

from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_papers.bridge import maskgan
from yoda_papers.bridge.maskgan import MASKGAN, MaskedConfig
from yoda_papers.bridge.revgan import REVGAN, Coupling, RevConfig

REV = RevConfig(channels=4, depth=2, thickness=5, out_slices=5)
MASKED = MaskedConfig(channels=(8, 8), res_blocks=1)


# --- RevGAN


def test_a_coupling_is_undone_exactly():
    block, x = shaken(Coupling(6), 0.05), random(2, 6, 4, 5, 3)
    one, two = x.chunk(2, 1)
    first = one + block.f(two)
    y = block(x)
    assert torch.allclose(y, torch.cat([first, two + block.g(first)], 1)) and not torch.allclose(y, x, atol=1e-2)
    assert torch.allclose(block(y, back=True), x, atol=1e-6) and torch.allclose(
        block(block(x, back=True)), x, atol=1e-6
    )


def test_the_way_back_runs_the_same_core_backwards():
    torch.manual_seed(0)
    net, target = shaken(REV.build(), 0.05), random(1, 5, 8, 8)
    h = net.encode_b(F.pad(target[:, None], (0, 0, 0, 0, 0, 1), mode="replicate"))
    for block in list(net.core)[::-1]:
        h = block(h, back=True)
    expected = torch.tanh(net.decode_a(h))[:, :, :5].flatten(1, 2)
    assert torch.equal(net(target, part="back"), expected) and expected.shape == (1, 10, 8, 8)
    assert net(random(1, 15, 8, 8)).shape == (1, 5, 8, 8)
    core = {name for name, _ in net.core.named_parameters()}
    assert len(core) == 2 * 2 * 2 * REV.depth, "one core for both ways"


def test_both_ways_are_weighed_alike():
    setting = one_shot(REV, REVGAN, options=(("adversarial", 0.0),))
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    nets = {name: shaken(net, 0.05) for name, net in REVGAN.build(setting).items()}
    with torch.no_grad():
        back = nets["net"](batch.target, part="back")
        there = nets["net"](torch.cat([torch.zeros_like(batch.target), batch.source], 1))
        brain = torch.where((batch.target > -1) | (batch.weight >= 1), 1.0, setting.outside)
        expected = np.average((there - batch.target).abs(), weights=brain)
        assert REVGAN.validation(nets, batch, setting) == pytest.approx(expected, rel=1e-5)
        expected += np.average((back - batch.source).abs(), weights=brain.repeat(1, 2, 1, 1))
        assert REVGAN.players[1].loss(nets, batch, setting) == pytest.approx(expected, rel=1e-5)


# --- MaskGAN


def test_attention_chooses_among_contents_and_what_was_given():
    torch.manual_seed(0)
    net, images = MASKED.build(), random(2, 2, 16, 16).clamp(-1, 1)
    h = net.trunk(images)
    contents, attention = torch.tanh(net.contents(h)), net.attention(h).softmax(1)
    assert torch.allclose(attention.sum(1), torch.ones(2, 16, 16), atol=1e-5)
    expected = attention[:, 0] * images.mean(1) + sum(attention[:, k + 1] * contents[:, k] for k in range(4))
    both = net(images, part="both")
    assert torch.allclose(both[:, 0], expected, atol=1e-5) and torch.allclose(both[:, 1], attention[:, 0])
    assert torch.equal(net(torch.cat([random(2, 1, 16, 16), images], 1)), both[:, :1])
    nn.init.zeros_(net.attention[0].weight)
    with torch.no_grad():  # of 5 kinds in 2 x 2 voxels each, all attention on what was given
        net.attention[0].bias.copy_(torch.tensor([50.0] * 4 + [0.0] * 16))
    assert torch.allclose(net(images, part="both")[:, :1], images.mean(1, keepdim=True), atol=1e-5)


def test_maskgans_terms_are_its_five():
    setting = one_shot(MASKED, MASKGAN)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    nets = {name: shaken(net, 0.05) for name, net in MASKGAN.build(setting).items()}

    def loss(**weights: float) -> float:
        options = tuple((dict.fromkeys(maskgan.WEIGHTS, 0.0) | weights).items())
        return float(MASKGAN.players[1].loss(nets, batch, replace(setting, options=options)))

    def mean(x, y):
        weights = batch.weight.expand_as(x)
        return np.average((x - y).abs(), weights=weights)

    with torch.no_grad():
        a, b = batch.source, batch.target
        (made_b, far_a), (made_a, far_b) = (
            nets[k](x, part="both").tensor_split([-1], 1) for k, x in (("net", a), ("to_a", b))
        )
        (again_a, far_ab), (again_b, far_ba) = (
            nets[k](x, part="both").tensor_split([-1], 1) for k, x in (("to_a", made_b), ("net", made_a))
        )
        outside = (batch.weight < 1).float()
        terms = {
            "pair": mean(made_a, a) + mean(made_b, b),
            "cycle": mean(again_a, a) + mean(again_b, b),
            "mask": float((far_a - outside).abs().mean() + (far_b - outside).abs().mean()),
            "shape": float((far_a - far_ab).abs().mean() + (far_b - far_ba).abs().mean()),
            "adversarial": float(
                sum((nets[f"critic_{k}"](x) - 1).square().mean() for k, x in (("a", made_a), ("b", made_b)))
            ),
        }
        for name, value in terms.items():
            assert loss(**{name: 1.0}) == pytest.approx(value, rel=1e-4), name
        assert MASKGAN.validation(nets, batch, setting) == pytest.approx(mean(made_b, b), rel=1e-5)
