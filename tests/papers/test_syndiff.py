"""Adversarial diffusion and its unpaired module (SynDiff) against closed forms and small computations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from seeded import normal
from torch import nn

from yoda_nb.diffusion.process import vp_step
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_papers.syndiff import TRAININGS as ROWS
from yoda_papers.syndiff.cyclegan import background, cycle_loss, weight
from yoda_papers.syndiff.method import SYNDIFF as METHOD
from yoda_papers.syndiff.method import diffuse, projected
from yoda_papers.syndiff.nets import BoundedUNetConfig, HalfUNetConfig, ResNetConfig


@pytest.fixture(scope="module")
def volumes():
    return [phantom_case(seed, spacing=6.0, shape=(32, 32, 32)) for seed in range(4)]


def small(name: str):
    return replace(TRAININGS[name].config, batch_size=4, window=16, steps=10)


@pytest.mark.parametrize("t", range(4))
def test_the_projector_is_the_posterior_step(t):
    path = schedule("syndiff", 4)
    x, x0, eps = (normal(3, 1, 4, 4, seed=s) for s in range(3))
    step = projected(x, x0, torch.full((3,), t), eps, path)
    assert torch.allclose(step, vp_step(x, x0, t, t - 1, eps, schedule=path, sigma="posterior"))
    if t == 0:
        assert torch.allclose(step, x0)


@pytest.mark.parametrize("t", [1, 2, 3])
def test_the_projector_follows_bayes(t):
    path = schedule("syndiff", 4)
    alpha, prior = path.at(t) / path.at(t - 1), 1 - path.at(t - 1)  # one step; variance of x_s given x0
    precision = 1 / prior + alpha / (1 - alpha)
    times, one = torch.tensor([t]), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    from_x0, from_x, spread = (
        projected(*(one * w for w in which[:2]), times, one * which[2], path).item()
        for which in ((0, 1, 0), (1, 0, 0), (0, 0, 1))
    )
    assert spread**2 == pytest.approx(1 / precision)
    assert from_x0 == pytest.approx(path.at(t - 1) ** 0.5 / prior / precision)
    assert from_x == pytest.approx(alpha**0.5 / (1 - alpha) / precision)


def test_steps_back_have_the_joint_law_of_steps_forward():
    path, n = schedule("syndiff", 4), 200_000
    x0 = torch.where(normal(n) > 0.3, 1.0, -1.0).double()  # a law that no single Gaussian is
    ab_s, ab_t = path.at(1), path.at(2)
    x_s = ab_s**0.5 * x0 + (1 - ab_s) ** 0.5 * normal(n, seed=1)
    x_t = (ab_t / ab_s) ** 0.5 * x_s + (1 - ab_t / ab_s) ** 0.5 * normal(n, seed=2)
    shaped = (x.view(-1, 1, 1, 1) for x in (x_t, x0))
    back = projected(*shaped, torch.full((n,), 2), normal(n, 1, 1, 1, seed=3), path).flatten()
    assert torch.allclose(torch.cov(torch.stack([x_s, x_t])), torch.cov(torch.stack([back, x_t])), atol=0.01)
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert back.quantile(q).item() == pytest.approx(x_s.quantile(q).item(), abs=0.02)


def test_sources_and_targets_of_an_unpaired_batch_are_of_different_subjects(volumes):
    marked = [
        replace(v, source=torch.full_like(v.source, -0.9 + 0.2 * k), target=torch.full_like(v.target, -0.9 + 0.2 * k))
        for k, v in enumerate(volumes)
    ]
    config = replace(small("syndiff"), augment=0.0)
    pool = make_pool(marked, config)
    for step in range(20):
        batch = draw_batch(pool, config, step)
        a, b = (((x[:, 0, 8, 8] + 0.9) / 0.2).round().long() for x in (batch.source, batch.target))
        assert (a % 2 == 0).all() and (b % 2 == 1).all()


def test_generators_that_change_nothing_have_no_cycle_loss(volumes):
    config = small("cyclegan")
    config = replace(config, net=replace(config.net, n_sources=1), augment=0.0)
    pool = make_pool([replace(v, source=v.source[:1]) for v in volumes], config)
    batch = draw_batch(pool, config, 0)
    batch = replace(
        batch, source=background(batch.source, batch.source_weight), target=background(batch.target, batch.weight)
    )

    class Same(nn.Module):
        def forward(self, slabs):
            return slabs[:, 1:]

    class Darker(Same):
        def forward(self, slabs):
            return slabs[:, 1:] - 0.5

    nets = {"to_a": Same(), "net": Same()}
    y_a, y_b = batch.target, batch.source
    assert cycle_loss(nets, batch, y_a, y_b) == 0
    inside = sum((w >= 1).sum() / w.sum() for w in (batch.weight, batch.source_weight))
    found = cycle_loss({"to_a": Darker(), "net": Same()}, batch, y_a, y_b)
    assert found.item() == pytest.approx(0.5 * ((batch.source_weight >= 1).sum() / batch.source_weight.sum()).item())
    assert found < inside


def test_nets_have_their_shapes_and_see_what_they_should():
    slabs, times = normal(2, 3, 16, 24).float(), torch.tensor([0.0, 3.0])
    other = torch.cat([slabs[:, :1], -slabs[:, 1:]], 1)
    net, blind = HalfUNetConfig().build(), HalfUNetConfig(conditional=False).build()
    for values in net.parameters():  # residual branches start at zero
        nn.init.normal_(values, std=0.1)
    assert net(slabs, times).shape == (2, 1, 16, 24)
    assert not torch.equal(net(slabs, times), net(other, times))
    assert torch.equal(blind(slabs, times), blind(other, times))
    latent = normal(2, 32).float()
    assert not torch.equal(net(slabs, times), net(slabs, times, latent=latent))
    one_shot = ResNetConfig(out_slices=2).build()
    moved = torch.cat([slabs[:, :1] + 1, slabs[:, 1:]], 1)
    assert one_shot(slabs, times).shape == (2, 2, 16, 24) and torch.equal(one_shot(slabs), one_shot(moved, times))
    assert one_shot(slabs).abs().max() < 1
    critic = Discriminator(3, (8, 16, 24), time=True)
    assert critic(slabs, times).shape == (2, 1, 1, 1)
    assert not torch.equal(critic(slabs, times), critic(slabs, 1 - times))
    assert Discriminator(3)(slabs).shape == (2, 1, 2, 3)


def test_critics_and_generators_see_the_same_steps(volumes):
    config = small("syndiff")
    batch = draw_batch(make_pool(volumes, config), config, 0)
    nets = METHOD.build(config)
    a, b = (diffuse(nets, batch, config, "b", batch.source) for _ in range(2))
    assert torch.equal(a.fake, b.fake) and torch.equal(a.x_t, b.x_t) and not torch.equal(a.fake, a.real)
    first = batch.times == 0  # the last step of sampling: x_{t-k} is the image itself
    assert torch.allclose(a.fake[first], a.made[first]) and torch.allclose(a.real[first], a.x0[first])
    assert (a.made[(batch.weight < 1).expand_as(a.made)] == -1).all()


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_player_learns(name, volumes):
    config = small(name)
    method = config.method
    batch = draw_batch(make_pool(volumes, config), config, 0)
    nets = method.build(config)
    quiet = not weight(config, "adversarial", "theta")
    for player in method.players:
        loss = player.loss(nets, batch, config)
        assert loss.isfinite()
        weights = [p for k in player.nets for p in nets[k].parameters()]
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        learns = any(g is not None and g.abs().sum() > 0 for g in found)
        assert learns != (quiet and "net" not in player.nets)
    with torch.no_grad():
        assert method.validation(nets, batch, config) > 0


def test_without_adversaries_a_generator_lowers_the_absolute_error_alone(volumes):
    config = small("projector-l1")
    batch = draw_batch(make_pool(volumes, config), config, 0)
    nets = config.method.build(config)
    step = diffuse(nets, batch, config, "b", batch.source)
    error = (batch.weight * (step.made - step.x0).abs()).sum() / batch.weight.sum()
    assert config.method.players[-1].loss(nets, batch, config).item() == pytest.approx(0.5 * error.item())


def test_a_bounded_generator_is_the_tanh_of_the_other():
    slabs, times = normal(2, 3, 16, 24).float() * 3, torch.tensor([0.0, 3.0])
    torch.manual_seed(0)
    net, bounded = HalfUNetConfig().build(), BoundedUNetConfig().build()
    for values in net.parameters():
        nn.init.normal_(values, std=0.1)
    bounded.load_state_dict(net.state_dict())
    assert torch.allclose(bounded(slabs, times), net(slabs, times).tanh())


def test_each_module_has_weights_of_its_own(volumes):
    config = small("syndiff")
    batch = draw_batch(make_pool(volumes, config), config, 0)
    nets = METHOD.build(config)

    def losses(**options: float) -> tuple[float, float]:
        changed = replace(config, options=tuple(options.items()))
        return tuple(player.loss(nets, batch, changed).item() for player in METHOD.players)

    names = [f"{name}_{module}" for name in ("cycle", "adversarial") for module in ("phi", "theta")]
    silent = dict.fromkeys(names, 0.0)
    each = {name: losses(**silent | {name: 1.0}) for name in names}
    assert losses(**silent) == (0.0, 0.0)
    assert all(each[name][1] > 0 for name in names) and len({each[name] for name in names}) == 4
    assert sum(each[name][1] for name in names) == pytest.approx(losses(cycle=1.0)[1], rel=1e-5)
    critics = losses(adversarial=2.0)[0]  # eq. 24 weighs critics as eq. 23 their generators
    assert 2 * (each["adversarial_phi"][0] + each["adversarial_theta"][0]) == pytest.approx(critics, rel=1e-5)
    assert losses(eta_phi=0.0)[0] != losses(eta_theta=0.0)[0] != losses()[0]


def test_modules_rest_when_tables_ix_and_x_say():
    """Of each row, the shares of its steps in which a module moves."""

    def moving(name: str) -> tuple[float, float]:
        config = ROWS[name].config
        resting = [set(METHOD.resting(config, step)) for step in range(config.steps)]
        both = ({"net", "net_a", "steps_a", "steps_b"}, {"to_a", "to_b", "critic_a", "critic_b"})
        assert all(not rest or rest in both for rest in resting)
        theta, phi = (sum(rest != nets for rest in resting) / config.steps for nets in both)
        return theta, phi

    assert moving("syndiff") == (1, 1)
    assert [moving(f"syndiff-frozen-{share}") for share in (0.1, 0.2, 0.5)] == [(1, 0.1), (1, 0.2), (1, 0.5)]
    assert moving("syndiff-pretrained-frozen") == (0.5, 0.5) and moving("syndiff-pretrained-trained") == (0.5, 1)
    assert ROWS["syndiff-pretrained-frozen"].config.steps == 2 * ROWS["syndiff"].config.steps


def test_weights_are_varied_around_the_papers():
    """Table VIII: half and twice 0.5 of the cycle and 1 of the adversarial terms, each module by itself."""
    for term, chosen in (("cycle", 0.5), ("adversarial", 1.0)):
        for module, other in (("phi", "theta"), ("theta", "phi")):
            for times in (0.5, 2):
                config = ROWS[f"syndiff-{term}-{module}-{times:g}"].config
                assert weight(config, term, module) == times * chosen and weight(config, term, other) == chosen
