"""Whole studies: BIDS folders in, derivatives with sidecars and pages out, done once."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from functools import cache

import nibabel as nib
import numpy as np
import pytest
import torch
from small_models import CARD, CONFIG
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.bids import read_bids, read_sidecar, sidecar_of
from yoda_nb.data.study import cases_in
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256
from yoda_nb.images.volumes import save_image
from yoda_nb.nets.models import save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.scans import studies as module
from yoda_nb.scans.files import Opened
from yoda_nb.scans.studies import bids_label, translate_case

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
    out = (study / "derivatives" if study.is_dir() else study.parent) / "out"
    return CliRunner().invoke(
        app, ["prepare", str(study), "-o", str(out), "--spacing", "6", "--no-bias", "--json", *words]
    )


def test_a_study_is_prepared_by_workers_and_once(study):
    done = prepared(study, "--workers", "2")
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["done"]
    assert [(row["subject"], row["state"]) for row in rows] == [("sub-01", "made"), ("sub-02", "made")]
    assert sorted(path.name for path in (study / "derivatives" / "out" / "sub-02").iterdir()) == [
        "T1w.nii.gz", "mask.nii.gz", "preparation.json", "qc.html"
    ]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in (study / "derivatives" / "out").rglob("*")}
    (study / "derivatives" / "out" / "sub-02" / "mask.nii.gz").unlink()
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


# --- done is told by content


@cache
def person():
    return phantom_case(3, spacing=6.0, shape=(30, 36, 30))


@pytest.fixture
def one(tmp_path):
    """One person on one grid, in files that are not packed: what is replaced has the same size."""
    v = person()
    folder = tmp_path / "raw/sub-01/anat"
    folder.mkdir(parents=True)
    for contrast, image in zip(v.sources, v.source, strict=True):
        save_image(image[None], replace(v, grid=None), folder / f"sub-01_{contrast}.nii")
    return tmp_path / "raw"


@pytest.fixture
def unmade(monkeypatch):
    """Nothing is masked, registered or run: the image is T1w, and the list has what was asked for."""
    asked = []
    phantom = replace(person(), target=None, grid=None, doubts=("odd.",))

    def open_files(files, *, target=None, mask=None, **how):
        return Opened(replace(phantom, subject=how["subject"]), files)

    def translate(volume, system, **how):
        asked.append(how | {"system": system})
        return replace(volume, target=volume.source[:1], contrast=how["contrast"])

    monkeypatch.setattr(module, "open_files", open_files)
    monkeypatch.setattr(module, "translate", translate)
    return asked


def made(study, out, **how):
    (case,) = read_bids(study)
    return translate_case(case, out, **how)


def test_the_sidecar_says_of_what_and_how_an_image_was_made(one, tmp_path, model):
    done = made(one, tmp_path / "out", model=model, raw=one)
    said = read_sidecar(done.path)
    files = {name: one / f"sub-01/anat/sub-01_{name}.nii" for name in ("T1w", "T2w")}
    assert said["ContentSHA256"] == {name: sha256(path) for name, path in files.items()}
    assert said["ImageSHA256"] == sha256(done.path) and said["Synthetic"] is True
    assert (said["Registered"], said["BiasRemoved"], said["BrainTool"]) == (False, False, "")
    assert said["Warnings"] == done.row["warnings"] == list(done.opened.warnings)
    assert nib.load(done.path).header["descrip"].item().startswith(b"synthetic: FLAIR by yoda-nb, yoda-regression")
    again = made(one, tmp_path / "out", model=model, raw=one)
    assert again.row["state"] == "was there" and again.row["warnings"] == done.row["warnings"] and again.result is None


def test_a_replaced_scan_of_the_same_size_and_time_is_noticed(one, tmp_path, model, unmade):
    scan = one / "sub-01/anat/sub-01_T2w.nii"
    states = lambda: made(one, tmp_path / "out", model=model).row["state"]  # noqa: E731
    assert [states(), states()] == ["made", "was there"]
    before, raw = scan.stat(), bytearray(scan.read_bytes())
    raw[-5000] ^= 1
    scan.write_bytes(raw)
    os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (scan.stat().st_size, scan.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert [states(), states()] == ["made", "was there"]
    os.utime(scan)
    assert states() == "was there", "the time alone is nothing"
    shutil.copy(one / "sub-01/anat/sub-01_T1w.nii", one / "sub-01/anat/sub-01_FLAIR.nii")
    assert states() == "made", "an acquired image scores it now"


@pytest.mark.parametrize(
    ("registered", "change", "state"),
    [
        (True, {"bias": False}, "made"),
        (True, {"tool": "synthstrip"}, "made"),
        (True, {}, "was there"),
        (False, {"bias": False}, "was there"),  # bias fields are removed of what is registered alone
        (False, {"tool": "synthstrip"}, "made"),
        (False, {"seed": 1}, "made"),
        (False, {"settings": {"views": (2,)}}, "made"),
        (False, {"system": "yoda-noised"}, "made"),
        (False, {"again": True}, "made"),
        (False, {"device": "cpu"}, "was there"),
    ],
)
def test_another_way_of_making_it_is_noticed(one, tmp_path, model, unmade, monkeypatch, registered, change, state):
    monkeypatch.setattr(module, "on_one_grid", lambda files: not registered)
    assert made(one, tmp_path / "out", model=model).row["state"] == "made"
    assert made(one, tmp_path / "out", model=model, **change).row["state"] == state
    assert made(one, tmp_path / "out", model=model, **{**change, "again": False}).row["state"] == "was there"


def test_another_version_or_model_is_noticed(one, tmp_path, model, unmade, monkeypatch):
    assert made(one, tmp_path / "out", model=model).row["state"] == "made"
    monkeypatch.setattr(module, "__version__", "999")
    assert made(one, tmp_path / "out", model=model).row["state"] == "made"
    assert made(one, tmp_path / "out", model="tiny-t1w-t2w-flair").row["state"] == "made"


@pytest.mark.parametrize("damage", ["image", "cut", "no image", "no sidecar", "sidecar", "sidecar of a list"])
def test_what_is_damaged_is_made_again(one, tmp_path, model, unmade, damage):
    path = made(one, tmp_path / "out", model=model).path
    whole, sidecar = path.read_bytes(), sidecar_of(path)
    if damage == "image":
        path.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    elif damage == "cut":
        path.write_bytes(whole[:1000])
    elif damage.startswith("no"):
        (path if damage == "no image" else sidecar).unlink()
    else:
        sidecar.write_text("[1]" if "list" in damage else "{")
    again = made(one, tmp_path / "out", model=model)
    assert again.row["state"] == "made" and path.read_bytes() == whole
    assert made(one, tmp_path / "out", model=model).row["state"] == "was there"


# --- the model


@pytest.mark.parametrize(
    ("size", "words", "chosen"),
    [
        (3.0, (), "tiny-t1w-t2w-flair"),
        (1.0, (), "real-t1w-t2w-flair"),
        (3.0, ("--system", "yoda-diffusion"), "tiny-t1w-t2w-flair"),
        (1.0, ("--system", "yoda-diffusion"), "real-diffusion-t1w-t2w-flair"),
    ],
)
def test_a_study_gets_the_model_that_translate_takes(one, tmp_path, unmade, monkeypatch, size, words, chosen):
    """Files of a voxel size on one grid: what is chosen, and what the net is asked for, is the same."""
    files = {name: one / f"sub-01/anat/sub-01_{name}.nii" for name in ("T1w", "T2w")}
    for path in files.values():  # the header alone decides
        image = np.array(nib.load(path).dataobj, np.float32)  # a copy, not a window into the file
        nib.save(nib.Nifti1Image(image, np.diag([size, size, size, 1])), path)
    opened = lambda files, **how: Opened(replace(person(), grid=None, target=None), files)  # noqa: E731
    monkeypatch.setattr(module, "open_files", opened)
    monkeypatch.setattr("yoda_nb.scans.files.open_files", opened)
    monkeypatch.setattr("yoda_nb.systems.run.translate", module.translate)
    monkeypatch.setattr(
        "yoda_nb.scans.files.save_like", lambda image, opened, out, like, made: save_image(image, opened.volume, out)
    )
    out = tmp_path / "one.nii.gz"
    given = ["--t1", files["T1w"], "--t2", files["T2w"], "-o", out, "--json", *words]
    alone = CliRunner().invoke(app, ["translate", *map(str, given)])
    assert alone.exit_code == 0, alone.output
    system = words[1] if words else "yoda-regression"
    whole = made(one, tmp_path / "out", system=system)
    assert json.loads(alone.stdout)["model"] == whole.row["model"] == chosen
    assert [(one["model"], one["system"], one["contrast"]) for one in unmade] in (
        [(chosen, system, None), (chosen, system, "FLAIR")],
        [(chosen, system, "FLAIR")] * 2,
    )


def test_what_is_registered_gets_the_model_of_its_voxels(one, tmp_path, unmade, monkeypatch):
    monkeypatch.setattr(module, "on_one_grid", lambda files: False)
    assert made(one, tmp_path / "out").row["model"] == "real-t1w-t2w-flair"


# --- nothing is written into a study


@pytest.mark.parametrize("where", [".", "results", "sub-01", "sub-01/anat", "link", "derivatives/../x"])
@pytest.mark.parametrize("command", ["translate-all", "prepare"])
def test_a_study_is_not_written_into(one, tmp_path, unmade, command, where):
    (tmp_path / "link").symlink_to(one)
    out = tmp_path / "link" if where == "link" else one / where
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, [command, str(one), "-o", str(out), "--json"])
    assert done.exit_code == 2 and done.stdout == "", done.output
    assert "only read: choose a folder of its own" in done.stderr and str(one / "derivatives/yoda-nb") in done.stderr
    assert sorted(tmp_path.rglob("*")) == before and not unmade
    with pytest.raises(InputError, match="only read"):
        made(one, out)
    assert sorted(tmp_path.rglob("*")) == before and not unmade


def test_a_manifests_images_are_not_written_beside(one, tmp_path, unmade):
    folder = one / "sub-01/anat"
    for contrast in ("T1w", "T2w"):
        (folder / f"sub-01_{contrast}.nii").rename(folder / f"{contrast}.nii")
    table = "dataset,subject,split,contrast,uri,sha256,licence,source,notes\n"
    table += "".join(f"d,s1,test,{c},{c}.nii,n/a,CC0,made,n/a\n" for c in ("T1w", "T2w"))
    (folder / "table.csv").write_text(table)
    (case,) = cases_in(folder / "table.csv")
    with pytest.raises(InputError, match="only read"):
        translate_case(case, folder)
    assert len(list(folder.iterdir())) == 3 and not unmade
    assert translate_case(case, folder / "results").path.is_file()


def test_results_below_derivatives_are_no_subjects_of_the_study(one, unmade, model):
    out = one / "derivatives/yoda-nb"
    first = made(one, out, model=model, raw=one)
    again = made(one, out, model=model, raw=one, seed=1)
    assert first.row["state"] == again.row["state"] == "made" and "scores" not in again.row
    assert sorted(path.name for path in one.iterdir()) == ["derivatives", "sub-01"]
