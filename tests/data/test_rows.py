"""Rows of a manifest: what is read, and what is refused (R7)."""

from __future__ import annotations

import pytest
from manifests import URL, ball, manifest

from yoda_nb.data.manifest import check, load_case, read_manifest
from yoda_nb.data.rows import COLUMNS
from yoda_nb.errors import InputError

# reading


@pytest.mark.parametrize("form", [dict(encoding="utf-8-sig"), dict(newline="\r\n"), dict(columns=COLUMNS[::-1])])
def test_spreadsheet_flavours_are_read(tmp_path, form):
    (case,) = read_manifest(manifest(tmp_path, {"notes": "a, b"}, **form))
    assert case.subject == "s1" and case.images["T1w"].notes == "a, b"
    assert case.images["T1w"].sha256 is None and case.root == tmp_path


def test_unicode_names_are_one_subject_however_they_are_spelt(tmp_path):
    path = manifest(tmp_path, {"subject": "Zo\u00eb"}, {"subject": "Zoe\u0308", "contrast": "T2w"})
    (case,) = read_manifest(path)
    assert case.subject == "Zo\u00eb" and set(case.images) == {"T1w", "T2w"}


def test_unknown_dataset_or_split_names_those_there_are(tmp_path):
    path = manifest(tmp_path, {}, {"dataset": "e", "split": "test"})
    with pytest.raises(InputError, match="choose among d, e"):
        read_manifest(path, dataset="f")
    with pytest.raises(InputError, match="no split 'val' of e: choose among test"):
        read_manifest(path, dataset="e", split="val")


# refusing


PATHS = ("/etc/passwd", "../a.nii", "x/../../a.nii", "~/a.nii", "a\x00.nii", "C:\\a.nii", "x\\..\\a.nii", "n/a")
ADDRESSES = ("file:///etc/passwd", "http://x.org/a.nii", "FILE:a.nii", URL, "ftp://x.org/a.nii", "phantom:1")
BAD_CELLS = {
    "uri": (*PATHS, *ADDRESSES),
    "notes": ("=HYPERLINK(1)", " +1"),
    "source": ("-1",),
    "licence": ("@SUM(A1)",),
    "subject": ("a/b", "..", "a\u202eb"),
    "dataset": ("",),
    "split": ("training",),
    "sha256": ("abc", "git:" + "0" * 64, "0" * 40),
    "contrast": ("any",),
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, of in BAD_CELLS.items() for value in of])
def test_bad_cells_are_refused_with_their_line(tmp_path, column, value):
    path = manifest(tmp_path, {}, {"subject": "s2"}, {"subject": "s3", column: value})
    with pytest.raises(InputError, match="data_manifest.csv line 4: ") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


BAD_SETTINGS = ("sigmo=0.1", "sigma=2", "sigma=nan", "sigma", "sigma=0.1&sigma=0.2", "anatomy=nobody", "spacing=0")


@pytest.mark.parametrize("uri", ["", "-1", "x", "1?lesions=perhaps", *(f"1?{words}" for words in BAD_SETTINGS)])
def test_bad_phantoms(tmp_path, uri):
    with pytest.raises(InputError, match="line 2: "):
        read_manifest(manifest(tmp_path, {"contrast": "any", "uri": f"phantom:{uri}"}))


@pytest.mark.parametrize(
    "url",
    [
        "https://u:p@example.org/a.nii",
        "https:///a.nii",
        "https://example.org/",
        "https://example.org/..",
        "https://example.org/%2e%2e%2fa.nii",
    ],
)
def test_bad_urls(tmp_path, url):
    with pytest.raises(InputError, match="line 2: "):
        read_manifest(manifest(tmp_path, {"uri": url, "sha256": "0" * 64}))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([{}, {}], "line 3: d s1 already has T1w"),
        ([{}, {"contrast": "T2w", "split": "test"}], "line 3: subject s1 .*train and test"),
        ([{"contrast": "any", "uri": "phantom:1"}, {}], "line 3: phantom s1 has every contrast"),
        (
            [
                {"subject": "m", "split": "test", "contrast": "labels"},
                {"contrast": "any", "uri": "phantom:1?anatomy=m"},
            ],
            "line 3: anatomy m is in split test",
        ),
        (
            [{"subject": "s_ses-1"}, {"subject": "s_ses-2", "split": "test"}],
            "line 3: one person as s_ses-1 and s_ses-2 .*train and test",
        ),
        ([], "no rows"),
    ],
)
def test_rows_that_contradict_each_other(tmp_path, rows, complaint):
    with pytest.raises(InputError, match=complaint):
        read_manifest(manifest(tmp_path, *rows))


def test_same_subject_name_in_two_datasets_is_fine(tmp_path):
    assert len(read_manifest(manifest(tmp_path, {}, {"dataset": "e", "split": "test"}))) == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"dataset,subject\nd,s\n", b'"open\n'])
def test_files_that_are_no_manifest(tmp_path, content):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match="m.csv"):
        read_manifest(path)
    with pytest.raises(InputError, match="not a file"):
        read_manifest(tmp_path)


def test_missing_column_and_ragged_row(tmp_path):
    with pytest.raises(InputError, match="columns must be"):
        read_manifest(manifest(tmp_path, {}, columns=COLUMNS[:-1]))
    path = manifest(tmp_path, {})
    path.write_text(path.read_text() + "d,s2,train\n")
    with pytest.raises(InputError, match="line 3: 3 cells"):
        read_manifest(path)


def test_links_that_lead_out(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir(), outside.mkdir()
    ball(outside, "a.nii.gz")
    path = manifest(root, {"uri": "in/a.nii.gz"})
    (case,) = read_manifest(path)  # nothing there yet: a path like any other
    (root / "in").symlink_to(outside)
    with pytest.raises(InputError, match="line 2: .*leads out"):
        read_manifest(path)
    with pytest.raises(InputError, match="leads out"):  # the link was made after reading
        load_case(case, sources=["T1w"])
    (root / "in").unlink()
    (root / "in").symlink_to(root)  # a link that stays inside is fine
    ball(root, "a.nii.gz")
    assert load_case(read_manifest(path)[0], sources=["T1w"]).shape == (20, 20, 20)


@pytest.mark.parametrize("way", ["absolute", "dots", "link"])
def test_paths_out_of_the_folder_are_followed_if_the_user_says_so(tmp_path, way):
    root = tmp_path / "root"
    root.mkdir()
    file = ball(tmp_path, "a.nii.gz")
    (root / "link.nii.gz").symlink_to(file)
    uri = {"absolute": str(file), "dots": "../a.nii.gz", "link": "link.nii.gz"}[way]
    path = manifest(root, {"uri": uri}, {"uri": uri, "contrast": "labels", "subject": "m"})
    with pytest.raises(InputError, match="line 2: .*--trust-paths"):
        read_manifest(path)
    case, _ = read_manifest(path, trust_paths=True)
    assert load_case(case, sources=["T1w"]).shape == (20, 20, 20)
    assert check([case])[0]["status"] == "present"


@pytest.mark.parametrize("uri", ["~/a.nii", "file:///etc/passwd", "http://x.org/a.nii", "x\\a.nii", "n/a"])
def test_trust_in_paths_is_not_trust_in_everything(tmp_path, uri):
    with pytest.raises(InputError, match="line 2: "):
        read_manifest(manifest(tmp_path, {"uri": uri}), trust_paths=True)
