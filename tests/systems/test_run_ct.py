"""Systems that make a CT: chosen by the target, averaged plainly, without the noise of magnitudes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import CARD, CONFIG, net  # noqa: F401  # a fixture

from yoda_nb.errors import InputError
from yoda_nb.nets.models import save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import trajectories, translate

FEW = {"n_steps": 3, "n_ex": 3}


@pytest.fixture(scope="module")
def head():
    return phantom_case(2, target="CT", spacing=10.0, shape=(22, 26, 20))


@pytest.fixture
def model(net, tmp_path, monkeypatch):
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    for name, target in (("to-ct", "CT"), ("to-flair", "FLAIR")):
        path = tmp_path / f"{name}.safetensors"
        save_model(net, path, config=CONFIG, card=CARD | {"target": target, "spacing_mm": 10.0})


def test_the_target_that_a_volume_has_chooses_the_model(head, model):
    assert translate(head).contrast == "CT" and translate(head, contrast="FLAIR").contrast == "FLAIR"
    assert translate(replace(head, target=None)).contrast == "FLAIR"


def test_samples_of_a_ct_are_averaged_by_their_mean(head, model):
    drawn = torch.stack(list(trajectories(head, "yoda-expa", **FEW)))
    made = translate(head, "yoda-expa", **FEW).target
    free = (drawn.abs() < 1).all(0)  # of the ends of the scale, where each sample is cut
    magnitudes = (drawn + 1).square().mean(0).sqrt() - 1
    assert free.sum() > 50 and torch.allclose(made[free], drawn.mean(0)[free], atol=1e-5)
    assert not torch.allclose(made[free], magnitudes[free], atol=1e-3)
    assert (made[~head.mask] == -1).all()


def test_a_ct_has_no_rician_noise(head, model):
    with pytest.raises(InputError, match="Rician noise, which a CT does not have"):
        translate(head, "yoda-noised")
    with pytest.raises(InputError, match="Rician"):
        translate(head, "yoda-regression", noise=0.02)
