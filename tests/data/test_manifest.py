"""The manifest: what the shipped one lists, and how rows become volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from manifests import ball, manifest

from yoda_nb.data import manifest as module
from yoda_nb.data.manifest import check, fetch, load_case, read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.volumes import conform
from yoda_nb.preparation.load import load_volume
from yoda_nb.preparation.register import Registration


def test_shipped_manifest_lists_what_the_project_promises():
    count = lambda **wanted: len(read_manifest(MANIFEST, **wanted))  # noqa: E731
    assert [count(dataset="phantom", split=s) for s in ("train", "val", "test")] == [32, 4, 30]
    assert count(dataset="phantom-b") == count(dataset="phantom-b", split="test") == 8
    assert [count(dataset="phantom-labels", split=s) for s in ("train", "test")] == [10, 8]
    maps = read_manifest(MANIFEST, dataset="synthseg")
    assert len(maps) == 12 and all(len(m.images["labels"].sha256) == 64 for m in maps)
    left_out = {m.images["labels"].uri for m in maps if m.split == "test"}
    trained = read_manifest(MANIFEST, dataset="phantom-labels", split="train")
    assert len(left_out) == 2 and not left_out & {case.anatomy.uri for case in trained}


def test_the_same_maps_are_at_hand_in_the_mirror(mirror):
    cases = [case for case in read_manifest(MANIFEST) if case.dataset not in ("ms", "ucsf")]
    assert {row["status"] for row in check(cases, mirror=mirror)} == {"present", "generated"}


def test_what_is_in_the_mirror_of_the_patients_is_what_was_published(mirror):
    here = [path for path in (mirror / "ms").rglob("*.nii.gz")]
    if not here:
        pytest.skip("the mirror has no folder ms")
    rows = check(read_manifest(MANIFEST, dataset="ms"), mirror=mirror)
    found = {Path(row["where"]) for row in rows if row["status"] == "present"}
    assert {row["status"] for row in rows} <= {"present", "missing"}  # no file is another patient's of that name
    assert found == {path for path in here if path.name not in ("gt.nii.gz", "brainmask.nii.gz")}


def test_the_people_of_ucsf_are_found_below_the_mirror(mirror, tmp_path):
    cases = read_manifest(MANIFEST, dataset="ucsf")
    assert len(cases) == 6 and {case.split for case in cases} == {"train"}
    assert sum("lesions" in case.images for case in cases) == 4
    assert {row["status"] for row in check(cases, mirror=tmp_path)} == {"missing"}
    if not (mirror / "ucsf").is_dir():
        pytest.skip("the mirror has no folder ucsf")
    assert {row["status"] for row in check(cases, mirror=mirror)} == {"present"}
    volume = load_case(cases[0], sources=["T1w", "T2w"], target="FLAIR", mirror=mirror, spacing=4.0)
    assert volume.target is not None and volume.lesions is not None
    millilitres = 0.064 * float(volume.lesions.sum())
    assert 20 < millilitres < 400  # the whole tumour: every label of BraTS above 0


def test_a_path_is_looked_up_below_the_mirror(tmp_path):
    (tmp_path / "mirror" / "s1").mkdir(parents=True)
    ball(tmp_path / "mirror", "s1/T1w.nii.gz")
    (case,) = read_manifest(manifest(tmp_path, {"contrast": "T1w", "uri": "s1/T1w.nii.gz"}))
    image = case.images["T1w"]
    with pytest.raises(InputError, match="with --mirror"):
        fetch(image, root=tmp_path)
    assert fetch(image, root=tmp_path, mirror=tmp_path / "mirror") == tmp_path / "mirror/s1/T1w.nii.gz"
    assert check([case], mirror=tmp_path / "mirror")[0]["status"] == "present"


def test_files_become_a_volume(tmp_path):
    rows = []
    for contrast, value in (("T1w", 1), ("T2w", 2), ("FLAIR", 3), ("mask", 1)):
        ball(tmp_path, f"{contrast}.nii.gz", value)
        rows.append({"contrast": contrast, "uri": f"{contrast}.nii.gz"})
    (case,) = read_manifest(manifest(tmp_path, *rows))
    volume = load_case(case, sources=("T1w", "T2w"), target="FLAIR")
    assert volume.sources == ("T1w", "T2w") and volume.contrast == "FLAIR"
    assert volume.subject == "s1" and volume.source.shape == (2, 20, 20, 20)
    assert load_case(case, sources=["T1w"]).target is None
    with pytest.raises(InputError, match="has no CT: choose among T1w, T2w, FLAIR, mask"):
        load_case(case, sources=("T1w", "CT"))


def test_phantoms_are_generated_as_the_row_says(tmp_path, monkeypatch):
    from yoda_nb.phantoms import phantom

    calls, real = [], phantom.phantom_case

    def spy(seed, **options):
        calls.append((seed, options))
        return real(seed, **{k: v for k, v in options.items() if k != "anatomy"})

    monkeypatch.setattr(phantom, "phantom_case", spy)
    label_map = ball(tmp_path, "map.nii.gz")
    path = manifest(
        tmp_path,
        {"subject": "m", "contrast": "labels", "uri": "map.nii.gz"},
        {"contrast": "any", "subject": "p", "uri": "phantom:7?sigma=0.06&protocol=b&lesions=false&anatomy=m"},
    )
    case = read_manifest(path)[1]
    volume = load_case(case, sources=["T2w"], target="T1w", spacing=8)
    asked = dict(sources=("T2w",), target="T1w", sigma=0.06, protocol="b", lesions=False, anatomy=label_map)
    assert calls == [(7, asked | dict(spacing=8.0, shape=(24, 24, 24)))]
    assert volume.subject == "p" and volume.shape == (24, 24, 24)
    assert volume.sources == ("T2w",) and volume.contrast == "T1w" and volume.sigma == 0.06
    again = load_case(case, sources=["T2w"], spacing=8)
    assert again.target is None and (again.source == volume.source).all()


# --- contrasts under other names, and lesions


def test_a_contrast_is_found_under_its_other_name(tmp_path):
    rows = [
        {"contrast": name, "uri": ball(tmp_path, f"{name}.nii.gz", k + 1).name} for k, name in enumerate(("T1w", "MRA"))
    ]
    (case,) = read_manifest(manifest(tmp_path, *rows))
    volume = load_case(case, sources=("TOF",), target="T1w")
    assert volume.sources == ("TOF",) and volume.contrast == "T1w"
    assert load_case(case, sources=("MRA",)).sources == ("MRA",)
    with pytest.raises(InputError, match="has no FLAIR: choose among T1w, MRA"):
        load_case(case, sources=("TOF",), target="FLAIR")


def lesion(folder, values, affine):
    nib.save(nib.Nifti1Image(np.asarray(values, np.float32), affine), folder / "lesions.nii.gz")
    return {"contrast": "lesions", "uri": "lesions.nii.gz"}


def test_soft_lesions_are_cut_at_half_and_lie_in_the_mask(tmp_path):
    path = ball(tmp_path, "T1w.nii.gz")
    image = nib.load(path)
    soft = np.zeros(image.shape)
    soft[8:12, 8:12, 8:12], soft[9:11, 9:11, 9:11], soft[0, 0, 0] = 0.3, 0.8, 1.0
    (case,) = read_manifest(manifest(tmp_path, {"uri": "T1w.nii.gz"}, lesion(tmp_path, soft, image.affine)))
    with pytest.warns(Doubt, match="lesions.nii.gz holds fractions.*cut at 0.5"):
        volume = load_case(case, sources=["T1w"])
    wanted = np.zeros(image.shape, bool)
    wanted[9:11, 9:11, 9:11] = True
    assert np.array_equal(volume.lesions[0], wanted) and not volume.mask[0, 0, 0, 0]
    assert len([sentence for sentence in volume.doubts if "fractions" in sentence]) == 1
    numbered = np.where(soft == 0.8, 4, np.where(soft == 0.3, 2, 0))
    lesion(tmp_path, numbered, image.affine)
    volume = load_case(case, sources=["T1w"])
    assert volume.lesions.sum() == 64 and not volume.doubts, "parts of a tumour, with numbers"


@pytest.mark.parametrize("drawn_on", ["T1w", "FLAIR"])
def test_lesions_go_along_with_the_image_that_they_were_drawn_on(tmp_path, monkeypatch, drawn_on):
    """FLAIR on a grid of its own, the head shifted in it: what was drawn on it is carried as it is registered."""
    t1 = nib.load(ball(tmp_path, "T1w.nii.gz"))
    shift = np.eye(4)
    shift[:3, 3] = (14, 0, 7)  # mm: from T1w to the same place in FLAIR
    wide = np.pad(np.roll(t1.get_fdata(), (2, 0, 1), (0, 1, 2)), 1)
    affine = t1.affine.copy()
    affine[:3, 3] -= 7
    nib.save(nib.Nifti1Image(wide.astype(np.float32), affine), tmp_path / "FLAIR.nii.gz")
    drawn = np.zeros(t1.shape)
    drawn[8:11, 9:11, 10:12] = 1
    there = np.pad(np.roll(drawn, (2, 0, 1), (0, 1, 2)), 1)
    row = lesion(tmp_path, drawn if drawn_on == "T1w" else there, t1.affine if drawn_on == "T1w" else affine)
    rows = [{"contrast": name, "uri": f"{name}.nii.gz"} for name in ("T1w", "FLAIR")]
    (case,) = read_manifest(manifest(tmp_path, *rows, row))

    def prepared(paths, *, target, mask, spacing, subject, keep):
        assert set(paths) == {"T1w"} and target[0] == "FLAIR" and spacing == 7.0
        found = {"FLAIR": Registration(shift, metric=1.0, shift=15.7, rotation=0.0, overlap=1.0)}
        return SimpleNamespace(volume=conform(load_volume(paths, subject=subject), spacing), registrations=found)

    monkeypatch.setattr(module, "prepare", prepared)
    volume = load_case(case, sources=["T1w"], target="FLAIR", spacing=7.0)
    assert np.array_equal(volume.lesions[0], drawn > 0)


def test_lesions_on_no_images_grid_are_refused(tmp_path):
    image = nib.load(ball(tmp_path, "T1w.nii.gz"))
    elsewhere = np.diag([5.0, 5, 5, 1])
    (case,) = read_manifest(
        manifest(tmp_path, {"uri": "T1w.nii.gz"}, lesion(tmp_path, image.get_fdata() > 0, elsewhere))
    )
    with pytest.raises(InputError, match="on the grid of none of T1w: resample"):
        load_case(case, sources=["T1w"])


def test_lesions_come_along_to_other_voxels(tmp_path):
    image = nib.load(ball(tmp_path, "T1w.nii.gz"))
    drawn = np.zeros(image.shape)
    drawn[6:14, 6:14, 6:14] = 1
    (case,) = read_manifest(manifest(tmp_path, {"uri": "T1w.nii.gz"}, lesion(tmp_path, drawn, image.affine)))
    volume = load_case(case, sources=["T1w"], spacing=3.5)
    assert volume.lesions.shape == volume.mask.shape == (1, 40, 40, 40)
    assert volume.lesions.sum().item() == pytest.approx(8 * drawn.sum(), rel=0.05)


def test_local_files_are_those_of_this_machine(tmp_path):
    (case,) = read_manifest(manifest(tmp_path, {"uri": "a/b.nii.gz"}))
    assert case.local == [tmp_path / "a/b.nii.gz"]
    (made,) = read_manifest(manifest(tmp_path, {"contrast": "any", "uri": "phantom:1"}))
    assert made.local == [] and replace(made, subject="x").local == []
