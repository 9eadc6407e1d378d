"""Public data sets as they lie in folders: whose file is whose, no person in two splits, and rows that can be read."""

from __future__ import annotations

import csv
import io
from collections import Counter

import pytest

from yoda_nb.data.layouts import LAYOUTS, SHARES, get_layout
from yoda_nb.data.manifest import load_case, read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import COLUMNS, person_of, read_rows
from yoda_nb.data.scan import participants, published, read_listing, scan, write_rows
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256

FOLDERS = {  # as the data sets are published: path -> subject and contrast, None for what is not wanted
    "bids": {
        "sub-01/anat/sub-01_T1w.nii.gz": ("sub-01", "T1w"),
        "sub-01/anat/sub-01_acq-3d_ce-gad_run-1_T1w.nii.gz": ("sub-01", "T1ce"),
        "sub-01/anat/sub-01_desc-brain_mask.nii.gz": ("sub-01", "mask"),
        "sub-01/anat/sub-01_label-lesion_mask.nii.gz": ("sub-01", "lesions"),
        "sub-02/ses-a/anat/sub-02_ses-a_FLAIR.nii": ("sub-02_ses-a", "FLAIR"),
        "sub-02/ses-b/anat/sub-02_ses-b_acq-x_PDw.nii.gz": ("sub-02_ses-b", "PDw"),
        "sub-02/ses-b/anat/sub-02_ses-b_angio.nii.gz": ("sub-02_ses-b", "MRA"),
        "sub-02/ses-b/anat/sub-01_ses-b_T2w.nii.gz": None,
        "sub-01/func/sub-01_task-rest_bold.nii.gz": None,
        "derivatives/x/sub-01/anat/sub-01_T2w.nii.gz": None,
    },
    "ixi": {
        "IXI-T1/IXI002-Guys-0828-T1.nii.gz": ("IXI002-Guys-0828", "T1w"),
        "IXI-T2/IXI002-Guys-0828-T2.nii.gz": ("IXI002-Guys-0828", "T2w"),
        "IXI-PD/IXI012-HH-1211-PD.nii.gz": ("IXI012-HH-1211", "PDw"),
        "IXI035-IOP-0873-MRA.nii.gz": ("IXI035-IOP-0873", "MRA"),
        "IXI-DTI/IXI002-Guys-0828-DTI-00.nii.gz": None,
    },
    "brats": {
        "BraTS2021_00000/BraTS2021_00000_t1.nii.gz": ("BraTS2021_00000", "T1w"),
        "BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz": ("BraTS2021_00000", "T1ce"),
        "BraTS2021_00000/BraTS2021_00000_seg.nii.gz": ("BraTS2021_00000", "lesions"),
        "MICCAI/BraTS20_Training_001/BraTS20_Training_001_flair.nii": ("BraTS20_Training_001", "FLAIR"),
        "x/BraTS-GLI-00008-000/BraTS-GLI-00008-000-t1n.nii.gz": ("BraTS-GLI-00008_ses-000", "T1w"),
        "x/BraTS-GLI-00008-001/BraTS-GLI-00008-001-t2f.nii.gz": ("BraTS-GLI-00008_ses-001", "FLAIR"),
        "x/BraTS-MEN-00004-000/BraTS-MEN-00004-000-t1c.nii.gz": ("BraTS-MEN-00004_ses-000", "T1ce"),
    },
    "gold-atlas": {
        "1_04_P/T2.nii.gz": ("1_04_P", "T2w"),
        "1_04_P/CT.nii.gz": ("1_04_P", "CT"),
        "all/3_01_P/CTdef.nii.gz": ("3_01_P", "CTdef"),
        "1_04_P/dose.nii.gz": None,
    },
    "synthrad": {
        "Task1/brain/1BA001/mr.nii.gz": ("1BA001", "T1w"),
        "Task1/brain/1BC087/ct.nii.gz": ("1BC087", "CT"),
        "1BC087/mask.nii.gz": ("1BC087", "mask"),
        "Task1/pelvis/1PA004/mr.nii.gz": ("1PA004", "MR"),
        "Task2/brain/2BA001/cbct.nii.gz": None,
    },
    "topcow": {
        "imagesTr/topcow_ct_001_0000.nii.gz": ("topcow-001", "CTA"),
        "imagesTr/topcow_mr_001_0000.nii.gz": ("topcow-001", "MRA"),
        "imagesTr/topcow_ct_whole_017_0000.nii.gz": ("topcow-017", "CTA"),
        "imagesTr/topcow_mr_whole_017_0000.nii.gz": ("topcow-017", "MRA"),
        "cow_seg_labelsTr/topcow_ct_001.nii.gz": None,
    },
    "kirby21": {
        "113/113-01-MPRAGE.nii.gz": ("113_ses-01", "T1w"),
        "113/113-02-FLAIR.nii.gz": ("113_ses-02", "FLAIR"),
        "849-T2w.nii.gz": ("849", "T2w"),
        "KKI2009-01-MPRAGE.nii.gz": ("KKI2009-01", "T1w"),
        "KKI2009-25-MPRAGE.nii": ("KKI2009-25", "T1w"),
        "113/113-01-DTI.nii.gz": None,
    },
    "open-ms": {
        "cross_sectional/MNI/patient07/T1_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz": (
            "cross-07",
            "T1w",
        ),
        "cross_sectional/MNI/patient07/T1POST_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz": (
            "cross-07",
            "T1ce",
        ),
        "cross_sectional/MNI/patient08/GOLD_STANDARD_N4_noneck_reduced_winsor_regtoFLAIR_regtoMNI.nii.gz": (
            "cross-08",
            "lesions",
        ),
        "cross_sectional/raw/patient07/T1W.nii.gz": None,
        "longitudinal/raw/patient01/study1_T1W.nii.gz": ("long-01_ses-1", "T1w"),
        "longitudinal/raw/patient01/study2_FLAIR.nii.gz": ("long-01_ses-2", "FLAIR"),
        "longitudinal/coregistered/patient01/study1_T1W.nii.gz": None,
        "longitudinal/raw/patient01/gt.nii.gz": None,
    },
    "nifti": {"s1/T1.nii.gz": ("s1", "T1w"), "s1/flair.nii.gz": ("s1", "FLAIR"), "s2/SWI.nii.gz": ("s2", "SWI")},
}
PATTERN = {"nifti": "{subject}/{contrast}.nii.gz"}


