"""Where things lie, in a checkout and in a wheel, and which commit a checkout is of."""

from __future__ import annotations

import subprocess

import pytest

from yoda_nb.data import fetch, places
from yoda_nb.data.manifest import locate, read_manifest


def test_a_checkout_has_its_files_beside_the_package():
    for path in (places.MANIFEST, places.CLAIMS, places.NOTEBOOKS):
        assert path.exists() and path.parent == places.CHECKOUT


def test_downloads_lie_beside_a_manifest_but_never_inside_the_package(tmp_path, monkeypatch):
    monkeypatch.delenv("YODA_NB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (case, *_) = read_manifest(places.MANIFEST, dataset="synthseg")
    image = case.images["labels"]
    _, path = locate(image, root=tmp_path)
    assert path.parent == tmp_path / "data"
    monkeypatch.setattr(fetch, "PACKED", tmp_path)
    _, path = locate(image, root=tmp_path)
    assert path.parent == tmp_path / "cache" / "yoda-nb" / "data"
    monkeypatch.setenv("YODA_NB_DATA", str(tmp_path / "mine"))
    _, path = locate(image, root=tmp_path)
    assert path.parent == tmp_path / "mine"


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """An empty folder that stands for the checkout, and a function that runs git in it."""
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return tmp_path, git


def test_the_commit_is_marked_where_files_differ_from_it(checkout):
    folder, git = checkout
    assert places.commit() is None, "no checkout"
    git("init", "-q")
    assert places.commit() is None, "no commit yet"
    (folder / "made").mkdir()
    for name in ("code.py", "made/table.csv"):
        (folder / name).write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    assert places.commit() == git("rev-parse", "HEAD")[:12]
    (folder / "made" / "table.csv").write_text("2")
    assert places.commit(["made"]) == git("rev-parse", "HEAD")[:12]
    assert places.commit() == git("rev-parse", "HEAD")[:12] + "-dirty"
    (folder / "code.py").write_text("2")
    assert places.commit(["made"]).endswith("-dirty")
