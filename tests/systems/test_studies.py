"""Whole studies: BIDS folders in, derivatives with sidecars and pages out, done once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel as nib
import pytest
import torch
from small_models import CARD, CONFIG
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.phantom import phantom_case
from yoda_nb.images.volumes import save_image
from yoda_nb.nets.models import save_model
from yoda_nb.systems.studies import bids_label

OUT = "derivatives/yoda-nb"
PHANTOMS = """dataset,subject,split,contrast,uri,sha256,licence,source,notes
a,p1,test,any,phantom:1,n/a,CC0,made here,n/a
b,p1,test,any,phantom:2,n/a,CC0,made here,n/a
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(CONFIG.build().eval(), path, config=CONFIG, card=CARD | {"spacing_mm": 6.0})
    return path


@pytest.fixture
def study(tmp_path):
    """Two people on one grid each; the second lacks T2w."""
    for name, contrasts in {"01": ("T1w", "T2w", "FLAIR"), "02": ("T1w",)}.items():
        v = phantom_case(int(name), spacing=6.0, shape=(30, 36, 30))
        folder = tmp_path / f"sub-{name}" / "anat"
        folder.mkdir(parents=True)
        for contrast in contrasts:
            image = v.target if contrast == "FLAIR" else v.source[v.sources.index(contrast)][None]
            save_image(image, replace(v, grid=None), folder / f"sub-{name}_{contrast}.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "two", "BIDSVersion": "1.10.0"}')
    return tmp_path


def run(study, model, *words):
    return CliRunner().invoke(
        app, ["translate-all", str(study), "-o", str(study / OUT), "--model", str(model), "--json", *words]
    )


def test_one_subject_is_made_and_the_other_is_named(study, model):
    done = run(study, model)
    assert done.exit_code == 2 and "1 of 2 failed: sub-02" in done.stderr and "has no T2w" in done.stderr
    document = json.loads(done.stdout)
    (row,) = document["done"]
    folder = study / OUT / "sub-01" / "anat"
    image = folder / "sub-01_space-T1w_desc-synthetic_FLAIR.nii.gz"
    assert row["file"] == str(image) and nib.load(image).shape == (30, 36, 30)
    sidecar = json.loads((folder / "sub-01_space-T1w_desc-synthetic_FLAIR.json").read_text())
    assert sidecar["System"] == "yoda-regression" and sidecar["Seed"] == 0 and len(sidecar["ModelSHA256"]) == 64
    assert sidecar["Sources"] == ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz", "bids:raw:sub-01/anat/sub-01_T2w.nii.gz"]
    assert (folder / "sub-01_space-T1w_desc-synthetic_FLAIR_qc.html").is_file()
    assert {"ssim", "psnr"} <= set(row["scores"]), "the acquired FLAIR scores it"


def test_what_is_done_is_not_done_again_but_with_another_seed_it_is(study, model):
    words = ("--subject", "sub-01")
    first = run(study, model, *words)
    assert first.exit_code == 0, first.output
    again = run(study, model, *words)
    assert json.loads(again.stdout)["done"][0]["state"] == "was there"
    other = run(study, model, *words, "--seed", "1")
    assert json.loads(other.stdout)["done"][0]["state"] == "made"


def test_an_unknown_subject_is_refused_before_anything_is_made(study, model):
    done = run(study, model, "--subject", "sub-99")
    assert done.exit_code == 2 and "has no subject 'sub-99'" in done.stderr and not (study / OUT).exists()


def test_workers_make_the_same_images(study, model):
    here = run(study, model)
    images = {path: path.read_bytes() for path in (study / OUT).rglob("*.nii.gz")}
    assert len(images) == 1 and here.exit_code == 2
    shutil.rmtree(study / OUT)
    there = run(study, model, "--workers", "2")
    assert there.exit_code == 2 and "sub-02 of" in there.stderr and "has no T2w" in there.stderr
    assert {path: path.read_bytes() for path in (study / OUT).rglob("*.nii.gz")} == images
    assert list((study / OUT).rglob("*_qc.html"))


def prepared(study, *words):
    out = (study if study.is_dir() else study.parent) / "out"
    return CliRunner().invoke(
        app, ["prepare", str(study), "-o", str(out), "--spacing", "6", "--no-bias", "--json", *words]
    )


def test_a_study_is_prepared_by_workers_and_once(study):
    done = prepared(study, "--workers", "2")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["done"]
    assert [(row["subject"], row["state"]) for row in rows] == [("sub-01", "made"), ("sub-02", "made")]
    assert sorted(path.name for path in (study / "out" / "sub-02").iterdir()) == [
        "T1w.nii.gz", "mask.nii.gz", "preparation.json", "qc.html"
    ]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in (study / "out").rglob("*")}
    (study / "out" / "sub-02" / "mask.nii.gz").unlink()
    again = json.loads(prepared(study).stdout)["done"]
    assert [row["state"] for row in again] == ["was there", "made"], "what is not whole is made again"
    assert all(path.stat().st_mtime_ns == t for path, t in before.items() if "sub-01" in str(path))
    other = json.loads(prepared(study, "--subject", "sub-01", "--contrasts", "T2w").stdout)["done"]
    assert [(row["subject"], row["state"], row["images"]) for row in other] == [("sub-01", "made", "T2w, mask")]


def test_preparing_a_study_names_what_cannot_be(study, tmp_path):
    lacking = prepared(study, "--contrasts", "T1w,T2w")
    assert lacking.exit_code == 2 and "1 of 2 failed: sub-02" in lacking.stderr and "has no T2w" in lacking.stderr
    unknown = prepared(study, "--subject", "sub-99")
    assert unknown.exit_code == 2 and "has no subject 'sub-99'" in unknown.stderr
    both = prepared(study, "--t1", str(study / "a.nii.gz"))
    assert both.exit_code == 2 and "choose one" in both.stderr
    (tmp_path / "phantoms.csv").write_text(PHANTOMS)
    made = prepared(tmp_path / "phantoms.csv", "--dataset", "a")
    assert made.exit_code == 2 and "p1 is a phantom" in made.stderr
    twice = prepared(tmp_path / "phantoms.csv")
    assert twice.exit_code == 2 and "--dataset" in twice.stderr


@pytest.mark.parametrize(
    ("subject", "label"), [("long-03_ses-2", "long03_ses-2"), ("sub-01", "01"), ("cross-07", "cross07"), ("a", "a")]
)
def test_names_become_labels_of_bids(subject, label):
    assert bids_label(subject) == label
