"""Training methods: players take turns and touch only their own nets; the table is whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from yoda_nb.errors import InputError
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.denoising import DIFFUSION, REGRESSION, masked_mean, middle_of, regression_loss
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import _start, _step, fit
from yoda_nb.training.method import Method, Player

NET = UNetConfig((8, 8), (False, False), groups=4, noisy=False)
CONFIG = TrainConfig(
    net=NET, method=REGRESSION, prediction="x0", steps=4, batch_size=2, window=16, views=(2,), half=False
)
VOLUMES = [phantom_case(seed, spacing=10.0, shape=(19, 22, 17)) for seed in range(2)]


def test_every_training_has_a_method_with_players_and_a_name_of_its_own():
    methods = {id(row.config.method): row.config.method for row in TRAININGS.values()}.values()
    for method in methods:
        assert isinstance(method, Method) and method.players and callable(method.validation)
        assert all(player.nets and callable(player.loss) for player in method.players)
        assert "net" in method.players[-1].nets, "the last player's loss is logged"
    names = [method.name for method in methods]
    assert all(names) and len(set(names)) == len(names), "a name on cards and in checkpoints is of one method"


def test_a_configuration_as_plain_values_names_its_method():
    assert CONFIG.document()["method"] == "regression" and json.dumps(CONFIG.document())
    other = replace(CONFIG, method=DIFFUSION)
    assert {k for k, v in CONFIG.document().items() if v != other.document()[k]} == {"method"}


def test_players_move_in_turn_and_touch_only_their_own_nets():
    """Two players on one batch: each lowers its own number, the second sees what the first has done."""
    seen = []

    def loss(name):
        def measure(nets, batch, config):
            seen.append((name, nets["other"].weight.item(), nets["net"].weight.item()))
            return nets["net"].weight.sum() * nets["other"].weight.sum()

        return measure

    def build(config):
        one, two = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(one.weight), nn.init.ones_(two.weight)
        return {"net": one, "other": two}

    method = Method("turns", (Player(("other",), loss("other")), Player(("net",), loss("net"))), build)
    config = replace(CONFIG, method=method, warmup=0, lr=0.1, lr_end=0.1)
    state, *_ = _start(config, torch.device("cpu"), None, None, "")
    _step(state["nets"], state, draw_batch(make_pool(VOLUMES, config), config, 0), config, 0)
    (first, before, own), (second, after, same) = seen
    assert (first, second) == ("other", "net") and (before, own) == (1, 1)
    assert after == pytest.approx(0.9) and same == 1  # Adam's first move is its rate
    assert state["nets"]["net"].weight.item() == pytest.approx(0.9)
    assert torch.equal(state["ema"].module.weight, state["nets"]["net"].weight)  # a copy at the start


def test_a_net_that_rests_keeps_its_weights():
    """Two nets of one player: the one that rests in a step has no gradient, and Adam leaves it alone."""

    def loss(nets, batch, config):
        return nets["net"].weight.sum() * nets["other"].weight.sum()

    def build(config):
        return {name: nn.Linear(1, 1, bias=False) for name in ("net", "other")}

    method = Method(
        "rests",
        (Player(("net", "other"), loss),),
        build,
        resting=lambda config, step: ("net", "other")[step : step + 1],
    )
    config = replace(CONFIG, method=method, warmup=0, lr=0.1, lr_end=0.1)
    state, *_ = _start(config, torch.device("cpu"), None, None, "")
    pool, values = make_pool(VOLUMES, config), []
    for step in range(3):
        values.append([state["nets"][name].weight.item() for name in ("net", "other")])
        _step(state["nets"], state, draw_batch(pool, config, step), config, step)
    assert values[0][0] == values[1][0] and values[0][1] != values[1][1]
    assert values[1][0] != values[2][0] and values[1][1] == values[2][1]
    assert all(
        state["nets"][name].weight.item() != value for name, value in zip(("net", "other"), values[2], strict=True)
    )


def test_regression_is_the_masked_mean_square_of_sources_alone():
    batch = draw_batch(make_pool(VOLUMES, CONFIG), CONFIG, 0)

    class FirstSource(nn.Module):
        def forward(self, slabs, times):
            assert not slabs[:, :1].any()  # nothing of the target
            return slabs[:, 1:2]

    found = regression_loss({"net": FirstSource()}, batch, CONFIG)
    by_hand = (batch.weight * (batch.source[:, :1] - batch.target).square()).sum() / batch.weight.sum()
    assert float(found) == pytest.approx(float(by_hand), rel=1e-5)


def test_masked_mean_and_middle():
    values = torch.arange(12.0).view(1, 3, 2, 2)
    weight = torch.tensor([[1.0, 0], [0, 1]]).view(1, 1, 2, 2)
    assert float(masked_mean(values, weight)) == pytest.approx(values[:, :, [0, 1], [0, 1]].mean())
    assert torch.equal(middle_of(values), values[:, 1:2])


def test_a_one_shot_net_learns_and_resumes(tmp_path):
    config = replace(CONFIG, steps=40, batch_size=4, lr=3e-3, warmup=2, ema=0.9)
    losses = []
    whole = fit(VOLUMES, config, checkpoint_every=10, on_log=lambda entry: losses.append(entry["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    fit(VOLUMES, config, out=tmp_path, checkpoint_every=10, stop_after=20)
    again = fit(VOLUMES, config, out=tmp_path, checkpoint_every=10)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_unpaired_training_needs_two_subjects():
    with pytest.raises(InputError, match="at least two volumes"):
        make_pool(VOLUMES[:1], replace(CONFIG, unpaired=True))
