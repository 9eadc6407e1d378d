"""``yoda-nb translate`` and ``prepare``: nothing read is overwritten, what is made says so, and doubts are told."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.images.headers import CAUTION
from yoda_nb.images.nifti import read_grid, sha256
from yoda_nb.phantoms.phantom import phantom_case


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@cache
def phantom():
    return phantom_case(7)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """T1w, T2w, FLAIR and mask of one person on one grid, in the working folder."""
    v = phantom()
    images = {**dict(zip(v.sources, v.source, strict=True)), "FLAIR": v.target[0], "mask": v.mask[0] * 2.0 - 1}
    for name, image in images.items():
        image = (300 * (image.numpy() + 1)).astype(np.int16)
        nib.save(nib.Nifti1Image(image, v.affine), tmp_path / f"{name}.nii.gz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """The net is not run: what is made is the first source, and the list says what was asked."""
    asked = []

    def translate(volume, system, **how):
        asked.append(how | {"system": system})
        return replace(volume, target=volume.source[:1], contrast=how["contrast"] or "FLAIR")

    monkeypatch.setattr("yoda_nb.systems.run.translate", translate)
    return asked


GIVEN = ("translate", "--t1", "T1w.nii.gz", "--t2", "T2w.nii.gz", "--mask", "mask.nii.gz")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- nothing read is overwritten


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("-o", "T1w.nii.gz"), "-o T1w.nii.gz is the T1w image itself"),
        (("-o", "./T2w.nii.gz"), "-o T2w.nii.gz is the T2w image itself"),
        (("-o", "mask.nii.gz"), "is --mask itself"),
        (("-o", "link.nii.gz"), "is the T1w image itself"),
        (("-o", "FLAIR.nii.gz", "--target", "FLAIR.nii.gz"), "is --target itself"),
        (("-o", "FLAIR.nii.gz", "--like", "FLAIR.nii.gz"), "is --like itself"),
        (("-o", "x.nii.gz", "--qc", "T2w.nii.gz"), "--qc T2w.nii.gz is the T2w image itself"),
        (("-o", "x.nii.gz", "--keep", "T1w.nii.gz"), "--keep T1w.nii.gz is the T1w image itself"),
        (("-o", "x.nii.gz", "--qc", "x.nii.gz"), "choose two names"),
        (("-o", "x.nii.gz", "--qc", "x.json"), "choose two names"),
    ],
)
def test_outputs_named_like_inputs_are_refused_before_anything_is_computed(files, quick, words, says):
    (files / "link.nii.gz").symlink_to("T1w.nii.gz")
    before = contents(files)
    done = call(*GIVEN, *words)
    assert done.exit_code == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.output
    assert "choose" in done.stderr and contents(files) == before and not quick


@pytest.mark.parametrize(
    "words", [("-o", "."), ("-o", "x", "--keep", "T1w.nii.gz"), ("-o", "T1w.nii.gz"), ("-o", "linked")]
)
def test_prepare_does_not_write_over_what_it_reads(files, words):
    (files / "linked").symlink_to(".")
    before = contents(files)
    done = call("prepare", *GIVEN[1:], "--spacing", 3, *words)
    assert done.exit_code == 2 and "choose" in done.stderr and done.stderr.count("\n") == 1, done.output
    assert contents(files) == before


@pytest.mark.parametrize(
    "words",
    [
        ("-o", "a" * 300 + ".nii"),
        ("-o", "folder.nii"),
        ("-o", "made.nii", "--qc", "."),
        ("-o", "made.nii", "--qc", "a" * 300 + ".html"),
        ("-o", "made.nii", "--mask", "a" * 300 + ".nii"),
    ],
    ids=lambda words: " ".join(words)[:24],
)
def test_names_that_cannot_be_written_or_read_are_one_sentence_before_anything_is_computed(files, quick, words):
    (files / "folder.nii").mkdir()
    before = contents(files)
    done = call(*GIVEN[:-2], *words)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1, (done.output, done.exception)
    assert contents(files) == before and not quick


@pytest.mark.parametrize("text", ['{"EchoTime": 0.09}', "no json"])
def test_the_json_of_an_acquired_image_is_never_overwritten(files, quick, text):
    (files / "made.json").write_text(text)
    done = call(*GIVEN, "-o", "made.nii.gz")
    assert done.exit_code == 2 and "made.json is there and is not of a synthetic image" in done.stderr
    assert (files / "made.json").read_text() == text and not (files / "made.nii.gz").exists() and not quick


def test_the_spread_lies_beside_the_image(files):
    done = call(*GIVEN, "-o", "made.nii.gz", "--spread", "spread.nii.gz", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["spread"] == "spread.nii.gz", done.output
    image, spread = nib.load(files / "made.nii.gz"), nib.load(files / "spread.nii.gz")
    assert spread.shape == image.shape and np.array_equal(spread.affine, image.affine)
    values = spread.get_fdata()
    assert values.min() == 0 and 0 < values[image.get_fdata() > 0].mean() < 0.2
    done = call(*GIVEN, "-o", "other.nii.gz", "--spread", "spread.nii.gz", "--system", "yoda-ddim")
    assert done.exit_code == 2 and "has no spread" in done.stderr and not (files / "other.nii.gz").exists()


# --- what is made says so


def test_an_image_says_that_it_is_synthetic_and_how_it_was_made(files, quick):
    done = call(*GIVEN, "-o", "made.nii.gz", "--seed", 3, "--json")
    assert done.exit_code == 0 and done.stderr == "", done.output
    document, said = json.loads(done.stdout), json.loads((files / "made.json").read_text())
    assert document["sidecar"] == "made.json" and document["warnings"] == said["Warnings"] == []
    assert said["Synthetic"] is True and said["Seed"] == 3 and said["Model"] == document["model"]
    assert said["ContentSHA256"] == {name: sha256(files / f"{name}.nii.gz") for name in ("T1w", "T2w")}
    assert said["ImageSHA256"] == sha256(files / "made.nii.gz") and len(said["ModelSHA256"]) == 64
    assert (said["Registered"], said["BrainTool"]) == (False, "")
    assert said["ModelTrainedOn"] and said["ModelLimits"] and said["Caution"] == CAUTION
    header = nib.load(files / "made.nii.gz").header
    assert (
        header["descrip"].item() == f"synthetic: FLAIR by yoda-nb, yoda-regression, {document['model']}".encode()[:79]
    )
    again = call(*GIVEN, "-o", "made.nii.gz", "--seed", 4)
    assert again.exit_code == 0 and json.loads((files / "made.json").read_text())["Seed"] == 4, (
        "its own JSON is replaced"
    )
    (doubt,) = read_grid(files / "made.nii.gz").doubts
    assert "is a synthetic image" in doubt
    shown = call("translate", "--t1", "made.nii.gz", "--t2", "T2w.nii.gz", "--mask", "mask.nii.gz", "-o", "next.nii.gz")
    assert shown.exit_code == 0 and "check this: made.nii.gz is a synthetic image" in shown.stderr


def test_doubts_are_on_stderr_in_json_in_the_sidecar_and_on_the_page(files, quick):
    swapped = ("translate", "--t1", "T2w.nii.gz", "--t2", "T1w.nii.gz")
    done = call(*swapped, "-o", "made.nii.gz", "--qc", "qc.html", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["warnings"]
    assert len(told) == 2 and all("exchanged" in sentence for sentence in told)
    assert done.stderr.splitlines() == [f"check this: {sentence}" for sentence in told]
    assert json.loads((files / "made.json").read_text())["Warnings"] == told
    page = (files / "qc.html").read_text()
    assert all(sentence in page for sentence in told)


# --- contrasts


@pytest.mark.parametrize(
    ("words", "wrong", "meant"),
    [
        (("--source", "T1=nowhere.nii", "--t2", "T2w.nii.gz"), "T1", "T1w"),
        (("--t1", "T1w.nii.gz", "--t2", "T2w.nii.gz", "--to", "FLAIRE"), "FLAIRE", "FLAIR"),
        (("--source", "tof=nowhere.nii", "--to", "CTA"), "tof", "TOF"),
    ],
)
def test_a_name_misspelt_is_told_before_files_are_read(files, quick, words, wrong, meant):
    done = call("translate", *words, "-o", "made.nii.gz")
    assert done.exit_code == 2 and done.stderr == f"Error: There is no contrast '{wrong}': did you mean {meant}?\n"
    assert not quick and not (files / "made.nii.gz").exists()


@pytest.mark.parametrize("words", [(), ("--to", "FLAIR"), ("--system", "unet")])
def test_no_image_at_all_is_told(files, quick, words):
    done = call("translate", *words, "-o", "made.nii.gz")
    assert done.exit_code == 2 and "no source image was given" in done.stderr, done.output


# --- content that is not here, and sizes


def test_memory_that_ran_out_is_one_sentence(files, quick, monkeypatch):
    def never(*_, **__):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr("yoda_nb.systems.run.translate", never)
    done = call(*GIVEN, "-o", "made.nii.gz")
    assert done.exit_code == 2 and "memory ran out (Unable to allocate 9 GiB)" in done.stderr
    assert not (files / "made.nii.gz").exists()
