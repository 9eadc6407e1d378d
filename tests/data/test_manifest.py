"""The manifest: what it lists, what it refuses (R7), and how rows become volumes."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pooch
import pytest

from yoda_nb.data import checksums
from yoda_nb.data.checksums import git_blob
from yoda_nb.data.manifest import check, fetch, load_case, read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import COLUMNS
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256

GOOD = dict(
    dataset="d",
    subject="s1",
    split="train",
    contrast="T1w",
    uri="a.nii.gz",
    sha256="n/a",
    licence="CC0",
    source="made",
    notes="n/a",
)
URL = "https://example.org/files/map.nii.gz"


def manifest(folder, *rows, columns=COLUMNS, encoding="utf-8", newline="\n"):
    path = folder / "data_manifest.csv"
    with open(path, "w", encoding=encoding, newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator=newline, extrasaction="ignore")
        table.writeheader()
        table.writerows({**GOOD, **row} for row in rows)
    return path


def ball(folder, name, value=1.0):
    mm = (np.moveaxis(np.indices((20,) * 3), 0, -1) - 9.5) * 7
    inside = (mm**2).sum(-1) < 60**2
    data = inside * (np.indices(inside.shape)[0] + 50.0) * value
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([7.0, 7, 7, 1])), folder / name)
    return folder / name


# what is shipped


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
    cases = [case for case in read_manifest(MANIFEST) if case.dataset != "ms"]
    assert {row["status"] for row in check(cases, mirror=mirror)} == {"present", "generated"}


def test_what_is_in_the_mirror_of_the_patients_is_what_was_published(mirror):
    here = [path for path in (mirror / "ms").rglob("*.nii.gz")]
    if not here:
        pytest.skip("the mirror has no folder ms")
    rows = check(read_manifest(MANIFEST, dataset="ms"), mirror=mirror)
    found = {Path(row["where"]) for row in rows if row["status"] == "present"}
    assert {row["status"] for row in rows} <= {"present", "missing"}  # no file is another patient's of that name
    assert found == {path for path in here if path.name not in ("gt.nii.gz", "brainmask.nii.gz")}


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


BAD_CELLS = [
    ("uri", "/etc/passwd"),
    ("uri", "../a.nii"),
    ("uri", "x/../../a.nii"),
    ("uri", "~/a.nii"),
    ("uri", "a\x00.nii"),
    ("uri", "file:///etc/passwd"),
    ("uri", "http://x.org/a.nii"),
    ("uri", "FILE:a.nii"),
    ("uri", "C:\\a.nii"),
    ("uri", "x\\..\\a.nii"),
    ("uri", "n/a"),
    ("uri", URL),
    ("uri", "ftp://x.org/a.nii"),
    ("notes", "=HYPERLINK(1)"),
    ("notes", " +1"),
    ("source", "-1"),
    ("licence", "@SUM(A1)"),
    ("subject", "a/b"),
    ("subject", ".."),
    ("subject", "a\u202eb"),
    ("dataset", ""),
    ("split", "training"),
    ("sha256", "abc"),
    ("sha256", "git:" + "0" * 64),
    ("sha256", "0" * 40),
    ("contrast", "any"),
    ("uri", "phantom:1"),
]


@pytest.mark.parametrize(("column", "value"), BAD_CELLS)
def test_bad_cells_are_refused_with_their_line(tmp_path, column, value):
    path = manifest(tmp_path, {}, {"subject": "s2"}, {"subject": "s3", column: value})
    with pytest.raises(InputError, match="data_manifest.csv line 4: ") as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "phantom:",
        "phantom:-1",
        "phantom:x",
        "phantom:1?sigmo=0.1",
        "phantom:1?sigma=2",
        "phantom:1?sigma=nan",
        "phantom:1?sigma",
        "phantom:1?sigma=0.1&sigma=0.2",
        "phantom:1?anatomy=nobody",
        "phantom:1?spacing=0",
        "phantom:1?lesions=perhaps",
    ],
)
def test_bad_phantoms(tmp_path, uri):
    with pytest.raises(InputError, match="line 2: "):
        read_manifest(manifest(tmp_path, {"contrast": "any", "uri": uri}))


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


# fetching


def git_id(content: bytes) -> str:
    """What git would call a file of this content."""
    return "git:" + hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_a_blob_id_is_what_git_says(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 20_000)
    said = subprocess.run(["git", "hash-object", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert git_blob(tmp_path / "file") == "git:" + said.stdout.strip() == git_id(bytes(range(256)) * 20_000)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Downloads get the bytes in this list; a download without any is an offline machine."""
    content: list[bytes] = []
    monkeypatch.delenv("YODA_NB_DATA", raising=False)

    def download(url, output, _):
        if not content:
            from requests.exceptions import ConnectionError

            raise ConnectionError("no network")
        for k in range(0, len(content[0]), 1000):
            output.write(content[0][k : k + 1000])
            output.flush()

    monkeypatch.setattr(pooch, "HTTPDownloader", lambda: download)
    return content


