"""ResViT, Ea-GAN, RevGAN and MaskGAN against closed forms and small computations, and the method that pairs share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from yoda_nb.data.phantom import phantom_case
from yoda_nb.nets.base import n_parameters
from yoda_nb.nets.models import save_model
from yoda_nb.papers import TRAININGS, ea_gan, resvit
from yoda_nb.papers.bridge import maskgan
from yoda_nb.papers.bridge.maskgan import MASKGAN, MaskedConfig
from yoda_nb.papers.bridge.revgan import REVGAN, Coupling, RevConfig
from yoda_nb.papers.ea_gan import DEA_GAN, GEA_GAN, UNet3DConfig, edges, volumes_and_edges
from yoda_nb.papers.resvit import RESVIT, ResViTConfig
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_nb.training.pairs import absolute, as_volumes, beside, least_squares, paired_gan
from yoda_nb.training.rows import BUDGET

SMALL = ResViTConfig(channels=(4, 6, 8), inner=(8, 8), width=8, depth=1, heads=2)
THICK = UNet3DConfig(channels=(4, 4), thickness=5, out_slices=5)
REV = RevConfig(channels=4, depth=2, thickness=5, out_slices=5)
MASKED = MaskedConfig(channels=(8, 8), res_blocks=1)
VOLUMES = [phantom_case(seed, spacing=8.0, shape=(24, 28, 22)) for seed in range(2)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def config(net, method, **changes) -> TrainConfig:
    settings = {
        "n_train": 1,
        "prediction": "x0",
        "views": (2,),
        "steps": 2,
        "batch_size": 2,
        "window": 16,
        "half": False,
    }
    return TrainConfig(net=net, method=method, **(settings | changes))


# --- ResViT


def test_a_block_is_the_transformers_answer_beside_what_it_was_given():
    """Aggregated residual transformer by its steps: down, tokens with positions, up, concatenate, compress, residual."""
    torch.manual_seed(0)
    net = SMALL.build().eval()
    block = net.aggregated["1"]
    nn.init.normal_(block.positions)
    nn.init.normal_(block.mix[2].weight, std=0.1)
    h = random(2, 8, 8, 12)
    with torch.no_grad():
        patches = block.embed(block.down(h))
        assert patches.shape == (2, 8, 2, 3), "a token for each four by four positions"
        places = F.interpolate(block.positions, (2, 3), mode="bilinear", align_corners=False)
        tokens = torch.stack([(patches + places)[:, :, i, j] for i in range(2) for j in range(3)], 1)
        context = net.transformer(tokens)
        grid = torch.stack([context[:, 3 * i : 3 * i + 3] for i in range(2)], 1).permute(0, 3, 1, 2)
        weight = block.compress.weight[..., 0, 0]
        joined = torch.cat([block.up(grid), h], 1)
        squeezed = torch.einsum("oc,ncab->noab", weight, joined) + block.compress.bias[:, None, None]
        expected = squeezed + block.mix[2](torch.relu(block.mix[0](squeezed)))
        assert torch.allclose(block(h, net.transformer), expected, atol=1e-5)


def test_two_of_nine_blocks_share_one_transformer():
    config_ = ResViTConfig()
    net = config_.build()
    assert list(net.aggregated) == ["1", "6"] and list(net.blocks) == [str(k) for k in range(1, 10)]
    fewer = replace(config_, transformers=(1,)).build()
    lost = n_parameters(net) - n_parameters(fewer)
    assert lost == n_parameters(net.aggregated["6"]) and lost > 0
    assert not any("transformer" in name for name, _ in net.aggregated.named_parameters())


def test_a_transformer_sees_the_whole_slice_and_convolutions_do_not():
    """What changes in one corner reaches the other by way of tokens alone."""
    torch.manual_seed(0)
    with_, without = SMALL.build().eval(), replace(SMALL, transformers=(), blocks=1).build().eval()
    slabs = random(1, 3, 96, 96)
    other = slabs.clone()
    other[..., :4, :4] += 1
    with torch.no_grad():
        far = [(net(slabs) - net(other))[..., -8:, -8:].abs().max() for net in (with_, without)]
    assert far[0] > 0 and far[1] == 0


@pytest.mark.parametrize(("preset", "millions"), [(resvit.AUTHORS, 121.9), (ea_gan.AUTHORS, 167.8)])
def test_the_authors_sizes_can_be_built(preset, millions):
    with torch.device("meta"):
        assert n_parameters(preset.build()) / 1e6 == pytest.approx(millions, abs=0.1)


# --- Ea-GAN


def test_edges_are_sobels_as_scipy_has_them():
    image = random(1, 7, 8, 9).clamp(-1, 1)
    padded = np.pad(image[0].double().numpy(), 2, constant_values=-1.0)
    parts = [ndimage.sobel(padded, axis)[2:-2, 2:-2, 2:-2] / 4 for axis in range(3)]
    expected = 2 * np.tanh(np.sqrt(sum(p**2 for p in parts))) - 1
    assert np.allclose(edges(image)[0].numpy(), expected, atol=1e-5)


def test_edges_of_a_ramp_are_its_slope_and_of_nothing_none():
    """Sobel smooths by (1,2,1) twice and takes a difference over two voxels: 16 * 2 * slope / 4."""
    ramp = 0.01 * torch.arange(9.0).expand(1, 9, 9, 9)
    assert torch.allclose(edges(ramp)[:, 2:-2, 2:-2, 2:-2], 2 * torch.tanh(torch.tensor(0.08)) - 1, atol=1e-6)
    flat = torch.full((1, 5, 5, 5), -1.0, requires_grad=True)
    edges(flat).sum().backward()
    assert torch.allclose(edges(flat), torch.tensor(-1.0), atol=1e-4) and flat.grad.isfinite().all()


def test_the_distance_is_of_voxels_and_edges():
    a, b = random(2, 5, 6, 6).clamp(-1, 1), random(2, 5, 6, 6, seed=1).clamp(-1, 1)
    weight = random(2, 5, 6, 6, seed=2).abs()
    parts = [np.average((x - y).abs(), weights=weight) for x, y in ((a, b), (edges(a), edges(b)))]
    assert ea_gan.distance(a, b, weight) == pytest.approx(parts[0] + parts[1] / 3, rel=1e-5)
    assert ea_gan.distance(a, a, weight) == 0


def test_only_one_critic_is_shown_edges():
    images, sources = random(2, 5, 6, 6), random(2, 10, 6, 6)
    plain, more = as_volumes(images, sources), volumes_and_edges(images, sources)
    assert plain.shape == (2, 3, 5, 6, 6) and torch.equal(more[:, :3], plain)
    assert torch.equal(plain[:, 1], sources[:, 5:]) and torch.equal(more[:, 3], edges(images))
    for method, channels in ((DEA_GAN, 4), (GEA_GAN, 3)):
        assert method.build(config(THICK, method))["critic"].layers[0].in_channels == channels


@pytest.mark.parametrize("thickness", [5, 7, 15])
def test_a_patch_keeps_its_depth(thickness):
    net = UNet3DConfig(channels=(4, 4, 4), thickness=thickness, out_slices=thickness).build()
    assert net(random(2, 3 * thickness, 16, 24)).shape == (2, thickness, 16, 24)


def test_the_net_looks_along_the_third_axis_too():
    torch.manual_seed(0)
    net, slabs = THICK.build(), random(1, 15, 8, 8)
    other = slabs.clone()
    other[:, 5] += 1  # the first slice of the first source
    assert ((net(slabs) - net(other)).abs().amax((0, 2, 3)) > 0).all()
    other = slabs.clone()
    other[:, :5] = 9  # x_t
    assert torch.equal(net(slabs), net(other))


# --- RevGAN


def shaken(net: nn.Module) -> nn.Module:
    """A net away from its start, where residual branches are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in net.parameters():
            values += 0.05 * torch.randn(values.shape, generator=generator)
    return net


