"""Hounsfield units from file to file, and the head as the part that counts."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.images.units import AIR, WINDOWS, part_of, width
from yoda_nb.images.volumes import normalise, save_image
from yoda_nb.metrics import evaluate
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation.brain import head_mask
from yoda_nb.preparation.load import load_volume
from yoda_nb.preparation.prepare import prepare
from yoda_nb.scans.files import open_files

LOW, HIGH = WINDOWS["CT"]


def hu(image: torch.Tensor) -> np.ndarray:
    return (LOW + (HIGH - LOW) * (image[0] + 1) / 2).numpy()


def mr(image: torch.Tensor, seed: int) -> np.ndarray:
    """With a receiver's gain and noise in the air, as files have it."""
    noise = 15 * np.random.default_rng(seed).standard_normal((2, *image.shape))
    return np.hypot(500 * (image.numpy() + 1) + noise[0], noise[1]).astype(np.float32)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A head's T1w and CT as files, and the phantom."""
    folder = tmp_path_factory.mktemp("scans")
    v = phantom_case(4, target="CT", spacing=3.0, shape=(68, 76, 66))
    nib.save(nib.Nifti1Image(hu(v.target).round().astype(np.int16), v.affine), folder / "ct.nii.gz")
    nib.save(nib.Nifti1Image(mr(v.source[0], 0), v.affine), folder / "t1.nii.gz")
    return v, folder / "t1.nii.gz", folder / "ct.nii.gz"


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_any_ct_makes_the_head_count():
    assert part_of(["T1w", "T2w"]) == "brain" and part_of(["T1w", "CT"]) == part_of(["CTA"]) == "head"
    assert width("CT") == HIGH - LOW


@pytest.mark.parametrize("sources, target", [({"T1w": 0}, "CT"), ({"CT": 1}, "T1w"), ({"CT": 1}, None)])
def test_a_head_is_found_on_either_image(scans, sources, target):
    v, *files = scans
    named = {name: files[k] for name, k in sources.items()}
    found = load_volume(named, target=(target, files[target == "CT"]) if target else None)
    assert dice(found.mask, v.mask) > 0.98
    if target:
        assert found.contrast == target


def test_hounsfield_units_go_through_unchanged(scans, tmp_path):
    _, t1, ct = scans
    found = load_volume({"T1w": t1}, target=("CT", ct))
    save_image(found.target, found, tmp_path / "out.nii.gz")
    out, given = (nib.load(path).get_fdata() for path in (tmp_path / "out.nii.gz", ct))
    inside = found.mask[0].numpy()
    assert np.allclose(out[inside], given[inside], atol=1e-3) and (out[~inside] == AIR).all()
    save_image(found.source[:1], replace(found, contrast="T1w"), tmp_path / "t1.nii.gz")
    assert nib.load(tmp_path / "t1.nii.gz").get_fdata().max() <= 1, "an MR image has no units"


def test_a_head_without_its_skull_is_noticed(scans, tmp_path):
    v, t1, _ = scans
    whole = open_files({"T1w": t1}, part="head")
    assert whole.warnings == () == open_files({"T1w": t1}).warnings
    brain = np.isin(v.labels[0].numpy(), [1, 2, 3])
    image = nib.load(t1)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) * brain, image.affine), tmp_path / "t1.nii.gz")
    (said,) = open_files({"T1w": tmp_path / "t1.nii.gz"}, part="head").warnings
    assert "without its skull" in said and "whole head" in said
    assert open_files({"T1w": tmp_path / "t1.nii.gz"}).warnings == (), "of a brain nobody expects a skull"


def test_a_window_is_the_same_for_every_ct():
    mask = np.ones((4, 4, 4), bool)
    image = np.full((4, 4, 4), 40.0)
    image[0] = -80
    assert normalise(image, mask, "CT")[1:] == pytest.approx(2 * (40 - LOW) / (HIGH - LOW) - 1)
    image[2, 0, 0], image[2, 1, 1] = 9000, -3000
    scaled = normalise(image, mask, "CT")
    assert scaled.max() == 1 and scaled.min() == -1 and scaled[3, 0, 0] == normalise(image, mask, "CT")[1, 0, 0]
    with pytest.raises(InputError, match="Hounsfield"):
        normalise(image.clip(0) + 1000, mask, "CT")


def test_preparing_a_head_registers_and_masks_it(scans, tmp_path):
    v, t1, ct = scans
    image = nib.load(ct)
    moved = image.affine.copy()
    moved[:3, 3] += (4.0, -3.0, 5.0)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), moved), tmp_path / "ct.nii.gz")
    found = prepare({"T1w": t1}, target=("CT", tmp_path / "ct.nii.gz"), spacing=3.0)
    assert found.registrations["CT"].shift == pytest.approx(np.linalg.norm((4, 3, 5)), abs=1.0)
    mask = found.volume.mask
    assert mask.sum() == pytest.approx(int(v.mask.sum()), rel=0.03)
    error = hu(found.volume.target)[mask[0].numpy()]
    assert np.percentile(error, 50) < 100 < np.percentile(error, 95), "soft tissue and bone, in HU"


def test_errors_are_told_in_hounsfield_units_and_by_tissue():
    v = phantom_case(1, target="CT", spacing=6.0, shape=(36, 40, 36))
    known = torch.from_numpy(hu(v.clean))[None]
    made = torch.where(known > 300, known - 100, torch.where(known < 200, known + 10, known))  # bone is too dark
    found = evaluate(v, 2 * (made - LOW) / (HIGH - LOW) - 1, reference="truth")
    assert found["mae_hu_bone"] == pytest.approx(100, rel=1e-3) and found["mae_hu_soft"] == pytest.approx(10, rel=0.1)
    bone = (known > 300) & v.mask
    assert found["mae_hu"] == pytest.approx(float((made - known).abs()[v.mask].mean()), rel=1e-3)
    kept = (known > 400) & v.mask
    assert found["bone_dice"] == pytest.approx(float(2 * kept.sum() / (kept.sum() + bone.sum())), rel=1e-4)
    same = evaluate(v, v.clean, reference="truth")
    assert same["bone_dice"] == 1 and same["mae_hu"] == 0


def test_an_offset_is_an_error_of_as_many_units():
    v = phantom_case(1, target="CT", spacing=6.0, shape=(36, 40, 36))
    off = v.clean + 2 * 30 / width("CT")
    inside = v.mask & (off < 1)
    found = evaluate(replace(v, mask=inside), off, reference="truth")
    assert found["mae_hu"] == pytest.approx(30, rel=1e-3) and found["mae"] == pytest.approx(30 / width("CT"), rel=1e-3)
    assert "mae_hu" not in evaluate(phantom_case(1, spacing=6.0, shape=(30, 34, 30)), v.clean[:, :30, :34, :30])


def test_air_is_no_head():
    with pytest.raises(InputError, match="no head"):
        head_mask(np.full((20, 20, 20), AIR), np.diag([3.0, 3, 3, 1]), "CT")
