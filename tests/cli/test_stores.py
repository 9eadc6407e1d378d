"""``yoda-nb data`` as a user meets it: manifests of folders, layouts, paths that lead out."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.manifest import read_manifest

shell = CliRunner()


def call(*words: object):
    return shell.invoke(app, ["data", *(str(word) for word in words)])


@pytest.fixture
def ixi(tmp_path):
    for name in ("T1", "T2"):
        for person in ("IXI002-Guys-0828", "IXI012-HH-1211"):
            (tmp_path / f"IXI-{name}").mkdir(exist_ok=True)
            (tmp_path / f"IXI-{name}" / f"{person}-{name}.nii.gz").write_bytes(person.encode())
    return tmp_path


def test_a_scanned_folder_is_a_manifest_for_the_other_commands(ixi):
    out = ixi / "manifest.csv"
    done = call("scan", "ixi", ixi, "-o", out)
    assert done.exit_code == 0 and "4 volumes of 2 persons" in done.stdout
    assert len(read_manifest(out, dataset="ixi")) == 2
    for words in (("--dataset", "ixi"), ("ixi",)):
        rows = json.loads(call("check", *words, "--manifest", out, "--json").stdout)
        assert len(rows) == 4 and {row["status"] for row in rows} == {"present"}
    again = call("scan", "ixi", ixi, "-o", out)
    assert again.exit_code == 2 and "exists" in again.stderr
    printed = call("scan", "ixi", ixi)
    assert printed.stdout == out.read_text()
    assert len(json.loads(call("scan", "ixi", ixi, "--json", "--dataset", "mine").stdout)["rows"]) == 4


def test_paths_out_of_the_manifests_folder(ixi):
    (ixi / "elsewhere").mkdir()
    out = ixi / "elsewhere" / "manifest.csv"
    assert call("scan", "ixi", ixi, "-o", out).exit_code == 0
    for command in ("list", "check", "fetch"):
        refused = call(command, "ixi", "--manifest", out)
        assert refused.exit_code == 2 and "--trust-paths" in refused.stderr
        assert call(command, "ixi", "--manifest", out, "--trust-paths").exit_code == 0


def test_a_table_of_persons(ixi):
    (ixi / "persons.csv").write_text("subject,person\nIXI002-Guys-0828,p\nIXI012-HH-1211,p\n")
    rows = json.loads(call("scan", "ixi", ixi, "--persons", ixi / "persons.csv", "--json").stdout)["rows"]
    assert {row["subject"] for row in rows} == {"p_ses-IXI002-Guys-0828", "p_ses-IXI012-HH-1211"}
    assert len({row["split"] for row in rows}) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("scan", "adni", "."), "there is no layout 'adni'"),
        (("scan", "ixi"), "give the folder"),
        (("scan", "ixi", "nowhere"), "nowhere is not a folder"),
        (("scan", "ixi", "."), "contains no image"),
        (("scan", "nifti", "."), "--pattern"),
        (("scan", "ixi", ".", "--persons", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("dicom", "nowhere", "out"), ""),
    ],
)
def test_what_is_wrong_is_one_sentence(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2 and done.stderr.startswith("Error: ") and says in done.stderr
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_shipped_patients_are_one_dataset():
    rows = json.loads(call("list", "--dataset", "ms", "--json").stdout)
    assert len(rows) == 270 and {row["licence"] for row in rows} == {"CC-BY"}
