"""Weights on disk: what is saved comes back, and what is not a model of ours is refused (R9)."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from small_models import CARD, CONFIG, net, saved  # noqa: F401  # two fixtures

from yoda_nb.errors import InputError
from yoda_nb.nets import models
from yoda_nb.nets.base import config_from_dict, config_to_dict
from yoda_nb.nets.models import read_model, save_model
from yoda_nb.systems.papers import NETS


def rewrite(path: Path, state: dict | None = None, **changes) -> None:
    """Change weights or card as somebody would who also updates the checksum."""
    if state is not None:
        path.write_bytes(save(state))
        changes["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_what_is_saved_comes_back_within_half_precision(net, saved):
    model = read_model(saved, NETS)
    assert (model.name, model.sources, model.contrast, model.spacing) == ("tiny", ("T1w", "T2w"), "FLAIR", 3.0)
    assert model.config == CONFIG and model.card["training"] == {"seed": 0}
    assert model.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert not model.net.training and not any(p.requires_grad for p in model.net.parameters())
    for name, value in net.state_dict().items():
        again = model.net.state_dict()[name]
        assert again.dtype == torch.float32
        assert torch.allclose(again, value, rtol=2**-11, atol=2**-24), name
    x, times = torch.randn(2, CONFIG.in_channels, 8, 8), torch.tensor([3, 900])
    assert torch.allclose(net(x, times), model.net(x, times), atol=1e-2)


def test_eight_bits_halve_the_file_and_keep_each_weight_within_half_a_level(net, saved, tmp_path):
    small = tmp_path / "small.safetensors"
    save_model(net, small, config=CONFIG, card=CARD, bits=8)
    again = read_model(small, NETS).net.state_dict()
    for name, value in net.state_dict().items():
        if value.ndim < 2:
            assert torch.allclose(again[name], value, rtol=2**-11, atol=2**-24), name
            continue
        half_level = value.abs().flatten(1).amax(1) / 254
        worst = (again[name] - value).abs().flatten(1).amax(1)
        assert (worst <= 1.01 * half_level + 2**-11 * value.abs().flatten(1).amax(1)).all(), name
    assert small.stat().st_size < 0.7 * saved.stat().st_size


def test_a_saved_model_saves_to_the_same_bytes(saved, tmp_path):
    model = read_model(saved, NETS)
    save_model(model.net, tmp_path / "again.safetensors", config=model.config, card=model.card)
    assert (tmp_path / "again.safetensors").read_bytes() == saved.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "again.json",
        "again.safetensors",
        "tiny.json",
        "tiny.safetensors",
    ]


def test_config_survives_json():
    assert config_from_dict(json.loads(json.dumps(config_to_dict(CONFIG))), NETS) == CONFIG


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:7],
        lambda b: b[: len(b) // 2],
        lambda b: b[:-1],
        lambda b: b"\xff" * 8 + b[8:],
        lambda b: b[: len(b) // 2] + bytes([b[len(b) // 2] ^ 1]) + b[len(b) // 2 + 1 :],
    ],
    ids=["empty", "7 bytes", "half", "one byte short", "header 0xFF", "bit flip"],
)
def test_damaged_weights_are_refused_by_name(saved, damage):
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(InputError, match=r"tiny.safetensors does not match the checksum"):
        read_model(saved, NETS)
    # nor does a checksum that was fitted to the damage help, where the format can tell
    if len(saved.read_bytes()) < 1000 or saved.read_bytes()[:8] == b"\xff" * 8:
        rewrite(saved, sha256=hashlib.sha256(saved.read_bytes()).hexdigest())
        with pytest.raises(InputError, match=r"tiny.safetensors cannot be read as a model"):
            read_model(saved, NETS)


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.pt", "bomb.safetensors"])
def test_a_pickle_bomb_is_never_opened(tmp_path, name):
    blown, path = tmp_path / "blown", tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(blown)))
    card = CARD | {"net": config_to_dict(CONFIG), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=name):
        read_model(path, NETS)
    assert not blown.exists()


def test_keys_that_do_not_fit_are_listed(saved):
    state = load_file(saved)
    first, second, *_ = sorted(state)
    state["surplus"] = state.pop(first)
    state[second] = torch.zeros(3, 3, 3)
    rewrite(saved, state)
    with pytest.raises(InputError, match="does not fit its net") as error:
        read_model(saved, NETS)
    assert all(key in str(error.value) for key in ("surplus", first, second))


def test_another_architecture_is_refused(saved):
    rewrite(saved, net=config_to_dict(replace(CONFIG, channels=(8, 32))))
    with pytest.raises(InputError, match=r"tiny.safetensors does not fit its net \(of another shape: "):
        read_model(saved, NETS)


@pytest.mark.parametrize(
    "described",
    [
        {"colour": 1},
        {"channels": [7, 9]},
        {"channels": "many"},
        [1, 2],
        None,
        {"channels": [8, 16], "attention": [True]},
    ],
)
def test_a_card_whose_net_cannot_be_built_is_refused(saved, described):
    rewrite(saved, net=described)
    with pytest.raises(InputError, match=r"tiny.safetensors cannot be read as a model"):
        read_model(saved, NETS)


@pytest.mark.parametrize(
    "field", ["sources", "target", "spacing_mm", "schedule", "n_train", "prediction", "net", "sha256"]
)
def test_a_card_without_what_a_run_needs_is_refused(saved, field):
    card = json.loads(saved.with_suffix(".json").read_text())
    del card[field]
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=rf"tiny.json.*{field}"):
        read_model(saved, NETS)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null"])
def test_a_garbled_card_is_refused(saved, text):
    saved.with_suffix(".json").write_bytes(text)
    with pytest.raises(InputError, match=r"tiny.json"):
        read_model(saved, NETS)


def test_a_model_is_not_saved_with_an_incomplete_card(net, tmp_path):
    with pytest.raises(InputError, match="prediction"):
        save_model(
            net, tmp_path / "x.safetensors", config=CONFIG, card={k: v for k, v in CARD.items() if k != "prediction"}
        )
    assert not list(tmp_path.iterdir())


def test_cards_without_weights_become_lines_of_one_table(net, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "FOLDERS", [tmp_path])
    (tmp_path / "lost").mkdir()
    for name in ("here", "lost/one", "lost/two"):
        models.save_model(net, tmp_path / f"{name}.safetensors", config=CONFIG, card=CARD)
    before = {name: models.read_card(tmp_path / f"{name}.safetensors") for name in ("here", "lost/one", "lost/two")}
    for name in ("lost/one", "lost/two"):
        (tmp_path / f"{name}.safetensors").unlink()
    assert models.gather_cards(tmp_path) == ["lost/one", "lost/two"] and models.gather_cards(tmp_path) == []
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == [models.CARDS, "here.json", "here.safetensors"]
    assert {name: models.read_card(models.shipped_file(name)) for name in before} == before
    assert models.has_card(models.shipped_file("lost/one")) and not models.has_card(models.shipped_file("lost/three"))
    with pytest.raises(InputError, match="three.json is missing"):
        models.read_card(models.shipped_file("lost/three"))
