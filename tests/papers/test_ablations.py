"""The ablation models: one change each, one budget, a card for each, trained by one command."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.nets.base import config_from_dict
from yoda_nb.nets.models import read_card, shipped_file
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model, shipped_models
from yoda_nb.systems.papers import NETS
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.recipes import train_model
from yoda_papers.yoda.ablations import trainings as ablations
from yoda_papers.yoda.ablations.trainings import ABLATIONS, LOOK, model_name, train_ablations

ALL = [(name, seed) for name, row in ABLATIONS.items() for seed in row.seeds if seed not in row.planned]


@pytest.fixture(scope="module")
def small():
    return phantom_case(3, spacing=6.0, shape=(32, 32, 32))


@pytest.mark.parametrize("name, seed", ALL)
def test_every_row_has_a_card_and_was_trained_as_the_table_says(name, seed):
    card, row = read_card(shipped_file(model_name(name, seed))), ABLATIONS[name]
    told = card["training"]
    assert config_from_dict(card["net"], NETS) == row.config.net
    assert (card["schedule"], card["prediction"]) == (row.config.schedule, row.config.prediction)
    assert card["regression_only"] == row.config.regression and len(card["sha256"]) == 64
    assert (told["seed"], told["steps"], told["batch_size"]) == (seed, row.config.steps, row.config.batch_size)
    assert card["spacing_mm"] == row.spacing and ("of k-space" in told["data"]) == (row.kspace < 1)
    assert ("of opposite contrast" in told["data"]) == (row.hidden > 0)
    assert f"noise {row.sigma:g}" in told["data"] and f"--only {name}" in told["command"]


def test_rows_differ_in_one_thing_and_never_in_budget():
    base = ABLATIONS["base"]
    for name, row in ABLATIONS.items():
        changed = [k for k, v in row.config.document().items() if v != base.config.document()[k]]
        changed += [look for look in LOOK if getattr(row, look) != getattr(base, look)]
        long = name.endswith("-long") or name == "hidden"
        assert len(changed) == (name not in ("base", "base-long")) + (name == "fine-single-slice") + long, (
            name,
            changed,
        )
        assert {"steps", "batch_size", "lr"} & set(changed) == ({"batch_size"} if long else set())


def test_ablations_are_never_chosen_unless_named():
    assert not any("/" in name or name.startswith("base") for name in shipped_models())
    with pytest.raises(InputError, match="bass"):
        model_name("bass", 0)
    with pytest.raises(InputError, match="nonsense"):
        train_ablations(["nonsense"], out=None)
    with pytest.raises(InputError, match="seed 3.*single-slice"):
        train_ablations(["single-slice"], seeds=[0, 3], out=None)


def test_a_dedicated_regression_model_sees_the_last_time_only(small):
    net = MonaiUNetConfig((8, 8), (False, False), 1, 8, 8)
    config = TrainConfig(net=net, window=32, batch_size=6, regression=True)
    batch = draw_batch(make_pool([small], config), config, 0)
    assert (batch.times == config.n_train - 1).all()
    other = draw_batch(make_pool([small], config), replace(config, regression=False), 0)
    assert torch.equal(batch.source, other.source) and len(other.times.unique()) > 1


def test_a_dedicated_regression_model_refuses_to_diffuse(small, tmp_path):
    net = MonaiUNetConfig((8, 8), (False, False), 1, 8, 8)
    config = TrainConfig(net=net, window=32, steps=1, batch_size=2, regression=True)
    train_model(tmp_path / "one.safetensors", config, [small], out=tmp_path / "run", data="one phantom")
    assert load_model(tmp_path / "one.safetensors").card["regression_only"]
    assert translate(small, "yoda-regression", model=tmp_path / "one.safetensors").target.isfinite().all()
    with pytest.raises(InputError, match="regression only"):
        translate(small, "yoda-diffusion", model=tmp_path / "one.safetensors", n_steps=3)


def test_the_command_trains_and_goes_on(tmp_path, monkeypatch):
    net = MonaiUNetConfig((8, 8), (False, False), 1, 8, 8)
    config = TrainConfig(net=net, window=48, steps=2, batch_size=2, warmup=1)
    monkeypatch.setattr(ablations, "ABLATIONS", {"base": ablations.Ablation(config, seeds=(0,))})
    monkeypatch.setattr(ablations, "N_PHANTOMS", 2)
    ablations._phantoms.cache_clear()
    try:
        cards = [train_ablations(["base"], out=tmp_path / "runs", weights=tmp_path)[0] for _ in range(2)]
    finally:
        ablations._phantoms.cache_clear()
    path = tmp_path / "ablations" / "base-0.safetensors"
    assert load_model(path).config == net
    assert cards[0]["training"]["slabs_seen"] == 4
    assert cards[0]["training"]["last_log"] == cards[1]["training"]["last_log"], "the second call only resumed"
