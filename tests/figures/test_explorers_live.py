"""Explorers that sample: a run joins the plane, is cancelled, or tells what went wrong."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from explored import shown

from yoda_nb import study
from yoda_nb.errors import InputError
from yoda_nb.figures import explorers
from yoda_nb.figures.explorers import runner
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.table import get_system


@pytest.fixture(scope="module")
def subject():
    return phantom_case(0, spacing=6.0, shape=(32, 32, 32))


@pytest.fixture
def sampled(monkeypatch, subject):
    """``study.samples`` that answers at once, and tells each step."""

    def samples(volume, system, *, seed=0, device=None, on_step=None, **settings):
        spec = get_system(system, **settings)
        for i in range(spec.n_ex * spec.n_steps):
            on_step(i, (0, -1), None, None)
        return volume.target[None].repeat(spec.n_ex, 1, 1, 1, 1)

    monkeypatch.setattr(study, "samples", samples)
    monkeypatch.setattr(runner, "perceptual_table", lambda v, images: pd.DataFrame({"fd": [1.0] * len(images)}))
    return subject


def controls(explorer):
    """The live form: front widget, and the inputs by their description."""
    front = explorer.widget()
    form, state, _ = explorer.around(front).children
    inputs = {w.description: w for w in (*form.children, *state.children) if w.description}
    return front, inputs, state.children[1]


def finish(inputs):
    for thread in runner.threading.enumerate():
        if thread.name == "yoda-nb-live":
            thread.join(30)
    assert not inputs["Run"].disabled


def test_a_live_run_joins_the_plane(sampled):
    explorer = explorers.live(
        sampled,
        images={"regression": sampled.clean},
        table=pd.DataFrame({"sampler": ["regression"], "evaluations": [3], "ssim": [0.1]}),
    )
    names = explorer.spec["controls"][0]["values"]
    assert names == ["regression", "acquired", "truth"] and "make lab" in explorer.spec["note"]
    ssim, evaluations = (
        next(r for r in explorer.spec["readouts"] if label in r["label"]) for label in ("SSIM", "eval")
    )
    assert shown(ssim["value"], sampler=0) != "0.1", "of this subject, not the table's"
    assert shown(evaluations["value"], sampler=0) == "3"

    front, inputs, said = controls(explorer)
    inputs["System"].value = "yoda-expa"
    inputs["Steps"].value, inputs["N_Ex"].value, inputs["Seed"].value = 4, 2, 7
    for _ in range(2):  # the same run again changes its point and adds none
        inputs["Run"].click()
        finish(inputs)
    assert front.spec["controls"][0]["values"] == [*names, "ExpA 2, 4 steps, seed 7"]
    assert front.state["sampler"] == 3 and "SSIM 1.000" in said.value
    assert inputs["Progress"].value == 8 and set(front.frames) == set(front.spec["frames"])
    inputs["System"].value = "yoda-regression"
    assert inputs["Steps"].disabled and inputs["N_Ex"].value == 1


def test_a_live_run_can_be_cancelled_and_an_error_is_told(sampled, monkeypatch):
    front, inputs, said = controls(explorers.live(sampled))
    before = front.spec
    quick = study.samples

    def cancels(volume, system, **settings):
        inputs["Cancel"].click()
        return quick(volume, system, **settings)

    monkeypatch.setattr(study, "samples", cancels)
    inputs["Run"].click()
    finish(inputs)
    assert said.value.startswith("Cancelled") and front.spec == before and inputs["Cancel"].disabled

    monkeypatch.setattr(study, "samples", lambda *a, **k: (_ for _ in ()).throw(InputError("No shipped model.")))
    inputs["Run"].click()
    finish(inputs)
    assert said.value == "No shipped model."
    with pytest.raises(InputError, match="no acquired target"):
        explorers.live(replace(sampled, target=None))


def test_study_samples_tells_its_steps(subject):
    steps = []
    study.samples(
        subject, "yoda-diffusion", n_steps=2, seed=99, device="cpu", on_step=lambda *seen: steps.append(seen[0])
    )
    assert steps == [0, 1]
