"""The shell as a user meets it: results, one-sentence errors, nothing half-written."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.images.volumes import save_image
from yoda_nb.phantoms.phantom import phantom_case

shell = CliRunner()
TRAIN = ("train", "--no-label-maps", "--spacing", 6, "--batch-size", 2, "--window", 32)


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


def _sources(subject):
    """The files of the phantom's sources and mask, as words."""
    return ["--t1", subject / "t1.nii.gz", "--t2", subject / "t2.nii.gz", "--mask", subject / "mask.nii.gz"]


def _kept(folder):
    """Where a training keeps its run and its model, as words."""
    return ["--out", folder / "run", "--save", folder / "mine.safetensors"]


def test_translate_writes_the_grid_it_read_and_scores_against_a_target(subject, tmp_path):
    out = tmp_path / "made.nii.gz"
    target = ["--target", subject / "flair.nii.gz"]
    done = call("translate", *_sources(subject), *target, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["contrast"] == "FLAIR" and document["evaluations"] == 3
    assert document["scores"]["data_range"] == 1 and document["scores"]["ssim"] > 0.7
    made, source = nib.load(out), nib.load(subject / "t1.nii.gz")
    assert made.shape == source.shape and np.allclose(made.affine, source.affine)
    assert made.get_fdata().min() >= 0 and made.get_fdata().max() <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made.json", "made.nii.gz"]


def test_the_other_direction_and_other_samplers(subject, tmp_path):
    files = ["--flair", subject / "flair.nii.gz", "--t1", subject / "t1.nii.gz", "--mask", subject / "mask.nii.gz"]
    sampler = ["--system", "yoda-expa", "--n-ex", 2, "--n-steps", 2, "--jump-to", -1]
    done = call("translate", *files, *sampler, "-o", tmp_path / "t2.nii", "--json")
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
        ({"--system": "bbdm", "--jump-to": "3"}, "jump_to"),
        ({"--system": "bbdm", "--set": "slice_size=3"}, "slice_size"),
        ({"--system": "unet", "--style": "average"}, "style"),
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


def test_train_makes_a_model_that_translate_takes(subject, tmp_path):
    done = call(*TRAIN, "--phantoms", 1, "--steps", 2, *_kept(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["training"]["steps"] == 2 and card["spacing_mm"] == 6 and "MNI152" in card["training"]["data"]
    model = ["--model", tmp_path / "mine.safetensors"]
    done = call("translate", *_sources(subject), *model, "-o", tmp_path / "out.nii.gz")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("row", ["adm", "bbdm", "cyclegan", "selfrdb"])
def test_a_row_of_the_table_is_trained_on_other_data_and_run_by_its_system(row, subject, tmp_path):
    done = call(*TRAIN, "--row", row, "--phantoms", 2, "--steps", 1, *_kept(tmp_path), "--json")
    assert done.exit_code == 0, done.output
    system = ["--system", row, "--model", tmp_path / "mine.safetensors"]
    steps = [] if row == "cyclegan" else ["--n-steps", 2]
    done = call("translate", *_sources(subject), *system, *steps, "-o", tmp_path / "out.nii.gz")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "says"), [(("--row", "nonsense"), "nonsense"), (("--row", "cyclegan", "--phantoms", 1), "two volumes")]
)
def test_a_row_that_cannot_be_trained_says_why(words, says, tmp_path):
    done = call(*TRAIN, "--steps", 1, *_kept(tmp_path), *words)
    assert done.exit_code == 2 and says in done.stderr.splitlines()[-1]


def test_any_setting_can_be_given_as_a_word(subject, tmp_path):
    words = ["translate", *_sources(subject), "--set"]
    done = call(*words, "views=2", "--set", "aggregate=false", "-o", tmp_path / "a.nii.gz", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["evaluations"] == 1
    done = call(*words, "wiews=2", "-o", tmp_path / "b.nii.gz")
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


def test_claims_say_what_they_rest_on(monkeypatch):
    done = call("claims", "Y02", "Y20")
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:1] == "Y"] == ["Y02", "Y20"]
    (first, second) = json.loads(call("claims", "Y02", "Y20", "--json").stdout)
    assert first["shipped"] == ["rician"] and second["basis"].startswith("Shipped evidence (")

    from yoda_papers.ledger import evidence
    from yoda_papers.ledger import findings as ledger

    for module in (evidence, ledger):
        monkeypatch.setattr(module, "outdated", lambda name: ("version",) if name == "rician" else ())
    first, second = [line for line in call("claims", "Y02", "Y20").stdout.splitlines() if line[:1] == "Y"]
    assert " (OUTDATED)  " in first and "OUTDATED" not in second


def test_a_class_is_served_by_a_process_that_takes_this_ones_place(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("os.execve", lambda *words: started.append(words))
    monkeypatch.setattr("yoda_nb.report.classroom.address", lambda: "192.0.2.7")
    done = call("class", "--port", 9001)
    ((program, command, environment),) = started
    assert program == command[0] and "--port=9001" in command and environment["OMP_NUM_THREADS"]
    token = environment["YODA_NB_CLASS_TOKEN"]
    assert done.exit_code == 0 and f"http://192.0.2.7:9001/?token={token} " in done.stdout
    assert not any(token in word for word in command), "others see a process's words"
    assert "http://127.0.0.1:9001/ " in call("class", "--port", 9001, "--ip", "127.0.0.1").stdout
    done = call("class", "--folder", tmp_path)
    assert done.exit_code == 2 and "contains no notebook" in done.stderr
