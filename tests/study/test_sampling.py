"""Answers that check themselves, and images that the bank remembers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import CARD, CONFIG, net  # noqa: F401 - net is a fixture

from yoda_nb import study
from yoda_nb.data.manifest import Case
from yoda_nb.errors import InputError
from yoda_nb.figures.explorers.runner import live
from yoda_nb.figures.readme import readme_figure
from yoda_nb.metrics.segmentation import segment
from yoda_nb.nets.models import recording, save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.sweep.plan import Trial
from yoda_nb.sweep.trial import image_of
from yoda_nb.systems.run import prepare
from yoda_nb.systems.table import get_system
from yoda_papers.bench import run_bench
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.measure import measure
from yoda_papers.ledger.rebuild_real import rebuild_normalisation


@pytest.mark.parametrize(
    "answer, said", [(None, "Write your number"), (3.04, "Right"), (3.2, "too large"), (-1, "too small. Count again.")]
)
def test_an_answer_is_told_right_or_wrong_and_never_given_away(answer, said, capsys):
    study.check_answer(answer, 3.0, tolerance=0.05, hint="Count again.")
    shown = capsys.readouterr().out
    assert said in shown
    assert ("3" in shown.replace("3.2", "")) == (said == "Right")


def test_two_models_of_the_same_sources_are_told_apart_by_the_target_alike(net, tmp_path, monkeypatch):
    """A sample, a translation and a trial of a sweep ask the same question and get the same answer."""
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    for target in ("FLAIR", "PDw"):
        card = CARD | {"target": target, "contrast": target, "spacing_mm": 6.0}
        save_model(net, tmp_path / f"{target.lower()}.safetensors", config=CONFIG, card=card)
    v = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    case = Case("d", "s", "test", {}, tmp_path)
    for volume, makes in ((v, "FLAIR"), (replace(v, contrast="PDw"), "PDw"), (replace(v, target=None), "FLAIR")):
        with recording() as used:
            study.samples(volume, "yoda-regression", shipped=False)
        assert [Path(name).stem for name in used] == [makes.lower()]
        assert prepare(volume, get_system("yoda-regression")).model.contrast == makes
        trial = Trial(case, "yoda-regression", sources=v.sources, target=makes)
        assert image_of(trial, volume)[0] == makes.lower()


def test_a_device_that_is_not_here_is_refused_before_anything_slow(monkeypatch):
    name = "cuda:9"
    v = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    monkeypatch.setattr("yoda_nb.study.sampling.load_model", lambda _: pytest.fail("a model is read"))
    monkeypatch.setattr("yoda_nb.figures.explorers.runner.plane_rows", lambda *_: pytest.fail("something is computed"))
    for ask in (
        lambda: study.samples(v, "yoda-regression", device=name),
        lambda: study.all_samplers([v], study.get_profile("tiny"), device=name),
        lambda: live(v, device=name),
        lambda: Study("tiny", device=name),
        lambda: Study.of_run("quick", 0, name),
        lambda: segment(v, device=name),
        lambda: readme_figure(name),
        lambda: run_bench(device=name),
        lambda: measure("nowhere", device=name),
        lambda: rebuild_normalisation(device=name),
    ):
        with pytest.raises(InputError, match=f"There is no device '{name}' here: choose cpu"):
            ask()


def test_views_are_part_of_what_the_bank_remembers():
    v = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    draw = lambda views: study.samples(v, "yoda-diffusion", model="systems/yoda", n_steps=3, views=views)  # noqa: E731
    three, one = draw((0, 1, 2)), draw((2,))
    assert not torch.equal(three, one)
    assert torch.equal(draw((2,)), one) and torch.equal(draw((0, 1, 2)), three)
