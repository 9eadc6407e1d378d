"""BIDS in and out: subjects and visits as cases, and synthetic images that say what they are."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from volumes_by_hand import blob_volume

from yoda_nb.data.bids import (
    check_sidecar,
    derivative_path,
    entities,
    read_bids,
    read_sidecar,
    scan_bids,
    sidecar_of,
    write_derivative,
    write_sidecar,
)
from yoda_nb.data.manifest import load_case
from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.nifti import sha256

MADE = dict(system="yoda-regression", model="tiny", model_sha256="0" * 64, seed=3, settings={"n_steps": 20})


def image(path, scale=1.0):
    mm = (np.moveaxis(np.indices((20,) * 3), 0, -1) - 9.5) * 7
    inside = (mm**2).sum(-1) < 60**2
    data = inside * (np.indices(inside.shape)[0] + 50.0) * scale
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([7.0, 7, 7, 1])), path)
    return path


@pytest.fixture
def raw(tmp_path):
    """A folder of two persons, one of them seen twice."""
    root = tmp_path / "raw"
    for who in ("sub-01", "sub-02/ses-a", "sub-02/ses-b"):
        for k, name in enumerate(("acq-3d_T1w", "T2w", "FLAIR")):
            image(root / who / "anat" / f"{who.replace('/', '_')}_{name}.nii.gz", 1 + k)
    image(root / "sub-02/ses-b/anat/sub-02_ses-b_acq-se_T1w.nii.gz")
    (root / "participants.tsv").write_text("participant_id\tsplit\nsub-01\ttest\nsub-02\ttrain\n")
    return root


def test_subjects_and_visits_are_cases(raw):
    cases = {case.subject: case for case in read_bids(raw)}
    assert {name: case.split for name, case in cases.items()} == {
        "sub-01": "test",
        "sub-02_ses-a": "train",
        "sub-02_ses-b": "train",
    }
    assert all(set(case.images) == {"T1w", "T2w", "FLAIR"} for case in cases.values())
    chosen = cases["sub-02_ses-b"].images["T1w"]
    assert chosen.notes == "acq-3d" and chosen.uri == "sub-02/ses-b/anat/sub-02_ses-b_acq-3d_T1w.nii.gz"
    volume = load_case(cases["sub-01"], sources=["T1w", "T2w"], target="FLAIR")
    assert volume.subject == "sub-01" and volume.source.shape == (2, 20, 20, 20)


def test_images_behind_links_that_lead_out_need_trust(raw, tmp_path):
    store = image(tmp_path / "store" / "a.nii.gz")
    (raw / "sub-03/anat").mkdir(parents=True)
    (raw / "sub-03/anat/sub-03_T1w.nii.gz").symlink_to(store)
    with pytest.raises(InputError, match="sub-03.*--trust-paths"):
        read_bids(raw)
    assert len(read_bids(raw, trust_paths=True)) == 4


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (("01", None, "FLAIR"), "sub-01/anat/sub-01_space-T1w_desc-synthetic_FLAIR.nii.gz"),
        (("sub-01", "x", "FLAIR"), "sub-01/ses-x/anat/sub-01_ses-x_space-T1w_desc-synthetic_FLAIR.nii.gz"),
        (
            ("sub-01_ses-x", None, "T1ce", "v2"),
            "sub-01/ses-x/anat/sub-01_ses-x_ce-gadolinium_space-T1w_desc-v2_T1w.nii.gz",
        ),
        (("01", "ses-1", "CT", "s", "T2w"), "sub-01/ses-1/anat/sub-01_ses-1_space-T2w_desc-s_ct.nii.gz"),
    ],
)
def test_names_of_derivatives(tmp_path, given, path):
    made = derivative_path(tmp_path, *given)
    assert made == tmp_path / path
    read = entities(made)
    assert read["sub"] == "01" and list(read)[-1] == "suffix" and read.get("ses") in (None, "x", "1")


@pytest.mark.parametrize(
    "given", [("a-b", None, "FLAIR"), ("01", "1/..", "FLAIR"), ("01", None, "F_L"), ("", None, "T1w")]
)
def test_labels_that_bids_does_not_have(tmp_path, given):
    with pytest.raises(InputError, match="only letters and digits"):
        derivative_path(tmp_path, *given)


def test_entities_of_other_names():
    assert entities("sub-01_ses-2_T1w.nii") == {"sub": "01", "ses": "2", "suffix": "T1w"}
    for name in ("T1w.nii.gz", "patient_01_T1w.nii.gz"):
        with pytest.raises(InputError, match="not a BIDS name"):
            entities(name)


def test_a_synthetic_image_says_what_it_is(raw, tmp_path):
    out = raw / "derivatives" / "yoda-nb"
    case = read_bids(raw)[0]
    volume = load_case(case, sources=["T1w", "T2w"], target="FLAIR")
    files = {k: raw / case.images[k].uri for k in volume.sources}
    path = write_derivative(
        volume.target, volume, out, subject=case.subject, contrast="FLAIR", sources=files, raw=raw, **MADE
    )
    assert path == out / "sub-01/anat/sub-01_space-T1w_desc-synthetic_FLAIR.nii.gz"
    made = nib.load(path)
    assert made.shape == (20, 20, 20) and 0 <= made.get_fdata().min() < made.get_fdata().max() <= 1
    sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    first = "bids:raw:sub-01/anat/sub-01_acq-3d_T1w.nii.gz"
    assert sidecar["Sources"] == [first, "bids:raw:sub-01/anat/sub-01_T2w.nii.gz"]
    assert sidecar["SpatialReference"] == first and sidecar["SkullStripped"] is True and sidecar["Synthetic"] is True
    assert sidecar["SpacingMillimetres"] == [7, 7, 7] and sidecar["Settings"] == {"n_steps": 20}
    assert (sidecar["Model"], sidecar["ModelSHA256"], sidecar["Seed"]) == ("tiny", "0" * 64, 3)
    described = json.loads((out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative" and described["GeneratedBy"][0]["Name"] == "yoda-nb"
    assert described["DatasetLinks"] == {"raw": "../.."} and described["BIDSVersion"]
    assert len(read_bids(raw)) == 3  # what was made is no subject of the raw data
    assert sidecar["ImageSHA256"] == sha256(path) and made.header["descrip"].item().startswith(b"synthetic: FLAIR by")
    with pytest.raises(InputError, match="a synthetic image, not an acquired one"):
        read_bids(out)


def test_files_outside_a_data_set_are_named_without_their_folder(tmp_path):
    volume = blob_volume()
    path = write_derivative(
        volume.target, volume, tmp_path, subject="1", contrast="CT", sources={"T2w": tmp_path / "secret/t2.nii"}, **MADE
    )
    text = path.with_name(path.name.replace(".nii.gz", ".json")).read_text()
    assert json.loads(text)["Sources"] == ["t2.nii"] and "secret" not in text
    assert json.loads(text)["SpatialReference"] == "orig" and path.name.endswith("_space-T2w_desc-synthetic_ct.nii.gz")
    assert "DatasetLinks" not in json.loads((tmp_path / "dataset_description.json").read_text())


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ('{"Name": "x", "DatasetType": "raw"}', "is a raw data set"),
        ('{"Name": "x"}', "is a raw data set"),
        ("[", "cannot be read"),
    ],
)
def test_nothing_is_written_into_acquired_data(tmp_path, described, says):
    (tmp_path / "dataset_description.json").write_text(described)
    volume = blob_volume()
    with pytest.raises(InputError, match=says):
        write_derivative(volume.target, volume, tmp_path, subject="1", contrast="FLAIR", sources={"T1w": "a"}, **MADE)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_description.json"]


def test_settings_that_are_no_json_are_refused_before_anything_is_written(tmp_path):
    volume, made = blob_volume(), {**MADE, "settings": {"style": object()}}
    with pytest.raises(InputError, match="plain settings"):
        write_derivative(volume.target, volume, tmp_path, subject="1", contrast="FLAIR", sources={"T1w": "a"}, **made)
    assert not list(tmp_path.iterdir())


def test_more_of_the_sidecar_is_written_last_and_with_the_images_checksum(tmp_path):
    volume = blob_volume()
    given = {"subject": "1", "contrast": "FLAIR", "sources": {"T1w": "a.nii"}, "more": {"Warnings": ["odd"], "Seed": 9}}
    path = write_derivative(volume.target, volume, tmp_path, **MADE | given)
    said = read_sidecar(path)
    assert said["Warnings"] == ["odd"] and said["Seed"] == 9 and said["ImageSHA256"] == sha256(path)
    with pytest.raises(InputError, match="plain settings"):
        write_derivative(volume.target, volume, tmp_path / "b", **MADE | given | {"more": {"x": float("nan")}})
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.b.nii.gz", "a.mgz"])
def test_the_sidecar_of_an_image(tmp_path, name):
    image = tmp_path / name
    image.write_bytes(b"voxels")
    assert sidecar_of(image).name == name.removesuffix(".gz").removesuffix(".nii").removesuffix(".mgz") + ".json"
    assert read_sidecar(image) is None
    check_sidecar(image)
    write_sidecar(image, {"Synthetic": True})
    assert read_sidecar(image) == {"Synthetic": True, "ImageSHA256": sha256(image)}
    check_sidecar(image)


@pytest.mark.parametrize(
    "text", ['{"RepetitionTime": 2.3}', '{"Synthetic": false}', "[1]", "{", "", "\xff", "[" * 100_000]
)
def test_a_sidecar_of_another_image_is_not_replaced(tmp_path, text):
    (tmp_path / "t1.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="t1.json is there and is not of a synthetic image: choose another name"):
        check_sidecar(tmp_path / "t1.nii.gz")


def test_a_synthetic_image_among_acquired_ones_is_left_out_and_named(raw):
    other = image(raw / "sub-01/anat/sub-01_space-T1w_desc-synthetic_FLAIR.nii.gz")
    cases, left_out = scan_bids(raw)
    assert cases[0].images["FLAIR"].uri == "sub-01/anat/sub-01_FLAIR.nii.gz"
    assert {one.path: one.reason for one in left_out}[other.relative_to(raw).as_posix()].startswith("a synthetic image")
    with pytest.warns(Doubt, match="2 images were left out: .*_desc-synthetic_FLAIR.nii.gz"):
        read_bids(raw)


def test_derivatives_are_not_written_beside_images_of_others(raw):
    volume = blob_volume()
    with pytest.raises(InputError, match="holds images of others.*folder of its own"):
        write_derivative(volume.target, volume, raw, subject="9", contrast="FLAIR", sources={"T1w": "a"}, **MADE)
    assert not (raw / "dataset_description.json").exists() and not (raw / "sub-9").exists()
