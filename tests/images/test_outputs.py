"""What may be written: never over what is read, and nothing into a study."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yoda_nb.errors import InputError
from yoda_nb.images.outputs import check_apart, check_outputs, same_file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scan, a link to it, a second name of it (a hard link), and a link to its folder."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/t1.nii.gz").write_bytes(b"scan")
    (tmp_path / "link.nii.gz").symlink_to("in/t1.nii.gz")
    os.link(tmp_path / "in/t1.nii.gz", tmp_path / "hard.nii.gz")
    (tmp_path / "elsewhere").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "out",
    [
        "in/t1.nii.gz",
        "link.nii.gz",
        "hard.nii.gz",
        "elsewhere/t1.nii.gz",
        "in/../in/t1.nii.gz",
        "in/./t1.nii.gz",
        "{}/in/t1.nii.gz",
    ],
)
@pytest.mark.parametrize("word", ["-o", "--qc", "--keep"])
def test_an_output_that_is_an_input_is_refused_by_name(folder, out, word):
    out = out.format(folder)
    outputs = {"-o": "made.nii.gz", "--qc": None, word: out}
    with pytest.raises(InputError, match="the T1w image itself.*choose another name") as said:
        check_outputs(outputs, {"the T2w image": "in/t2.nii.gz", "the T1w image": "in/t1.nii.gz", "--mask": None})
    assert str(said.value).startswith(f"{word} {Path(out)} ") and (folder / "in/t1.nii.gz").read_bytes() == b"scan"


def test_an_output_named_like_an_input_that_is_not_there_is_refused_too(folder):
    with pytest.raises(InputError, match="--mask itself"):
        check_outputs({"-o": "elsewhere/mask.nii"}, {"--mask": "in/mask.nii"})


@pytest.mark.parametrize("other", ["made.nii.gz", "./made.nii.gz", "in/../made.nii.gz", "{}/made.nii.gz"])
def test_two_outputs_of_one_name_are_refused(folder, other):
    with pytest.raises(InputError, match="--qc and -o are both .*choose two names"):
        check_outputs({"-o": "made.nii.gz", "--qc": other.format(folder)}, {})


def test_other_names_will_do(folder):
    check_outputs({"-o": "in/t1-made.nii.gz", "--qc": "q.html", "--keep": None}, {"the T1w image": "in/t1.nii.gz"})
    check_outputs({"-o": "link2.nii.gz"}, {"the T1w image": "in/t1.nii.gz", "the T2w image": None})
    assert sorted(path.name for path in folder.iterdir()) == ["elsewhere", "hard.nii.gz", "in", "link.nii.gz"]


def test_files_are_one_by_place_and_not_by_name(folder):
    assert same_file("link.nii.gz", "hard.nii.gz") and same_file("new", "in/../new")
    assert not same_file("in/t1.nii.gz", "in/t2.nii.gz")


# --- folders of results


BIDS = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-1/anat/sub-02_ses-1_T1w.nii.gz"]
TABLE = ["images/a.nii.gz", "more/b.nii.gz"]


INSIDE = ("study", "study/", "study/results", "study/sub-01", "study/derivatives-x", "study/derivatives/../sub-01")
APART = ("study/derivatives", "study/derivatives/yoda-nb", "linked/derivatives/yoda-nb", "results", ".")


@pytest.mark.parametrize(
    ("files", "out", "right"),
    [
        *((BIDS, out, False) for out in (*INSIDE, "linked", "linked/results")),
        *((BIDS, out, True) for out in APART),
        *((TABLE, out, False) for out in ("study", "linked", "study/images")),
        *((TABLE, out, True) for out in ("study/out", "results")),
        ([], "study", True),
    ],
)
@pytest.mark.parametrize("root", ["study", "linked"])
def test_results_lie_apart_from_the_study(tmp_path, monkeypatch, files, out, right, root):
    for file in files:
        (tmp_path / "study" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "study" / file).write_bytes(b"scan")
    (tmp_path / "study").mkdir(exist_ok=True)
    (tmp_path / "linked").symlink_to("study")
    monkeypatch.chdir(tmp_path)
    if right:
        check_apart(out, root, files)
        check_apart(out, root, [tmp_path / root / file for file in files])
        return
    with pytest.raises(InputError, match="only read: choose a folder of its own, such as") as said:
        check_apart(out, root, files, word="--out")
    assert str(said.value).startswith("--out ") and not (tmp_path / "derivatives").exists()
    proposed = str(said.value).rpartition("such as ")[2].rstrip(".")
    check_apart(proposed, root, files)


def test_links_of_git_annex_count_where_they_are_called(tmp_path):
    store = tmp_path / "study/.git/annex/objects/aa"
    store.mkdir(parents=True)
    (store / "MD5E-s4--x.nii.gz").write_bytes(b"scan")
    for file in BIDS:
        link = tmp_path / "study" / file
        link.parent.mkdir(parents=True)
        link.symlink_to(os.path.relpath(store / "MD5E-s4--x.nii.gz", link.parent))
    check_apart(tmp_path / "study/derivatives/mine", tmp_path / "study", BIDS)
    for out in ("study", "study/sub-01/anat", "study/out"):
        with pytest.raises(InputError, match="only read"):
            check_apart(tmp_path / out, tmp_path / "study", BIDS)


def test_a_table_whose_files_lie_elsewhere_may_have_results_beside_itself(tmp_path):
    (tmp_path / "store").mkdir()
    files = [tmp_path / "store/a.nii.gz"]
    check_apart(tmp_path / "table", tmp_path / "table", files)
    with pytest.raises(InputError, match="only read"):
        check_apart(tmp_path / "store", tmp_path / "table", files)
