"""``adapt``: people left out and scored, a model of everybody, a page, the same bytes after a stop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import CARD, CONFIG
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.images.volumes import save_image
from yoda_nb.nets.models import read_card, save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.scans import adapt as module

SPACING = 6.0


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "initial.safetensors"
    training = {"seed": 0, "window": 16, "data": "2 volumes of 2 people (sub-01, sub-77)"}
    extra = {"spacing_mm": SPACING, "training": training, "regression_only": True}
    save_model(CONFIG.build().eval(), path, config=CONFIG, card=CARD | extra)
    return path


@pytest.fixture
def study(tmp_path) -> Path:
    """Three people on one grid each; the third lacks the target."""
    root = tmp_path / "study"
    for name, contrasts in {"01": ("T1w", "T2w", "FLAIR"), "02": ("T1w", "T2w", "FLAIR"), "03": ("T1w", "T2w")}.items():
        v = phantom_case(int(name), spacing=SPACING, shape=(30, 36, 30))
        folder = root / f"sub-{name}" / "anat"
        folder.mkdir(parents=True)
        for contrast in contrasts:
            image = v.target if contrast == "FLAIR" else v.source[v.sources.index(contrast)][None]
            save_image(image, replace(v, grid=None), folder / f"sub-{name}_{contrast}.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "three", "BIDSVersion": "1.10.0"}')
    return root


@pytest.fixture
def quick(monkeypatch):
    """Twenty steps, whatever the machine's speed is."""
    monkeypatch.setattr(module, "_planned", lambda *_: (20, 0.1))
    monkeypatch.setattr(module, "KEPT_SEEDS", (900_001,))


def call(study, initial, out, *words):
    given = ["adapt", study, "-o", out, "--initial", initial, "--rehearse", 0, "--rescans", 1, "--no-label-maps"]
    return CliRunner().invoke(app, [str(word) for word in (*given, "--json", *words)])


def test_people_left_out_are_scored_and_a_stopped_run_ends_with_the_same_bytes(
    study, initial, tmp_path, quick, monkeypatch
):
    out = tmp_path / "mine.safetensors"
    done = call(study, initial, out)
    assert done.exit_code == 0, (done.output, done.stderr)
    document = json.loads(done.stdout)
    assert document["people"] == ["sub-01", "sub-02"] and document["known_before"] == ["sub-01"]
    assert document["left_out"] == {"sub-03": "has no FLAIR"}
    assert [row["subject"] for row in document["scores"]] == ["sub-01", "sub-02"]
    assert all(0 < row[f"{when}_ssim"] < 1 for row in document["scores"] for when in ("before", "after"))
    means = {when: sum(row[f"{when}_psnr"] for row in document["scores"]) for when in ("before", "after")}
    assert means["after"] > means["before"] + 0.5, "twenty steps beat an untrained net"
    card = read_card(out)
    assert card["adapted"]["scores"] == document["scores"] and card["spacing_mm"] == SPACING
    assert "2 people (sub-01, sub-02)" in card["training"]["data"]
    page = out.with_suffix(".html").read_text()
    assert "was trained on sub-01: their scores" in page and "has no FLAIR" in page and page.count("<img") == 2

    again = call(study, initial, out, "--run", tmp_path / "other")
    assert again.exit_code == 2 and "exists and is not of the run" in again.stderr

    blob = out.read_bytes()
    trained = module.train

    def killed(save, **how):
        if save.name == "mine.safetensors":
            raise KeyboardInterrupt
        return trained(save, **how)

    monkeypatch.setattr(module, "train", killed)
    again = tmp_path / "again" / "mine.safetensors"
    again.parent.mkdir()
    assert call(study, initial, again).exit_code == 130 and not again.exists()
    monkeypatch.setattr(module, "train", trained)
    assert call(study, initial, again).exit_code == 0
    assert again.read_bytes() == blob


def test_steps_fill_the_minutes_and_are_planned_once(study, initial, tmp_path):
    out = tmp_path / "mine.safetensors"
    done = call(study, initial, out, "--minutes", 0.02, "--folds", 0)
    assert done.exit_code == 0, (done.output, done.stderr)
    document = json.loads(done.stdout)
    plan = json.loads((tmp_path / "mine-run" / "plan.json").read_text())
    assert document["steps"] == plan["steps"] == max(1, int(1.2 / plan["seconds"]))
    assert document["scores"] == [] and read_card(out)["training"]["steps"] == plan["steps"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subject", "sub-01"], "at least two people with T1w, T2w, FLAIR, and here are 1"),
        (["--folds", "1"], "folds of 0, 2 or more"),
        (["--minutes", "0"], "minutes above 0"),
        (["--device", "gpu"], "choose"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_is_written(study, initial, tmp_path, words, said):
    done = call(study, initial, tmp_path / "mine.safetensors", *words)
    assert done.exit_code == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.glob("mine*"))


def test_a_run_inside_the_study_is_refused(study, initial):
    done = call(study, initial, study / "mine.safetensors")
    assert done.exit_code == 2 and "study" in done.stderr and not list(study.rglob("mine*"))
