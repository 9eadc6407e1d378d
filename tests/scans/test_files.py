"""From a scanner's files to a file: registered where it must be, back on the grid that was asked for."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from scans_by_hand import apart, brain_points, rigid, scan, written
from small_models import CARD, CONFIG
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.errors import Doubt, InputError, quiet
from yoda_nb.images import nifti
from yoda_nb.images.nifti import on_one_grid, read_image
from yoda_nb.images.volumes import save_image
from yoda_nb.nets.models import save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.scans import files as module
from yoda_nb.scans.files import model_spacing, open_files, save_like

MOTION = rigid((2, -2, 3), (3, -2, 2))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(CONFIG.build().eval(), path, config=CONFIG, card=CARD | {"spacing_mm": 4.0})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """T1w and T2w on grids of their own, the head moved in between."""
    folder = tmp_path_factory.mktemp("scanner")
    return {
        "T1w": written(folder / "t1.nii.gz", "T1w", (3, 3, 3)),
        "T2w": written(folder / "t2.nii.gz", "T2w", (3, 3, 4), MOTION),
    }


@pytest.fixture(scope="module")
def opened(files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SPACING", 3.0)
        return open_files(files, bias=False, subject="somebody")


def test_files_on_one_grid_are_taken_as_they_are(files, tmp_path):
    same = {"T1w": files["T1w"], "T2w": written(tmp_path / "t2.nii.gz", "T2w", (3, 3, 3))}
    assert on_one_grid(same) and not on_one_grid(files)
    found = open_files(same)
    assert found.prepared is None and found.registered == {}
    assert [said.split(" (")[0] for said in found.warnings] == ["the brain is cut off at the front of T1w"]
    assert found.volume.shape == scan("T1w", (3, 3, 3))[0].shape


def test_what_is_doubted_of_one_grid_is_told_as_of_registered_files(files, tmp_path):
    t2 = written(tmp_path / "t2.nii.gz", "T2w", (3, 3, 3))
    with pytest.warns(Doubt, match="exchanged"):
        found = open_files({"T1w": t2, "T2w": files["T1w"]}, registered=False)
    told = [said for said in found.warnings if "exchanged" in said]
    assert told and "given as T2w" in told[-1]
    assert found.warnings == found.volume.doubts
    with quiet():
        head = open_files({"T1w": files["T1w"]}, registered=False, part="head")
    assert any("a skull would be made up" in said for said in head.warnings), "of a stripped image no CT is made"


@pytest.mark.parametrize(
    ("size", "registered", "wanted"), [((3, 3, 3), False, 3), ((2, 3, 4), False, 2), ((2, 3, 4), True, 1)]
)
def test_the_voxels_by_which_a_model_is_chosen(tmp_path, size, registered, wanted):
    nib.save(nib.Nifti1Image(np.eye(4)[:, :, None] * np.ones((4, 4, 4)), np.diag([*size, 1.0])), tmp_path / "a.nii")
    assert model_spacing({"T1w": tmp_path / "a.nii", "T2w": tmp_path / "nowhere.nii"}, registered) == pytest.approx(
        wanted
    )


def test_files_on_different_grids_are_registered(opened):
    assert set(opened.registered) == {"T2w"} and opened.volume.spacing == (3, 3, 3)
    assert apart(opened.prepared.registrations["T2w"].matrix, MOTION, brain_points()) < 0.6
    assert opened.registered["T2w"]["shift_mm"] == pytest.approx(np.linalg.norm((3, -2, 2)), abs=1.5)
    assert opened.volume.subject == "somebody"


def test_who_forbids_registration_is_told_what_is_wrong(files):
    with pytest.raises(InputError, match="not on one grid"):
        open_files(files, registered=False)
    with pytest.raises(InputError, match="no source image"):
        open_files({})


def test_the_result_lies_on_the_reference_or_on_the_anatomy_of_another_image(opened, files, tmp_path):
    image = opened.volume.source[:1]  # T1w itself: where it lies is known
    save_like(image, opened, tmp_path / "own.nii.gz")
    own, t1 = nib.load(tmp_path / "own.nii.gz"), nib.load(files["T1w"])
    assert own.shape == t1.shape and np.allclose(own.affine, t1.affine)
    save_like(image, opened, tmp_path / "like.nii.gz", files["T2w"])
    like, t2 = nib.load(tmp_path / "like.nii.gz"), nib.load(files["T2w"])
    assert like.shape == t2.shape and np.allclose(like.affine, t2.affine)
    expected, _ = scan("T1w", (3, 3, 4), MOTION)  # T1w as it would be on T2w's grid, after the motion
    inside = like.get_fdata() > 0.05
    moved = np.corrcoef(like.get_fdata()[inside], expected[inside])[0, 1]
    still = np.corrcoef(like.get_fdata()[inside], scan("T1w", (3, 3, 4))[0][inside])[0, 1]
    assert moved > 0.9 and moved > still + 0.1


def test_an_image_on_the_references_grid_needs_no_registration(opened, tmp_path):
    twin = written(tmp_path / "twin.nii.gz", "FLAIR", (3, 3, 3))
    save_like(opened.volume.source[:1], opened, tmp_path / "out.nii.gz", twin)
    assert nib.load(tmp_path / "out.nii.gz").shape == nib.load(twin).shape


def test_translate_registers_by_itself_and_says_so(files, model, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SPACING", 4.0)
    out, page = tmp_path / "flair.nii.gz", tmp_path / "qc.html"
    words = [
        "--t1",
        files["T1w"],
        "--t2",
        files["T2w"],
        "-o",
        out,
        "--qc",
        page,
        "--model",
        model,
        "--no-bias",
        "--json",
    ]
    done = CliRunner().invoke(app, ["translate", *map(str, words)])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert set(document["registered"]) == {"T2w"} and "registering T2w to T1w" in done.stderr
    assert nib.load(out).shape == nib.load(files["T1w"]).shape
    text = page.read_text()
    assert "Checkerboards of T1w and T2w before registration" in text and "FLAIR that was made" in text
    assert not re.search(r"""(src|href)="https?:""", text), "the page needs no network"


