"""The self-consistent recursive bridge: its path, its posterior, its fixed point, its method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_models import CARD
from small_training import one_shot
from torch import nn

from yoda_nb.diffusion.bridges import bridge_step, posterior_std
from yoda_nb.nets.models import save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import get_system
from yoda_nb.training.batches import Batch
from yoda_nb.training.loop import fit
from yoda_papers.selfrdb.method import ADVERSARIAL, SELFRDB, build, critic_loss, earlier, estimate, net_loss, noisy
from yoda_papers.selfrdb.path import soft_prior
from yoda_papers.selfrdb.recursive import SelfConsistent

NET = UNetConfig((8, 16), (False, True), heads=2, groups=4, embedding=16, recursive=True)
CONFIG = replace(one_shot(NET, SELFRDB), schedule="selfrdb", n_train=10, options=(("prior", 1),), batch_size=4)


# --- the path


def test_the_path_is_that_of_ten_steps_worked_out_by_hand():
    """beta = 0.1 .. in squares of evenly spaced roots up to 0.3 at t = 10, mirrored after t = 5."""
    root = [0.1**0.5 + k * (0.3**0.5 - 0.1**0.5) / 10 for k in range(5)]
    beta = [0, *(r**2 for r in root), *(r**2 for r in root[3::-1]), 0]  # at t = 0 .. 10
    s2, r2 = np.cumsum(beta), np.cumsum(beta)[::-1]
    path = soft_prior(10)
    a, b, std = (w.numpy() for w in (path.a, path.b, path.std))
    assert np.allclose(a, (r2 / (s2 + r2))[1:]) and np.allclose(b, (s2 / (s2 + r2))[1:])
    assert np.allclose(std, (sum(beta) * np.sqrt(s2) / (s2 + r2))[1:])


@pytest.mark.parametrize("n_train", [2, 3, 4, 10, 11, 100])
def test_the_prior_is_soft(n_train):
    """From the target to the source, with ever more noise, and noise left at the source."""
    path = soft_prior(n_train)
    a, b, std = path.a, path.b, path.std
    assert len(a) == n_train and torch.allclose(a + b, torch.ones_like(a))
    assert (a.diff() < 0).all() and (std.diff() > 0).all()
    assert a[-1] == 0 and b[-1] == 1 and std[-1] > 0.3
    assert torch.allclose(soft_prior(n_train, gamma=2.0).std, 2 * std)


def test_a_chain_of_posterior_draws_keeps_the_marginals():
    """With the true x0 in every step, x_t stays N(a x0 + b y, std^2) down to the target."""
    path, n = soft_prior(10), 40_000
    generator = torch.Generator().manual_seed(0)
    x0, y = torch.full((n,), 0.7, dtype=torch.float64), torch.full((n,), -0.4, dtype=torch.float64)
    x = path.b[-1] * y + path.std[-1] * torch.randn(n, generator=generator, dtype=torch.float64)
    for t in range(9, 0, -1):
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        x = bridge_step(x, x0, t, t - 1, noise, y=y, bridge=path)
        a, b, std = path.at(t - 1)
        assert x.mean() == pytest.approx(a * 0.7 - b * 0.4, abs=5 * std / n**0.5)
        assert x.std() == pytest.approx(std, rel=0.02)


def test_the_posterior_is_that_of_two_gaussians():
    """Bayes on q(x_s) and the forward kernel q(x_t | x_s), by their precisions."""
    path = soft_prior(10)
    x0, y, x = 0.3, -0.2, 0.9
    for t, s in ((9, 8), (5, 4), (7, 3), (1, 0)):
        (a_t, b_t, std_t), (a_s, b_s, std_s) = path.at(t), path.at(s)
        scale = a_t / a_s
        kernel = std_t**2 - (scale * std_s) ** 2
        precision = 1 / std_s**2 + scale**2 / kernel
        prior, seen = a_s * x0 + b_s * y, x - (b_t - scale * b_s) * y  # x_t - what the kernel adds
        mean = (prior / std_s**2 + scale * seen / kernel) / precision
        tensors = [torch.tensor(v, dtype=torch.float64) for v in (x, x0)]
        still = bridge_step(*tensors, t, s, torch.tensor(0.0), y=torch.tensor(y, dtype=torch.float64), bridge=path)
        assert float(still) == pytest.approx(mean, rel=1e-6)
        assert posterior_std(path, t, s) == pytest.approx(precision**-0.5, rel=1e-9)


def test_a_batch_of_times_steps_as_one_time_does():
    path, generator = soft_prior(10), torch.Generator().manual_seed(0)
    x, x0, y, eps = (torch.randn(10, 1, 3, 2, generator=generator, dtype=torch.float64) for _ in range(4))
    times = torch.arange(10)
    found = earlier(x, x0, y, eps, times, path)
    for t in range(1, 10):
        assert torch.allclose(found[t], bridge_step(x[t], x0[t], t, t - 1, eps[t], y=y[t], bridge=path))
    assert torch.equal(found[0], x0[0]), "before the first time lies the target"
    for t in range(10):
        a, b, std = path.at(t)
        assert torch.allclose(noisy(x0, y, eps, times, path)[t], a * x0[t] + b * y[t] + std * eps[t])


# --- the recursion


class Contraction(nn.Module):
    """previous -> rate * previous + slabs' first channel: the fixed point is that over 1 - rate."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.seen = rate, []

    def forward(self, slabs, times, previous=None):
        self.seen.append(len(slabs))
        return slabs[:, :1] + (0 if previous is None else self.rate * previous)