@pytest.fixture(params=["sha256", "git"])
def remote(tmp_path, request):
    good = ball(tmp_path, "good.nii.gz").read_bytes()
    root = tmp_path / "root"
    root.mkdir()
    checksum = sha256(tmp_path / "good.nii.gz") if request.param == "sha256" else git_id(good)
    row = {"contrast": "T1w", "uri": URL, "sha256": checksum.upper()}
    return read_manifest(manifest(root, row))[0], good


def files_below(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_download_is_kept_and_used_again(served, remote):
    case, good = remote
    image = case.images["T1w"]
    served.append(good)
    path = fetch(image, root=case.root)
    assert path.read_bytes() == good and path.parent == case.root / "data"
    assert path.name == f"{image.sha256.removeprefix('git:')[:12]}-map.nii.gz"
    served.clear()
    assert fetch(image, root=case.root) == path
    assert load_case(case, sources=["T1w"], spacing=14).spacing == (14, 14, 14)


def test_cache_folder_from_the_environment(served, remote, tmp_path, monkeypatch):
    case, good = remote
    served.append(good)
    monkeypatch.setenv("YODA_NB_DATA", str(tmp_path / "cache"))
    assert fetch(case.images["T1w"], root=case.root).parent == tmp_path / "cache"


def test_wrong_download_is_refused_and_not_kept(served, remote):
    case, good = remote
    served.append(good + b"!")
    with pytest.raises(InputError, match="not kept"):
        fetch(case.images["T1w"], root=case.root)
    assert files_below(case.root) == ["data_manifest.csv"]
    assert check([case])[0]["status"] == "missing"


def test_a_server_does_not_decide_how_much_it_sends(served, remote, monkeypatch):
    case, good = remote
    served.append(good * 2)
    monkeypatch.setattr("yoda_nb.data.fetch.MOST", len(good))
    with pytest.raises(InputError, match=f"larger than {len(good)} bytes"):
        fetch(case.images["T1w"], root=case.root)
    assert files_below(case.root) == ["data_manifest.csv"]
    served[:] = [good]
    assert fetch(case.images["T1w"], root=case.root).read_bytes() == good


def test_a_cached_file_that_rotted_is_fetched_again(served, remote):
    case, good = remote
    served.append(good)
    path = fetch(case.images["T1w"], root=case.root)
    path.write_bytes(b"rotten")
    assert check([case])[0]["status"] == "wrong checksum"
    assert fetch(case.images["T1w"], root=case.root).read_bytes() == good


def test_offline_says_what_to_do(served, remote):
    case, _ = remote
    with pytest.raises(InputError, match="cannot download .*--mirror DIR"):
        fetch(case.images["T1w"], root=case.root)
    assert files_below(case.root) == ["data_manifest.csv"]


def test_mirror_is_searched_by_name_and_verified(served, remote, tmp_path):
    case, good = remote
    image = case.images["T1w"]
    mirror = tmp_path / "mirror"
    (mirror / "deep").mkdir(parents=True)
    with pytest.raises(InputError, match="no file map.nii.gz lies below"):
        fetch(image, root=case.root, mirror=mirror)
    (mirror / "map.nii.gz").write_bytes(b"another file of that name")
    with pytest.raises(InputError, match="map.nii.gz below .* none has the checksum"):
        fetch(image, root=case.root, mirror=mirror)
    assert check([case], mirror=mirror)[0]["status"] == "wrong checksum"
    (mirror / "deep/map.nii.gz").write_bytes(good)
    assert fetch(image, root=case.root, mirror=mirror) == mirror / "deep/map.nii.gz"
    assert files_below(case.root) == ["data_manifest.csv"]


def test_files_of_one_name_in_a_mirror_are_told_apart(served, tmp_path, monkeypatch):
    root, mirror = tmp_path / "root", tmp_path / "mirror"
    rows = []
    for k in (1, 2, 3):
        (mirror / f"p{k}").mkdir(parents=True)
        (mirror / f"p{k}" / "t1.nii.gz").write_bytes(b"%d" % k)
        uri = f"https://example.org/raw/p{k}/t1.nii.gz"
        rows.append({"subject": f"s{k}", "uri": uri, "sha256": git_id(b"%d" % k)})
    root.mkdir()
    cases = read_manifest(manifest(root, *rows))
    hashed, real = [], checksums.digest
    monkeypatch.setattr(checksums, "digest", lambda path, like: hashed.append(path) or real(path, like))
    found = [fetch(case.images["T1w"], root=root, mirror=mirror) for case in cases]
    assert found == hashed == [mirror / f"p{k}" / "t1.nii.gz" for k in (1, 2, 3)]  # the likeliest is tried first
    (mirror / "p2" / "t1.nii.gz").unlink()
    assert [row["status"] for row in check(cases, mirror=mirror)] == ["present", "missing", "present"]
    with pytest.raises(InputError, match="t1.nii.gz below .* none has the checksum"):
        fetch(cases[1].images["T1w"], root=root, mirror=mirror)
    (mirror / "p2" / "t1.nii.gz").write_bytes(b"cut")
    assert [row["status"] for row in check(cases, mirror=mirror)] == ["present", "wrong checksum", "present"]


def test_local_file_with_wrong_checksum_or_missing(tmp_path):
    (case,) = read_manifest(manifest(tmp_path, {"sha256": "0" * 64}))
    with pytest.raises(InputError, match="does not exist"):
        load_case(case, sources=["T1w"])
    ball(tmp_path, "a.nii.gz")
    with pytest.raises(InputError, match="checksum"):
        load_case(case, sources=["T1w"])
    assert check([case])[0]["status"] == "wrong checksum"
    assert os.path.exists(tmp_path / "a.nii.gz")  # the user's own file stays
    good = manifest(tmp_path, {"sha256": git_id((tmp_path / "a.nii.gz").read_bytes())})
    assert check(read_manifest(good))[0]["status"] == "present"


# loading


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
    from yoda_nb.data import phantom

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
    assert calls == [
        (
            7,
            dict(
                sources=("T2w",),
                target="T1w",
                sigma=0.06,
                protocol="b",
                lesions=False,
                anatomy=label_map,
                spacing=8.0,
                shape=(24, 24, 24),
            ),
        )
    ]
    assert volume.subject == "p" and volume.shape == (24, 24, 24)
    assert volume.sources == ("T2w",) and volume.contrast == "T1w" and volume.sigma == 0.06
    again = load_case(case, sources=["T2w"], spacing=8)
    assert again.target is None and (again.source == volume.source).all()


def test_check_covers_every_status(served, remote, tmp_path):
    case, _ = remote
    (case.root / "here.nii").write_bytes(b"x")
    path = manifest(
        case.root,
        {"subject": "here", "uri": "here.nii"},
        {"subject": "wrong", "uri": "here.nii", "sha256": "0" * 64},
        {"subject": "away", "uri": URL, "sha256": "0" * 64, "contrast": "labels"},
        {"subject": "p", "contrast": "any", "uri": "phantom:1"},
        {"subject": "q", "contrast": "any", "uri": "phantom:1?anatomy=away"},
    )
    status = {row["subject"]: row["status"] for row in check(read_manifest(path))}
    assert status == {"here": "present", "wrong": "wrong checksum", "away": "missing", "p": "generated", "q": "missing"}
