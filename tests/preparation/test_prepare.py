"""A scanner's files become a Volume: each contrast on a grid of its own, the head moved in between."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from scans_by_hand import apart, brain_points, rigid, scan, written

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid, read_image, write_image
from yoda_nb.images.volumes import save_image
from yoda_nb.preparation import prepare as module
from yoda_nb.preparation.command import STRIPPERS, command_mask
from yoda_nb.preparation.doubts import cut_off, likeness, water_is_bright
from yoda_nb.preparation.load import load_volume
from yoda_nb.preparation.prepare import prepare

MOTION = rigid((3, -2, 4), (4, -3, 2))
COARSE = {"spacing": 3.0, "bias": False}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """T1w of coronal slices; T2w and FLAIR of axial ones, T2w after a motion."""
    folder = tmp_path_factory.mktemp("scanner")
    return {
        "T1w": written(folder / "t1.nii.gz", "T1w", (2, 3, 2)),
        "T2w": written(folder / "t2.nii.gz", "T2w", (2, 2, 4), MOTION),
        "FLAIR": written(folder / "flair.nii.gz", "FLAIR", (2, 2, 3)),
    }


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("keep")


@pytest.fixture(scope="module")
def prepared(files, kept):
    sources = {name: files[name] for name in ("T1w", "T2w")}
    return prepare(sources, target=("FLAIR", files["FLAIR"]), spacing=2.0, keep=kept)


def test_contrasts_lie_over_each_other_on_isotropic_voxels(prepared, files):
    v = prepared.volume
    assert v.spacing == (2, 2, 2) and v.sources == ("T1w", "T2w") and v.contrast == "FLAIR"
    assert set(prepared.registrations) == {"T2w", "FLAIR"}
    assert apart(prepared.registrations["T2w"].matrix, MOTION, brain_points()) < 0.3
    assert apart(prepared.registrations["FLAIR"].matrix, np.eye(4), brain_points()) < 0.3
    still, affine = scan("T2w", (2, 2, 2))  # what T2w would be had nobody moved
    assert still.shape == v.shape and np.allclose(affine, v.affine)
    inside = v.mask[0].numpy()
    after, before = (np.corrcoef(still[inside], x["T2w"][0][inside])[0, 1] for x in (prepared.after, prepared.before))
    assert after > 0.93 and after > before + 0.2
    assert v.source.min() == -1 and bool((v.source[:, ~v.mask[0]] == -1).all())
    assert any("T2w lay" in said and "off T1w" in said for said in prepared.warnings)
    assert not [said for said in prepared.warnings if "FLAIR" in said or "fluid" in said or "common" in said]


def test_a_result_goes_back_onto_the_references_file(prepared, files, tmp_path):
    save_image(prepared.volume.source[:1], prepared.volume, tmp_path / "back.nii.gz")
    back, affine, grid = read_image(tmp_path / "back.nii.gz")
    image, known, file = read_image(files["T1w"])
    assert grid.shape == file.shape and np.allclose(affine, known)
    assert np.corrcoef(back[image > 0], image[image > 0])[0, 1] > 0.95


def test_what_is_kept_is_read_back_and_mended(prepared, files, kept, monkeypatch):
    sources = {name: files[name] for name in ("T1w", "T2w")}
    given = {"target": ("FLAIR", files["FLAIR"]), "spacing": 2.0, "keep": kept}
    calls = []
    work = module._pieces
    monkeypatch.setattr(module, "_pieces", lambda *a: calls.append(a) or work(*a))
    again = prepare(sources, **given)
    assert not calls
    assert torch.equal(again.volume.source, prepared.volume.source) and again.warnings == prepared.warnings
    assert torch.equal(again.volume.target, prepared.volume.target)
    assert again.volume.affine.tobytes() == prepared.volume.affine.tobytes()
    assert again.registrations["T2w"].matrix.tobytes() == prepared.registrations["T2w"].matrix.tobytes()
    assert again.volume.grid.shape == prepared.volume.grid.shape
    (entry,) = kept.iterdir()
    image = next(entry.glob("*after-T2w*"))
    image.write_bytes(image.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="damaged"):
        mended = prepare(sources, **given)
    assert len(calls) == 1 and torch.equal(mended.volume.source, prepared.volume.source)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*damaged")
        prepare(sources, **given)
    assert len(calls) == 1


def test_other_content_is_other_work_and_a_folder_that_cannot_be_written_is_no_loss(files, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.warns(UserWarning, match="could not be kept"):
        prepare({"T1w": files["T1w"]}, **COARSE, keep=tmp_path / "file" / "keep")
    prepare({"T1w": files["T1w"]}, **COARSE, keep=tmp_path / "keep")
    prepare({"T1w": files["T1w"]}, spacing=4.0, bias=False, keep=tmp_path / "keep")
    other = written(tmp_path / "other.nii.gz", "T1w", (3, 3, 3))
    prepare({"T1w": other}, **COARSE, keep=tmp_path / "keep")
    assert len(list((tmp_path / "keep").iterdir())) == 3


def test_a_mask_or_a_program_says_where_the_brain_is(files, tmp_path):
    image, _, grid = read_image(files["T1w"])
    half = (image > 0) & (np.arange(image.shape[2]) > image.shape[2] // 3)
    write_image(half.astype(np.float32), grid, tmp_path / "mask.nii.gz")
    masked = prepare({"T1w": files["T1w"]}, mask=tmp_path / "mask.nii.gz", **COARSE)
    ml = masked.volume.mask.sum() * 27 / 1000
    assert float(ml) == pytest.approx(half.sum() * 12 / 1000, rel=0.05)
    (tmp_path / "strip.py").write_text(
        "import sys, nibabel as nib\ni = nib.load(sys.argv[1])\n"
        "nib.save(nib.Nifti1Image((i.get_fdata() > 40).astype('float32'), i.affine), sys.argv[2])\n"
    )
    tool = f"{sys.executable} '{tmp_path / 'strip.py'}' {{input}} {{output}}"
    stripped = prepare({"T1w": files["T1w"]}, tool=tool, **COARSE)
    assert 0.9 < stripped.volume.mask.sum() * 27 / (image > 0).sum() / 12 < 1.05
    with pytest.raises(InputError, match="found no brain"):
        command_mask(np.zeros((8, 8, 8), np.float32), np.eye(4), tool)
    assert all("{input}" in command and "{output}" in command for command in STRIPPERS.values())


def test_what_cannot_be_prepared_is_refused(files, tmp_path):
    t1 = {"T1w": files["T1w"]}
    with pytest.raises(InputError, match="no image was given"):
        prepare({})
    with pytest.raises(InputError, match="reference T2w is none of the images given"):
        prepare(t1, reference="T2w")
    with pytest.raises(InputError, match="both a source and the target"):
        prepare(t1, target=("T1w", files["T1w"]))
    with pytest.raises(InputError, match="spacing 0"):
        prepare(t1, spacing=0)
    image, _, grid = read_image(files["FLAIR"])
    write_image((image > 0).astype(np.float32), grid, tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match="reference .* and mask .* are not on one grid"):
        prepare(t1, mask=tmp_path / "mask.nii.gz", spacing=3.0)


def test_doubts():
    brain = np.zeros((40, 40, 40), bool)
    brain[5:35, 5:35, 10:] = True
    (said,) = cut_off(brain, np.diag([2.0, 2, 2, 1]), "T1w")
    assert "cut off at the top of T1w (36 cm2" in said
    brain[:, :, 30:] = False
    assert not cut_off(brain, np.eye(4), "T1w")
    one, other = np.random.default_rng(0).normal(size=(2, 100_000))
    assert likeness(one, other) < 0.02 < 0.9 < likeness(one, -one)
    values = {name: image[image > 0] for name in ("T1w", "T2w", "FLAIR") for image, _ in [scan(name, (3, 3, 3))]}
    bright = {name: water_is_bright(x) for name, x in values.items()}
    assert bright == {"T1w": False, "T2w": None, "FLAIR": False}, "air in the mask is as dark as fluid in a FLAIR"


def test_exchanged_files_are_noticed(files):
    found = prepare({"T1w": files["T2w"]}, **COARSE)
    assert any("fluid is bright as in T2w in what was given as T1w" in said for said in found.warnings)


def test_files_on_other_grids_are_registered_on_request(files, tmp_path):
    moved_t2 = written(tmp_path / "t2.nii.gz", "T2w", (3, 3, 3), MOTION)
    t1 = written(tmp_path / "t1.nii.gz", "T1w", (3, 3, 2.5))
    sources = {"T1w": t1, "T2w": moved_t2}
    with pytest.raises(InputError, match=r"not on one grid .*register=True.*yoda-nb translate registers"):
        load_volume(sources)
    v = load_volume(sources, target=("FLAIR", files["FLAIR"]), register=True)
    still, affine = scan("T2w", (3, 3, 2.5))
    assert v.source.shape == (2, *still.shape) and np.allclose(v.affine, affine) and v.target is not None
    inside = v.mask[0].numpy()
    assert np.corrcoef(still[inside], v.source[1].numpy()[inside])[0, 1] > 0.93
    write_image((scan("T1w", (4, 4, 4))[0] > 0).astype(np.float32), Grid(*_grid((4, 4, 4))), tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match="mask .* not on one grid"):
        load_volume({"T1w": t1}, mask=tmp_path / "mask.nii.gz", register=True)


def test_on_one_grid_registering_changes_nothing(tmp_path):
    sources = {name: written(tmp_path / f"{name}.nii.gz", name, (4, 4, 4)) for name in ("T1w", "T2w")}
    one, two = load_volume(sources), load_volume(sources, register=True)
    assert torch.equal(one.source, two.source) and torch.equal(one.mask, two.mask)


def _grid(size):
    image, affine = scan("T1w", size)
    return image.shape, affine


def test_a_patient(mirror):
    """Raw scans on three grids, the T1w off by 5 mm: aligned, and said."""
    raw = next(mirror.rglob("longitudinal")) / "raw" / "patient03"
    files = {"T1w": raw / "study2_T1W.nii.gz", "T2w": raw / "study2_T2W.nii.gz"}
    found = prepare(files, target=("FLAIR", raw / "study2_FLAIR.nii.gz"), spacing=2.0)
    assert found.volume.spacing == (2, 2, 2) and found.volume.mask.sum() * 8 / 1000 > 900
    assert 5 < found.registrations["FLAIR"].shift < 7
    assert any("FLAIR lay" in said for said in found.warnings)
    assert not [said for said in found.warnings if "fluid" in said or "common" in said or "no adult's" in said]