def test_a_coupling_is_undone_exactly():
    block, x = shaken(Coupling(6)), random(2, 6, 4, 5, 3)
    one, two = x.chunk(2, 1)
    first = one + block.f(two)
    y = block(x)
    assert torch.allclose(y, torch.cat([first, two + block.g(first)], 1)) and not torch.allclose(y, x, atol=1e-2)
    assert torch.allclose(block(y, back=True), x, atol=1e-6) and torch.allclose(
        block(block(x, back=True)), x, atol=1e-6
    )


def test_the_way_back_runs_the_same_core_backwards():
    torch.manual_seed(0)
    net, target = shaken(REV.build()), random(1, 5, 8, 8)
    h = net.encode_b(F.pad(target[:, None], (0, 0, 0, 0, 0, 1), mode="replicate"))
    for block in list(net.core)[::-1]:
        h = block(h, back=True)
    expected = torch.tanh(net.decode_a(h))[:, :, :5].flatten(1, 2)
    assert torch.equal(net(target, part="back"), expected) and expected.shape == (1, 10, 8, 8)
    assert net(random(1, 15, 8, 8)).shape == (1, 5, 8, 8)
    core = {name for name, _ in net.core.named_parameters()}
    assert len(core) == 2 * 2 * 2 * REV.depth, "one core for both ways"


def test_both_ways_are_weighed_alike():
    setting = config(REV, REVGAN, options=(("adversarial", 0.0),))
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    nets = {name: shaken(net) for name, net in REVGAN.build(setting).items()}
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
    setting = config(MASKED, MASKGAN)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    nets = {name: shaken(net) for name, net in MASKGAN.build(setting).items()}

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


# --- the method of pairs


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
    setting = config(SMALL, method)
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
    setting = config(THICK, method)
    batch = draw_batch(make_pool(VOLUMES, setting), setting, 0)
    method.validation({"net": setting.net.build()}, batch, setting)
    brain = (batch.target > -1) | (batch.weight >= 1)
    assert torch.equal(seen["weight"], torch.where(brain, 1.0, setting.outside)) and 0.1 < brain.float().mean() < 1


def test_the_critics_loss_moves_no_generator():
    setting = config(THICK, DEA_GAN)
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
    setting = config(net, method, steps=80, lr=5e-3, warmup=0, ema=0.0)
    pool = make_pool(VOLUMES, setting)
    batch = draw_batch(pool, setting, 1000)
    torch.manual_seed(0)
    untrained = method.build(setting)
    trained = fit(VOLUMES, setting, out=tmp_path / "run", device="cpu")
    with torch.no_grad():
        before, after = (float(method.validation({"net": n}, batch, setting)) for n in (untrained["net"], trained))
    assert after < 0.8 * before
    card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 8.0, "schedule": "linear", "n_train": 1}
    card |= {"prediction": "x0", "training": {}}
    save_model(trained, tmp_path / "net.safetensors", config=net, card=card)
    v = VOLUMES[0]
    system = "dea-gan" if name == "gea-gan" else name
    made = translate(v, system, model=tmp_path / "net.safetensors", device="cpu").target
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
