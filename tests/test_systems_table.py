"""Every row of the table of systems with its own shipped weights, in a few steps on a small cube of brain."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from yoda_nb.models import WEIGHTS, load_model
from yoda_nb.phantom import phantom_case
from yoda_nb.systems import SYSTEMS, System, translate
from yoda_nb.trainings import TRAININGS
from yoda_nb.trainings import model_name as training_name
from yoda_nb.volumes import InputError, Volume

OWN = [name for name, row in SYSTEMS.items() if row.weights]  # the others fit themselves to the contrasts
each_row = pytest.mark.parametrize("name", OWN)


@cache
def cube(sources: tuple[str, ...], target: str) -> Volume:
    """The middle of a brain at the models' spacing: small, and inside the mask nearly everywhere."""
    return phantom_case(1, spacing=3.0, shape=(24, 24, 24), sources=sources, target=target)


def subject(row: System) -> Volume:
    model = load_model(row.weights)
    return cube(model.sources, model.contrast)


def few(row: System) -> dict:
    """At most three steps of one trajectory."""
    return {"n_steps": min(3, row.n_steps), "n_ex": 1}


@each_row
def test_a_row_makes_its_contrast_from_its_own_weights(name):
    row = SYSTEMS[name]
    v = subject(row)
    before = [t.clone() for t in (v.source, v.target, v.mask)]
    made = translate(v, name, device="cpu", **few(row))
    assert made.target.shape == v.mask.shape and made.contrast == load_model(row.weights).contrast
    assert torch.isfinite(made.target).all() and made.target.abs().max() <= 1
    assert (made.target[~v.mask] == -1).all() and made.target[v.mask].std() > 0.01
    assert torch.equal(made.target, translate(v, name, device="cpu", **few(row)).target)
    assert all(torch.equal(a, b) for a, b in zip(before, (v.source, v.target, v.mask), strict=True))


@each_row
def test_a_row_takes_more_contrasts_than_it_needs_and_says_which_it_lacks(name):
    row = SYSTEMS[name]
    model = load_model(row.weights)
    v, more = subject(row), cube(("PDw", *reversed(model.sources)), model.contrast)
    assert torch.equal(more.source[1:], v.source.flip(0))
    made, same = (translate(x, name, device="cpu", **few(row)).target for x in (v, more))
    assert torch.equal(made, same)
    with pytest.raises(InputError, match="give those contrasts"):
        translate(cube(("PDw",), model.contrast), name, device="cpu", **few(row))


@each_row
def test_a_row_names_its_paper_and_a_training_that_makes_its_weights_again(name):
    row = SYSTEMS[name]
    assert row.name == name and row.summary and row.reference and row.seed in ("000", "001", "002", "003", "004")
    assert row.weights in {training_name(training) for training in TRAININGS}


@pytest.mark.parametrize("name", TRAININGS)
def test_shipped_weights_are_what_their_row_of_trainings_makes(name):
    row, model = TRAININGS[name], load_model(training_name(name))
    assert (WEIGHTS / f"{training_name(name)}.safetensors").stat().st_size < 4e6
    assert model.config == row.config.net and model.contrast == row.target and model.sources == row.sources
    card = model.card
    assert (card["prediction"], card["schedule"], card["n_train"], card["method"]) == (
        row.config.target, row.config.schedule, row.config.n_train, row.config.method)  # fmt: skip
    assert card["training"]["steps"] == row.config.steps and card["training"]["batch_size"] == row.config.batch_size