def test_the_recursion_ends_in_the_fixed_point():
    slabs = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
    net = SelfConsistent(Contraction(0.5), recursions=60, threshold=1e-6)
    found = net(slabs, torch.zeros(2))
    assert torch.allclose(found, 2 * slabs[:, :1], atol=1e-5)
    assert (net.counts < 30).all(), "it stops where it agrees with itself"


def test_the_recursion_is_at_most_so_long_and_at_least_one():
    slabs = torch.ones(3, 3, 4, 4)
    never = SelfConsistent(Contraction(2.0), recursions=4)
    assert torch.equal(never(slabs, torch.zeros(3)), torch.full((3, 1, 4, 4), 15.0))
    assert never.net.seen == [3, 3, 3, 3] and never.counts.tolist() == [4, 4, 4]
    once = SelfConsistent(Contraction(2.0), recursions=1)
    assert torch.equal(once(slabs, torch.zeros(3)), slabs[:, :1])


def test_slices_stop_on_their_own():
    """Each slice as if it were alone, and no net runs on slices that are done."""
    slabs = torch.ones(3, 3, 4, 4) * torch.tensor([1.0, 1e-3, 0.1]).view(3, 1, 1, 1)
    net = SelfConsistent(Contraction(0.5), recursions=20)
    together = net(slabs, torch.zeros(3))
    assert net.counts.tolist() == [8, 1, 5] and net.net.seen[:3] == [3, 2, 2]
    alone = torch.cat([SelfConsistent(Contraction(0.5), recursions=20)(s[None], torch.zeros(1)) for s in slabs])
    assert torch.equal(together, alone)


# --- the method


def batch(n: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(n, c, 16, 16, generator=generator) for c in (1, 2, 1)]
    weight = torch.ones(n, 1, 16, 16)
    times, fractions = torch.randint(0, 10, (n,), generator=generator), torch.rand(n, generator=generator)
    return Batch(draw[0], draw[1], weight, times, draw[2], fractions, weight)


class Knows(nn.Module):
    """A net that has been told x0."""

    def __init__(self, x0):
        super().__init__()
        self.x0, self.previous = x0, []

    def forward(self, slabs, times, previous=None):
        self.previous.append(previous)
        return self.x0[: len(slabs)]


