"""UNIT-DDPM: noise of the sources, both players' losses, and sampling."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import VOLUMES, random, saved, shaken
from torch import nn

from yoda_nb.diffusion.schedules import schedule
from yoda_nb.systems.papers import SYSTEMS, TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_papers.syndiff.cyclegan import background, cycle_loss, estimates
from yoda_papers.syndiff.unit_ddpm import NoisedSources


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
    model = saved(net, tmp_path, config.net, schedule="cosine", n_train=1000, prediction="eps")
    made, again, other = (
        translate(VOLUMES[0], "unit-ddpm", model=model, device="cpu", n_steps=3, seed=s).target for s in (0, 0, 1)
    )
    assert torch.equal(made, again) and not torch.equal(made, other) and made.isfinite().all()
    assert config.method.players[0].nets == ("to_a", "to_b") and SYSTEMS["unit-ddpm"].evaluations == 1000