def fill(folder, paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def saved(rows, path):
    with open(path, "w", encoding="utf-8") as file:
        write_rows(rows, file)
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_becomes_a_manifest_that_can_be_read(tmp_path, name):
    layout = get_layout(name, PATTERN.get(name))
    wanted = {path: found for path, found in FOLDERS[name].items() if found}
    rows, left_out = scan(layout, fill(tmp_path, FOLDERS[name]))
    assert {row.uri: (row.subject, row.contrast) for row in rows} == wanted
    other = {path for path, found in FOLDERS[name].items() if not found}
    images = {
        path for path in other if path.endswith((".nii.gz", ".nii")) and not path.startswith((".", "derivatives"))
    }
    assert {one.path for one in left_out} == images and all(one.reason for one in left_out), "each is named, with why"
    assert all(row.sha256 == sha256(tmp_path / row.uri) for row in rows)
    cases = read_manifest(saved(rows, tmp_path / "manifest.csv"))  # which checks: no person in two splits
    assert {case.dataset for case in cases} == {layout.dataset or name}
    assert {(case.subject, k) for case in cases for k in case.images} == set(wanted.values())


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_says_where_it_comes_from(name):
    layout = LAYOUTS[name]
    assert layout.licence and layout.obtain and layout.source
    if layout.files and "..." not in layout.shape:
        assert all(layout.read(path) for path in layout.shape.split(", "))


def test_splits_follow_the_person_and_nobody_else():
    layout = LAYOUTS["ixi"]
    names = [f"IXI{k:03d}-Guys-0{k}" for k in range(600)]
    splits = {name: layout.split(name) for name in names}
    assert all(layout.split(f"{name}_ses-{day}") == split for name, split in splits.items() for day in "12")
    share = Counter(splits.values())
    assert all(abs(share[split] / 600 - wanted) < 0.06 for split, wanted in SHARES.items())
    assert splits["IXI002-Guys-02"] == "train"  # the same on every machine, for ever


def test_rescans_whose_names_do_not_tell_the_person_are_all_in_one_split(tmp_path):
    layout = LAYOUTS["kirby21"]
    fill(tmp_path, [f"KKI2009-{k:02d}-MPRAGE.nii.gz" for k in range(1, 43)])
    assert {row.split for row in scan(layout, tmp_path).rows} == {"test"}
    persons = {f"KKI2009-{k:02d}": f"p{(k - 1) % 21}" for k in range(1, 43)}  # a table that tells
    rows = scan(layout, tmp_path, persons=persons).rows
    assert len({row.person for row in rows}) == 21 and len({row.split for row in rows}) > 1
    read_manifest(saved(rows, tmp_path / "manifest.csv"))


def test_participants_decide_the_split_where_they_say_it(tmp_path):
    fill(tmp_path, FOLDERS["bids"])
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsplit\nsub-01\t30\tval\nsub-02\t40\ttest\n")
    rows = scan(LAYOUTS["bids"], tmp_path).rows
    assert {(row.person, row.split) for row in rows} == {("sub-01", "val"), ("sub-02", "test")}
    (tmp_path / "participants.tsv").write_text("participant_id\tsplit\nsub-01\tholdout\n")
    with pytest.raises(InputError, match="holdout"):
        participants(tmp_path)


def test_the_first_of_several_runs_is_taken_and_the_others_are_told(tmp_path):
    runs = [f"sub-01/anat/sub-01_run-{k}_T1w.nii.gz" for k in (2, 1)]
    rows, left_out = scan(LAYOUTS["bids"], fill(tmp_path, runs))
    assert [row.uri for row in rows] == runs[1:] and [one.path for one in left_out] == runs[:1]
    assert left_out[0].reason == f"a second T1w of sub-01: {runs[1]} is taken"


def test_a_manifest_elsewhere_has_absolute_paths(tmp_path):
    data, elsewhere = fill(tmp_path / "data", FOLDERS["nifti"]), tmp_path / "elsewhere"
    elsewhere.mkdir()
    rows = scan(get_layout("nifti", PATTERN["nifti"]), data, base=elsewhere).rows
    assert rows[0].uri == str(data / "s1/T1.nii.gz")
    path = saved(rows, elsewhere / "manifest.csv")
    with pytest.raises(InputError, match="--trust-paths"):
        read_manifest(path)
    assert len(read_manifest(path, trust_paths=True)) == 2
    below = scan(get_layout("nifti", PATTERN["nifti"]), data, base=tmp_path).rows
    assert below[0].uri == "data/s1/T1.nii.gz"


@pytest.mark.parametrize("name", ["ixi", "bids", "open-ms"])
def test_folders_with_nothing_of_the_kind(tmp_path, name):
    with pytest.raises(InputError, match="is not a folder"):
        scan(LAYOUTS[name], tmp_path / "nowhere")
    fill(tmp_path, ["T1.nii.gz", ".git/IXI002-Guys-0828-T1.nii.gz"])
    with pytest.raises(InputError, match=f"contains no image at the place that the layout {name} has it"):
        scan(LAYOUTS[name], tmp_path)


def test_patterns():
    read = get_layout("nifti", "{subject}/{session}/*_{contrast}.nii.gz").read
    assert read("a/2/x_T1.nii.gz")[:2] == ("a_ses-2", "T1w") and not read("a/x_T1.nii.gz")
    assert get_layout("nifti", "{subject}/{subject}-{contrast}.nii").read("a/a-ct.nii")[:2] == ("a", "CT")
    for bad in ("{subject}.nii.gz", "{subject}/{contrast}/{run}.nii.gz"):
        with pytest.raises(InputError, match="must hold"):
            get_layout("nifti", bad)
    for name, pattern in (("nifti", None), ("ixi", "{subject}/{contrast}.nii.gz")):
        with pytest.raises(InputError, match="--pattern"):
            get_layout(name, pattern)
    with pytest.raises(InputError, match="choose among bids, ixi"):
        get_layout("adni")


# the patients of the shipped manifest


@pytest.fixture(scope="module")
def patients():
    return [row for _, row in read_rows(MANIFEST) if row.dataset == "ms"]


def test_the_shipped_rows_are_those_of_the_layout(patients):
    layout = LAYOUTS["open-ms"]
    listing = {row.uri.removeprefix(layout.url): row.sha256 for row in patients}
    assert published(layout, listing) == patients
    assert Counter(row.contrast for row in patients if row.subject.startswith("cross")) == dict.fromkeys(
        ("T1w", "T1ce", "T2w", "FLAIR", "lesions"), 30
    )
    assert Counter(row.contrast for row in patients if row.subject.startswith("long")) == dict.fromkeys(
        ("T1w", "T2w", "FLAIR"), 40
    )
    persons = {row.person: row.split for row in patients}
    assert Counter(persons.values()) == {"train": 36, "val": 5, "test": 9}
    assert {persons[name] for name in ("cross-07", "cross-26", "long-01", "long-03")} == {"train"}
    assert len({person_of(row.subject) for row in patients}) == 50


def test_the_shipped_rows_are_what_the_repository_lists(patients, mirror):
    folder = mirror / "ms"
    if not (folder / "blobs.csv").is_file():
        pytest.skip("the mirror has no folder ms")
    assert published(LAYOUTS["open-ms"], read_listing(folder / "blobs.csv", folder / "SHA256SUMS")) == patients


def test_the_shipped_rows_of_ucsf_are_those_of_the_layout(mirror):
    if not (mirror / "ucsf").is_dir():
        pytest.skip("the mirror has no folder ucsf")
    found, left_out = scan(LAYOUTS["brats"], mirror / "ucsf", base=mirror)
    shipped = [row for _, row in read_rows(MANIFEST) if row.dataset == "ucsf"]
    files = lambda rows: {(row.subject, row.contrast, row.uri, row.sha256) for row in rows}  # noqa: E731
    assert files(found) == files(shipped) and not left_out and len(shipped) == 22


def test_a_patient_of_the_mirror_is_loaded(mirror):
    if not (mirror / "ms").is_dir():
        pytest.skip("the mirror has no folder ms")
    case = next(c for c in read_manifest(MANIFEST, dataset="ms") if c.subject == "cross-07")
    volume = load_case(case, sources=["T1w", "T2w"], target="FLAIR", mirror=mirror, spacing=4.0)
    assert volume.source.shape[0] == 2 and volume.target is not None and volume.mask.float().mean() > 0.1


def test_listings(tmp_path):
    path = "longitudinal/raw/patient01/study1_T1W.nii.gz"
    (tmp_path / "blobs.csv").write_text(f"path,git_blob_sha1\n{path},{'A' * 40}\nREADME.md,{'b' * 40}\n")
    assert read_listing(tmp_path / "blobs.csv")[path] == "git:" + "a" * 40
    (tmp_path / "SUMS").write_text(f"{'C' * 64}  ./{path}\n{'d' * 64}  other.nii\n")
    (row,) = published(LAYOUTS["open-ms"], read_listing(tmp_path / "blobs.csv", tmp_path / "SUMS"))
    assert row.sha256 == "c" * 64 and row.uri.endswith(f"4f20/{path}"[4:])
    with pytest.raises(InputError, match="no address"):
        published(LAYOUTS["ixi"], {})
    with pytest.raises(InputError, match="no column path, git_blob_sha1"):
        read_listing(tmp_path / "SUMS")
    with pytest.raises(InputError, match="cannot be read"):
        read_listing(tmp_path / "nowhere.csv")


def test_rows_are_written_as_they_are_shipped(patients):
    text = io.StringIO()
    write_rows(patients, text)
    header, *lines = text.getvalue().splitlines()
    assert header == ",".join(COLUMNS) and lines == MANIFEST.read_text(encoding="utf-8").splitlines()[-len(lines) :]
    assert next(csv.reader([lines[0]]))[0] == "ms"
