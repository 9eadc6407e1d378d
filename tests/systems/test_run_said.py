"""What can be said of a run and what is refused, in words that help."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import CONFIG

from yoda_nb.errors import InputError
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import Run, prepare, subject_seed, trajectories, translate
from yoda_nb.systems.table import get_system

CASE = phantom_case(0, spacing=10.0, shape=(19, 22, 17))


def test_unknown_names_and_values_are_refused_with_the_choice():
    with pytest.raises(InputError, match=r"'yoda' is unknown: choose one of yoda-regression"):
        get_system("yoda")
    with pytest.raises(InputError, match=r"no setting nex, steps: choose among .*n_ex"):
        get_system("yoda-expa", nex=3, steps=1)
    for settings, said in (
        ({"sigma": "big"}, r"sigma must be posterior \| fresh \| zero, got big"),
        ({"combine": "median"}, r"takes combine rms \| mean"),
        ({"times": "cubic"}, r"times even \| quadratic, got rms and cubic"),
        ({"n_ex": 0}, "takes n_ex of at least 1"),
        ({"noise": -0.1}, "noise of at least 0"),
        ({"noise": float("nan")}, "noise of at least 0"),
    ):
        with pytest.raises(InputError, match=said):
            get_system("yoda-expa", **settings)


@pytest.mark.parametrize("settings", [{"n_steps": 0}, {"n_steps": 1001}, {"n_steps": 300, "jump_to": 250}])
def test_steps_that_do_not_fit_are_refused(settings, model):
    with pytest.raises(InputError, match=r"yoda-diffusion cannot run these steps.*must lie in"):
        translate(CASE, "yoda-diffusion", model=model, **settings)


def test_unknown_settings_are_refused_with_the_list(model):
    for run in (translate, lambda *a, **k: next(trajectories(*a, **k))):
        with pytest.raises(InputError, match="yoda-regression has no setting colour, steps: choose among ") as said:
            run(CASE, "yoda-regression", model=model, colour="red", steps=3)
        assert all(name in str(said.value) for name in ("aggregate", "jump_to", "n_steps", "sigma", "views"))
    with pytest.raises(InputError, match="yoda-regression has no setting slice_size"):
        translate(CASE, "yoda-regression", model=model, slice_size=16)
    with pytest.raises(TypeError):
        translate(CASE, "yoda-regression", model)  # how to run is said by name


def test_a_run_is_what_the_keywords_say(model):
    spec = get_system("yoda-regression")
    job = prepare(CASE, spec, Run(seed=3, device="cpu", model=model, batch_size=5, half=False, margin=4))
    assert (job.spec, job.device.type, job.batch_size, job.half, job.margin) == (spec, "cpu", 5, False, 4)
    assert job.model.config == CONFIG and job.generator.initial_seed() == subject_seed(CASE.subject, 3)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"margin": -1}])
def test_no_slices_and_no_negative_margin(model, wrong):
    with pytest.raises(InputError, match="batch_size of at least 1 and a margin of at least 0"):
        translate(CASE, model=model, **wrong)


def test_a_margin_changes_an_image_little(model):
    whole, close = (translate(CASE, model=model, batch_size=2, half=False, margin=m).target for m in (None, 4))
    assert 0 < (whole - close).square().mean().sqrt() < 0.05 * whole[CASE.mask].std()


def test_contrasts_that_do_not_fit_are_refused(model):
    with pytest.raises(InputError, match=r"translates T1w\+T2w, but phantom-0 has FLAIR\+T1w"):
        translate(replace(CASE, sources=("FLAIR", "T1w")), model=model)
    with pytest.raises(InputError, match="makes FLAIR, not PDw"):
        translate(CASE, model=model, contrast="PDw")
    with pytest.raises(InputError, match="mask is empty"):
        translate(replace(CASE, mask=torch.zeros_like(CASE.mask)), model=model)