def test_who_knows_x0_has_no_distance_and_fools_half():
    """A critic that cannot tell says 0 to all: both losses are then known in closed form."""
    b = batch()
    nets = {"net": Knows(b.target), "discriminator": lambda pair, times: 0 * pair[:, :1]}
    assert float(net_loss(nets, b, CONFIG)) == pytest.approx(ADVERSARIAL * np.log(2), rel=1e-5)
    assert float(critic_loss(nets, b, CONFIG)) == pytest.approx(2 * np.log(2), rel=1e-5)


def test_pairs_share_x_t_and_differ_in_x0_only():
    b, seen = batch(), []
    nets = {"net": Knows(b.target + 1), "discriminator": lambda pair, times: seen.append(pair) or pair[:, :1]}
    critic_loss(nets, b, CONFIG)
    (real, fake), path = seen, soft_prior(10)
    assert torch.equal(real[:, 1], fake[:, 1])
    a = torch.cat([path.a, torch.ones(1)]).float()
    std = torch.cat([path.std, torch.zeros(1)]).float()
    t, s = b.times, b.times - 1
    gain = a[s] - a[t] / a[s] * (std[s] / std[t]).square() * a[t]  # d x_s / d x0 of the posterior's mean
    assert torch.allclose((fake - real)[:, 0], gain.view(-1, 1, 1).expand(-1, 16, 16), atol=1e-5)


def test_a_share_of_slices_is_given_an_estimate():
    b = batch(64)
    net = Knows(b.target)
    with torch.no_grad():
        estimate({"net": net}, b.target, b, CONFIG)
    shown = net.previous[-1].flatten(1).any(1)
    assert torch.equal(shown, b.fractions < 0.5) and 10 < shown.sum() < 54
    never = replace(CONFIG, options=(("recursion", 0.0),))
    with torch.no_grad():
        estimate({"net": net}, b.target, b, never)
    assert not net.previous[-1].any()


def test_the_critic_lowers_its_loss_and_the_net_gets_a_gradient():
    torch.manual_seed(0)
    nets, b = build(CONFIG), batch()
    loss = net_loss(nets, b, CONFIG)
    loss.backward()
    assert all(p.grad is not None for p in nets["net"].out.parameters())
    optimiser = torch.optim.Adam(nets["discriminator"].parameters(), lr=1e-2)
    before = critic_loss(nets, b, CONFIG).item()
    for _ in range(5):
        optimiser.zero_grad()
        critic_loss(nets, b, CONFIG).backward()
        optimiser.step()
    assert critic_loss(nets, b, CONFIG).item() < before
    assert SELFRDB.validation(nets, b, CONFIG).item() > 0


# --- the system


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    v = phantom_case(0, spacing=10.0, shape=(19, 22, 17))
    net = fit([v, v], replace(CONFIG, margin_mm=(10, 10, 10)), device="cpu")
    with torch.no_grad():
        net.out[-1].weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("model") / "selfrdb.safetensors"
    about = {"spacing_mm": 10.0, "schedule": "selfrdb", "n_train": 10, "prediction": "x0", "options": {"prior": 1}}
    save_model(net, path, config=NET, card=CARD | about)
    return str(path)


def test_the_row_runs_and_depends_on_seed_and_prior(model):
    v = phantom_case(1, spacing=10.0, shape=(19, 22, 17))
    made, again, other = (translate(v, "selfrdb", model=model, seed=s).target for s in (0, 0, 1))
    assert torch.equal(made, again) and not torch.equal(made, other)
    assert (made[~v.mask] == -1).all() and torch.isfinite(made).all()
    started = []
    how = {"model": model, "recursions": 1, "sigma": "zero", "n_steps": 2}
    translate(v, "selfrdb", on_step=lambda i, pair, x, x0: started.append(pair), **how)
    assert started == [(9, 4), (4, -1)]
    assert get_system("selfrdb").evaluations == 50
