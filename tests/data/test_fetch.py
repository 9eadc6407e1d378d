"""Where the file of a row comes from: the folder, a mirror, a download that is kept; and whether it is the right one."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pooch
import pytest
from manifests import URL, ball, manifest

from yoda_nb.data import checksums
from yoda_nb.data.checksums import git_blob
from yoda_nb.data.manifest import check, fetch, load_case, read_manifest
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256


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
