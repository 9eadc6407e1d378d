"""The shell as a user meets it: results, one-sentence errors, nothing half-written."""

from __future__ import annotations

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.phantom import phantom_case
from yoda_nb.images.volumes import save_image

shell = CliRunner()


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """Files of one phantom: T1w, T2w, FLAIR and its mask."""
    folder = tmp_path_factory.mktemp("subject")
    volume = phantom_case(5, spacing=4.0, shape=(48, 48, 48))
    images = {"t1": volume.source[:1], "t2": volume.source[1:], "flair": volume.target, "mask": volume.mask * 2.0 - 1}
    for name, image in images.items():
        save_image(image.float(), volume, folder / f"{name}.nii.gz")
    return folder


def call(*words: object):
    return shell.invoke(app, [str(word) for word in words])


def test_translate_writes_the_grid_it_read_and_scores_against_a_target(subject, tmp_path):
    out = tmp_path / "made.nii.gz"
    done = call(
        "translate",
        "--t1",
        subject / "t1.nii.gz",
        "--t2",
        subject / "t2.nii.gz",
        "--target",
        subject / "flair.nii.gz",
        "--mask",
        subject / "mask.nii.gz",
        "-o",
        out,
        "--json",
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["contrast"] == "FLAIR" and document["evaluations"] == 3
    assert document["scores"]["data_range"] == 1 and document["scores"]["ssim"] > 0.7
    made, source = nib.load(out), nib.load(subject / "t1.nii.gz")
    assert made.shape == source.shape and np.allclose(made.affine, source.affine)
    assert made.get_fdata().min() >= 0 and made.get_fdata().max() <= 1
    assert [p.name for p in tmp_path.iterdir()] == ["made.nii.gz"]


def test_the_other_direction_and_other_samplers(subject, tmp_path):
    done = call(
        "translate",
        "--flair",
        subject / "flair.nii.gz",
        "--t1",
        subject / "t1.nii.gz",
        "--system",
        "yoda-expa",
        "--n-ex",
        2,
        "--n-steps",
        2,
        "--jump-to",
        -1,
        "--mask",
        subject / "mask.nii.gz",
        "-o",
        tmp_path / "t2.nii",
        "--json",
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["contrast"] == "T2w" and json.loads(done.stdout)["evaluations"] == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"--t2": "nowhere.nii.gz"}, "nowhere.nii.gz"),
        ({"--t2": "cut.nii.gz"}, "cut.nii.gz"),
        ({"--t2": "."}, ""),
        ({"--system": "yoda-magic"}, "yoda-magic"),
        ({"--n-ex": "0"}, "n_ex"),
        ({"--n-steps": "5000"}, "n_steps"),
        ({"--model": "none"}, "none"),
        ({"--to": "CT"}, "CT"),
        ({"-o": "made.png"}, "made.png"),
        ({"-o": "no/folder/made.nii.gz"}, "folder"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_leaves_no_file(change, says, subject, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.nii.gz").write_bytes((subject / "t2.nii.gz").read_bytes()[:5000])
    options = {
        "--t1": subject / "t1.nii.gz",
        "--t2": subject / "t2.nii.gz",
        "--mask": subject / "mask.nii.gz",
        "-o": "made.nii.gz",
    } | change
    done = call("translate", *(word for pair in options.items() for word in pair))
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert "Traceback" not in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["cut.nii.gz"]


def test_a_flipped_bit_in_a_gzip_stream_is_refused(subject, tmp_path):
    data = bytearray((subject / "t2.nii.gz").read_bytes())
    data[-6] ^= 1  # the checksum's own bytes
    (tmp_path / "bad.nii.gz").write_bytes(data)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(bytes(data))
    done = call("translate", "--t1", subject / "t1.nii.gz", "--t2", tmp_path / "bad.nii.gz", "-o", tmp_path / "x.nii")
    assert done.exit_code == 2 and "bad.nii.gz" in done.stderr and not (tmp_path / "x.nii").exists()


def test_train_makes_a_model_that_translate_takes(subject, tmp_path):
    words = [
        "train",
        "--no-label-maps",
        "--phantoms",
        1,
        "--spacing",
        6,
        "--steps",
        2,
        "--batch-size",
        2,
        "--window",
        32,
        "--out",
        tmp_path / "run",
        "--save",
        tmp_path / "mine.safetensors",
        "--json",
    ]
    done = call(*words)
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["training"]["steps"] == 2 and card["spacing_mm"] == 6 and "MNI152" in card["training"]["data"]
    done = call(
        "translate",
        "--t1",
        subject / "t1.nii.gz",
        "--t2",
        subject / "t2.nii.gz",
        "--mask",
        subject / "mask.nii.gz",
        "--model",
        tmp_path / "mine.safetensors",
        "-o",
        tmp_path / "out.nii.gz",
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("row", ["adm", "bbdm", "cyclegan", "selfrdb"])
def test_a_row_of_the_table_is_trained_on_other_data_and_run_by_its_system(row, subject, tmp_path):
    words = [
        "train",
        "--row",
        row,
        "--no-label-maps",
        "--phantoms",
        2,
        "--spacing",
        6,
        "--steps",
        1,
        "--batch-size",
        2,
        "--window",
        32,
        "--out",
        tmp_path / "run",
        "--save",
        tmp_path / "mine.safetensors",
        "--json",
    ]
    done = call(*words)
    assert done.exit_code == 0, done.output
    steps = [] if row == "cyclegan" else ["--n-steps", 2]
    done = call(
        "translate",
        "--t1",
        subject / "t1.nii.gz",
        "--t2",
        subject / "t2.nii.gz",
        "--mask",
        subject / "mask.nii.gz",
        "--system",
        row,
        "--model",
        tmp_path / "mine.safetensors",
        *steps,
        "-o",
        tmp_path / "out.nii.gz",
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "says"), [(("--row", "nonsense"), "nonsense"), (("--row", "cyclegan", "--phantoms", 1), "two volumes")]
)
def test_a_row_that_cannot_be_trained_says_why(words, says, tmp_path):
    done = call(
        "train",
        "--no-label-maps",
        "--spacing",
        6,
        "--window",
        32,
        "--steps",
        1,
        "--out",
        tmp_path / "run",
        "--save",
        tmp_path / "mine.safetensors",
        *words,
    )
    assert done.exit_code == 2 and says in done.stderr.splitlines()[-1]


def test_any_setting_can_be_given_as_a_word(subject, tmp_path):
    files = ["--t1", subject / "t1.nii.gz", "--t2", subject / "t2.nii.gz", "--mask", subject / "mask.nii.gz"]
    done = call(
        "translate", *files, "--set", "views=2", "--set", "aggregate=false", "-o", tmp_path / "a.nii.gz", "--json"
    )
    assert done.exit_code == 0 and json.loads(done.stdout)["evaluations"] == 1
    done = call("translate", *files, "--set", "wiews=2", "-o", tmp_path / "b.nii.gz")
    assert done.exit_code == 2 and "wiews" in done.stderr and not (tmp_path / "b.nii.gz").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("systems",),
        ("data", "list"),
        ("data", "list", "phantom"),
        ("data", "check"),
        ("bank", "list"),
        ("bank", "clear"),
    ],
)
def test_json_is_one_document_and_nothing_else(words):
    done = call(*words, "--json")
    assert done.exit_code == 0 and done.stderr == ""
    assert json.loads(done.stdout) is not None
    assert call(*words).stdout.strip()


def test_data_fetch_takes_a_mirror(mirror):
    done = call("data", "fetch", "synthseg", "--mirror", mirror, "--json")
    assert done.exit_code == 0 and len(json.loads(done.stdout)) == 12
