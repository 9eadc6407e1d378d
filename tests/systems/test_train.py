"""Training from Python: configurations, what is refused before anything slow, and a run that goes on."""

from __future__ import annotations

import pytest

import yoda_nb
from yoda_nb.errors import InputError
from yoda_nb.systems import training_data
from yoda_nb.systems.models import load_model
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.train import training_config
from yoda_nb.training.recipes import training_phantoms
from yoda_nb.yoda import PRESETS


def test_a_configuration_is_a_presets_or_a_rows_with_fields_changed():
    assert training_config(3, preset="micro", steps=7).net.n_sources == 3
    assert training_config(2, preset="micro").net == PRESETS["micro"] and training_config(2, steps=7).steps == 7
    assert training_config(2, row="adm") == TRAININGS["adm"].config
    assert training_config(2, row="syndiff", seed=4).seed == 4


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"preset": "huge"}, "'huge' is unknown: choose one of micro, tiny"),
        ({"row": "magic"}, "no training 'magic'; there are yoda, aldm"),
        ({"row": "syndif"}, "no training 'syndif'; there are syndiff, "),
        ({"stepps": 3}, "no setting stepps: choose among .*steps"),
        ({"method": "bridge"}, "no setting method: choose among "),
    ],
)
def test_what_no_training_has_is_refused(given, says, tmp_path):
    with pytest.raises(InputError, match=says):
        training_config(2, **given)
    with pytest.raises(InputError, match=says):
        yoda_nb.train(tmp_path / "net.safetensors", out=tmp_path, **given)


def test_what_cannot_be_written_or_begun_from_is_refused_at_once(tmp_path):
    with pytest.raises(InputError, match="must end in .safetensors"):
        yoda_nb.train(tmp_path / "net.pt", out=tmp_path)
    with pytest.raises(InputError, match=r"systems/adm is .* but this training's net is .* choose its preset or row"):
        yoda_nb.train(tmp_path / "net.safetensors", out=tmp_path, preset="micro", initial="systems/adm")
    assert not list(tmp_path.iterdir())


def test_training_from_python_writes_a_model_and_goes_on_from_another(tmp_path, monkeypatch):
    monkeypatch.setattr(training_data, "VALIDATION", 1)
    monkeypatch.setattr(
        training_data, "training_phantoms", lambda n, **make: training_phantoms(n, **make | {"shape": (24, 24, 24)})
    )
    how = {"preset": "micro", "phantoms": 1, "label_maps": False, "spacing": 8.0, "batch_size": 1, "window": 16}
    card = yoda_nb.train(tmp_path / "a.safetensors", out=tmp_path / "a", steps=1, command="mine", **how)
    first = load_model(tmp_path / "a.safetensors")
    assert first.config == PRESETS["micro"] and card["training"]["command"] == "mine"
    still = {"steps": 1, "lr": 0.0, "lr_end": 0.0, "initial": tmp_path / "a.safetensors"}
    yoda_nb.train(tmp_path / "b.safetensors", out=tmp_path / "b", **how, **still)
    assert load_model(tmp_path / "b.safetensors").sha256 == first.sha256