def test_prepare_writes_images_mask_page_and_what_was_done(files, tmp_path):
    words = ["--t1", files["T1w"], "--t2", files["T2w"], "-o", tmp_path / "p", "--spacing", 4, "--no-bias", "--json"]
    done = CliRunner().invoke(app, ["prepare", *map(str, words)])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [
        "T1w.nii.gz",
        "T2w.nii.gz",
        "mask.nii.gz",
        "preparation.json",
        "qc.html",
    ]
    image, affine, _ = read_image(tmp_path / "p" / "T2w.nii.gz")
    assert np.allclose(np.diag(affine)[:3], 4) and list(image.shape) == document["shape"]
    found = np.array(document["registrations"]["T2w"]["matrix"])
    assert apart(found, MOTION, brain_points()) < 0.6
    assert document == json.loads((tmp_path / "p" / "preparation.json").read_text())


@pytest.mark.parametrize("options", [{}, {"registered": True, "bias": False}], ids=["on one grid", "registered"])
def test_each_file_is_decoded_once(tmp_path, monkeypatch, options):
    v = phantom_case(5, spacing=6.0, shape=(36, 42, 36))
    files = {name: tmp_path / f"{name}.nii.gz" for name in (*v.sources, "FLAIR")}
    for name, image in zip(files, (*v.source, v.target[0]), strict=True):
        save_image(image[None], v, files[name])
    decoded, whole = [], nifti._whole
    monkeypatch.setattr(nifti, "_whole", lambda path, image: decoded.append(path.name) or whole(path, image))
    mask = tmp_path / "mask.nii.gz"
    save_image(v.mask * 2.0 - 1, v, mask)
    sources = {name: files[name] for name in v.sources}
    subject = open_files(sources, target=("FLAIR", files["FLAIR"]), mask=mask, **options)
    save_like(v.target, replace(subject, volume=v), tmp_path / "out.nii.gz", files["T2w"])
    assert sorted(decoded) == sorted(path.name for path in (*files.values(), mask))
