"""Models by name: shipped ones, files of one's own, and the right one among several."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_models import CARD, CONFIG, net, saved  # noqa: F401  # two fixtures

from yoda_nb.errors import InputError
from yoda_nb.nets.models import save_model
from yoda_nb.systems.models import find_model, is_shipped, load_model, shipped_models, weights_path


def test_a_replaced_file_is_read_anew(net, saved):
    first = load_model(saved)
    save_model(net, saved, config=CONFIG, card=CARD | {"target": "T2w"})
    os.utime(saved, ns=(1, 1))
    assert load_model(saved).contrast == "T2w" and first.contrast == "FLAIR"


def test_a_missing_card_or_model_is_named(saved, tmp_path):
    saved.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"tiny.json is missing"):
        load_model(saved)
    with pytest.raises(InputError, match="none.safetensors does not exist"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="'no-such-model' is not shipped"):
        load_model("no-such-model")


def test_the_model_for_the_contrasts_of_nearest_voxel_size(net, tmp_path, monkeypatch):
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    for name, change in {
        "a1": {"spacing_mm": 1.0},
        "a3": {"spacing_mm": 3.0},
        "b": {"sources": ["FLAIR", "T1w"], "target": "T2w"},
        "a-ct": {"target": "CT", "spacing_mm": 3.0},
        "c-ct": {"sources": ["T1w"], "target": "CT"},
    }.items():
        save_model(net, tmp_path / f"{name}.safetensors", config=CONFIG, card=CARD | change)
    assert shipped_models() == ["a-ct", "a1", "a3", "b", "c-ct"]
    assert find_model(("T2w", "T1w"), "FLAIR", 1.2) == "a1"
    assert find_model(("T1w", "T2w"), None, 5.0) == "a3"
    assert find_model(("T1w", "T2w"), "CT", 1.0) == "a-ct", "asked for by name alone"
    assert find_model(("T1w", "FLAIR"), None, 1.0) == "b"
    with pytest.raises(InputError, match="T1w alone makes CT, not FLAIR: add --to CT"):
        find_model(("T1w",), None, 1.0)
    for names, target, near in (
        (("T1", "T2w"), None, "T1w"),
        (("t1w", "T2w"), None, "T1w"),
        (("T1w", "T2w"), "flair", "FLAIR"),
    ):
        with pytest.raises(InputError, match=rf"did you mean {near}\?"):
            find_model(names, target, 1.0)
    assert load_model("b").contrast == "T2w"
    with pytest.raises(InputError, match=r"translates T1w\+T2w to PDw: there is .*FLAIR\+T1w to T2w"):
        find_model(("T1w", "T2w"), "PDw", 1.0)


def test_a_single_step_rather_takes_a_model_of_regression_alone_and_several_never_do(net, tmp_path, monkeypatch):
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    for name, alone in {"a-diffusion": False, "b-regression": True}.items():
        save_model(net, tmp_path / f"{name}.safetensors", config=CONFIG, card=CARD | {"regression_only": alone})
    assert find_model(("T1w", "T2w"), "FLAIR", 3.0) == "b-regression"
    assert find_model(("T1w", "T2w"), "FLAIR", 3.0, steps=4) == "a-diffusion"


@pytest.fixture
def card_alone(net, tmp_path, monkeypatch) -> Path:
    """A package whose model "folder/lone" is a card alone."""
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    path = tmp_path / "folder" / "lone.safetensors"
    save_model(net, path, config=CONFIG, card=CARD | {"training": {"command": "yoda-nb rebuild it --only lone"}})
    path.unlink()
    return path


def test_a_model_that_is_a_card_alone_says_how_its_weights_are_made(card_alone):
    for ask in (weights_path, load_model):
        with pytest.raises(InputError, match="weights of folder/lone are not in the package") as said:
            ask("folder/lone")
        assert "make them with 'yoda-nb rebuild it --only lone'" in str(said.value)
    assert not is_shipped("folder/lone") and shipped_models() == []
    with pytest.raises(InputError, match="'folder/other' is not shipped"):
        weights_path("folder/other")


def test_a_name_with_weights_is_their_file_and_a_path_is_itself(net, saved, card_alone):
    save_model(net, card_alone, config=CONFIG, card=CARD)
    assert weights_path("folder/lone") == card_alone and load_model("folder/lone").name == "lone"
    assert weights_path(saved) == saved and weights_path("own/net.safetensors") == Path("own/net.safetensors")
