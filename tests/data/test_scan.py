"""What a scan of a folder leaves out: every image by name, with the reason and what to do."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.bids import scan_bids
from yoda_nb.data.layouts import get_layout
from yoda_nb.data.scan import LeftOut, participants, scan
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256

GOOD = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz"]
LEFT_OUT = {  # path -> essential words of the reason
    "sub-EMI_301/anat/sub-EMI_301_T1w.nii.gz": "sub-EMI_301 may hold only letters and digits in BIDS: rename",
    "sub-CC-7/anat/sub-CC-7_T1w.nii.gz": "sub-CC-7 may hold only letters and digits",
    "sub-01/ses-a_b/anat/sub-01_ses-a_b_T1w.nii.gz": "ses-a_b may hold only letters and digits",
    "sub-01/anat/sub-01_run-02_T2w.nii.gz": "a second T2w of sub-01: sub-01/anat/sub-01_T2w.nii.gz is taken",
    "sub-01/anat/sub-01_space-T1w_desc-synthetic_FLAIR.nii.gz": "a synthetic image",
    "sub-01/anat/sub-02_T1w.nii.gz": "does not begin with sub-01_",
    "sub-01/anat/sub-01_acq-x-y_T1w.nii.gz": "acq-x-y is not a BIDS entity",
    "sub-01/anat/sub-01_T2starw.nii.gz": "contrast T2starw is none that is read",
    "sub-01/anat/sub-01_FLAIR.nrrd": "not a NIfTI file: convert it",
    "sub-01/anat/sub-01_FLAIR.mgz": "not a NIfTI file: convert it",
    "sub-01/anat/sub-01_FLAIR.img": "not a NIfTI file: convert it",
    "sub-01/func/sub-01_task-rest_bold.nii.gz": "lies in no folder anat",
    "sub-01/sub-01_T1w.nii.gz": "lies in no folder",
    "T1w.nii.gz": "lies in no folder sub-NAME",
    "patient-3/anat/T1w.nii": "lies in no folder sub-NAME",
    "sub-04/anat/sub-04_T1w.nii.gz": "content that is not here: fetch it ('datalad get')",
    "sub-05/anat/sub-05_T1w.nii.gz": "only points to content that is not here",
    "sub-06/anat/sub-06_T1w.nii.gz": "is empty",
    "sub-07": "a link to a folder is not followed",
}
SILENT = [
    "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz",
    "sourcedata/sub-01/anat/T1w.nii.gz",
    ".git/annex/objects/aa/T1w.nii.gz",
    "sub-01/anat/.hidden_T1w.nii.gz",
    "sub-01/anat/sub-01_T1w.json",
    "README",
]


@pytest.fixture
def study(tmp_path):
    """One person whose images can be read, and all that cannot be."""
    root = tmp_path / "study"
    for name in (*GOOD, *LEFT_OUT, *SILENT):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "sub-07":
            path.symlink_to(tmp_path)
        elif "sub-04" in name:  # as git-annex leaves what was not fetched
            path.symlink_to("../../.git/annex/objects/zz/MD5E-s9--x.nii.gz")
        elif "sub-05" in name:
            path.write_text("/annex/objects/MD5E-s9--x.nii.gz\n")
        else:
            path.write_bytes(b"" if "sub-06" in name else b"voxels of " + name.encode())
    return root


def told(left_out):
    found = {one.path: one.reason for one in left_out}
    assert len(found) == len(left_out), "each once"
    return found


def test_every_image_that_is_left_out_is_named_with_the_reason(study):
    cases, left_out = scan_bids(study)
    assert [case.subject for case in cases] == ["sub-01"] and set(cases[0].images) == {"T1w", "T2w"}
    found = told(left_out)
    assert found.keys() == LEFT_OUT.keys()
    assert all(words in found[path] for path, words in LEFT_OUT.items()), found
    assert left_out == sorted(left_out) and not any("\n" in reason for reason in found.values())


def test_checksums_are_of_what_is_taken_alone(study):
    rows, left_out = scan(get_layout("bids"), study)
    assert {row.uri: row.sha256 for row in rows} == {path: sha256(study / path) for path in GOOD}
    assert told(left_out).keys() == LEFT_OUT.keys()


def test_a_folder_of_which_all_is_left_out_says_why(study):
    for path in GOOD:
        (study / path).unlink()
    (study / "sub-01/anat/sub-01_run-02_T2w.nii.gz").unlink()
    with pytest.raises(InputError, match="contains no image at the place that the layout bids") as said:
        scan_bids(study)
    assert "datalad get" in str(said.value) and "sub-CC-7" in str(said.value)


def test_folders_that_cannot_be_read_are_named(study, monkeypatch):
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(study / "sub-08")))
        yield str(study / "sub-01/anat"), [], ["sub-01_T1w.nii.gz"]

    monkeypatch.setattr("yoda_nb.data.scan.os.walk", walk)
    _, left_out = scan(get_layout("bids"), study)
    assert LeftOut("sub-08", "the folder cannot be read: Permission denied") in left_out


def test_other_layouts_name_what_they_leave_out_too(tmp_path):
    for name in ("s1/T1w.nii.gz", "s1/T2w.nrrd", "s2/T1w.nii.gz", "other.nii.gz", "s1/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if "s2" in name else b"voxels")
    rows, left_out = scan(get_layout("nifti", "{subject}/{contrast}.nii.gz"), tmp_path)
    assert [row.uri for row in rows] == ["s1/T1w.nii.gz"]
    found = told(left_out)
    assert found.keys() == {"s1/T2w.nrrd", "s2/T1w.nii.gz", "other.nii.gz"}
    assert "convert it" in found["s1/T2w.nrrd"] and "layout nifti" in found["other.nii.gz"]


@pytest.mark.parametrize("code", ["latin-1", "utf-16", "utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("split", [True, False])
def test_a_table_of_participants_in_any_code_of_letters(study, code, split):
    table = "participant_id\tdoctor\tsplit\nsub-01\tM\u00fcller\ttrain\n"
    if not split:
        table = "\n".join(line.rpartition("\t")[0] for line in table.splitlines())
    (study / "participants.tsv").write_bytes(table.encode(code))
    assert participants(study) == ({"sub-01": "train"} if split else {})
    cases, _ = scan_bids(study)
    assert cases[0].split == "train" if split else cases[0].split in ("train", "val", "test")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("name\tsplit\nsub-01\ttrain\n", "no column participant_id"),
        ("participant_id\tsplit\nsub-01\tx\n", "'x' is none of"),
    ],
)
def test_a_table_of_splits_that_is_wrong_is_told(study, table, says):
    (study / "participants.tsv").write_text(table)
    with pytest.raises(InputError, match=says):
        scan(get_layout("bids"), study)
    cases, left_out = scan_bids(study)  # which needs no splits
    assert cases and says.strip("'") in next(one.reason for one in left_out if one.path == "participants.tsv")


# --- as the shell says it


@pytest.fixture
def fast(monkeypatch):
    """Nothing is translated: the rows are what would be."""
    row = lambda case, worker=None, **how: {"subject": case.subject, "state": "made", "warnings": ["odd"]}  # noqa: E731
    monkeypatch.setattr("yoda_nb.scans.subjects.translate_subject", row)


def test_the_shell_names_all_that_was_left_out(study, tmp_path, fast):
    done = CliRunner().invoke(app, ["translate-all", str(study), "-o", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    found = {one["path"]: one["reason"] for one in document["left_out"]}
    assert found.keys() == LEFT_OUT.keys() and all(words in found[path] for path, words in LEFT_OUT.items())
    lines = done.stderr.splitlines()
    assert all(f"left out: {path}: {reason}" in lines for path, reason in found.items())
    assert "check this: sub-01: odd" in lines and [row["subject"] for row in document["done"]] == ["sub-01"]
