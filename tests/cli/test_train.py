"""``yoda-nb train`` and what it learns from: what is trained, what is refused before anything slow."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.cli.train import _without_mirror
from yoda_nb.data.packs import read_about
from yoda_nb.data.rows import COLUMNS
from yoda_nb.systems.papers import TRAININGS
from yoda_papers.ledger.undecided import UNDECIDED

SMALL = ("--no-label-maps", "--spacing", 6, "--batch-size", 2, "--window", 32, "--phantoms", 1, "--steps", 1)


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def planned(*words: object) -> dict:
    done = call("train", "--dry-run", "--json", *words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_papers_nets_have_the_papers_sizes(tmp_path, monkeypatch):
    """YODA, III-D: 53 M parameters, and 214 M of the final model."""
    monkeypatch.chdir(tmp_path)
    found = {name: planned("--preset", name)["parameters"] for name in ("paper", "paper-large")}
    assert found == {"paper": 53_513_217, "paper-large": 213_882_881}
    assert "parameters: 53513217" in call("train", "--preset", "paper", "--dry-run").stdout.splitlines()
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"


def test_what_is_given_is_taken_zeros_too_and_what_is_not_the_papers_is_said():
    usual = planned()
    assert (usual["steps"], usual["batch_size"], usual["window"], usual["lr"]) == (10_000, 24, 48, 1e-3)
    assert (usual["ema"], usual["warmup"], usual["augment"], usual["flip"]) == (0.999, 200, 0.05, True)
    said = " ".join(usual["differences_from_paper"])
    assert all(name in said for name in ("net: ", "flip: True", "augment: 0.05", "warmup: 200", "batch_size: 24"))
    names = ("ema", "warmup", "augment", "lr", "lr_end", "structure", "lesions", "seed")
    zeros = planned(*(word for name in names for word in (f"--{name.replace('_', '-')}", 0)))
    assert [zeros[name] for name in names] == [0] * len(names)
    theirs = "--preset paper --no-flip --augment 0 --warmup 0 --lr 1e-4 --lr-end 1e-4 --batch-size 96 --window 160"
    (left,) = planned(*theirs.split())["differences_from_paper"]
    assert left.startswith("window: 160 here, whole slices")


def test_a_row_is_trained_as_it_is_but_for_what_is_given():
    config = TRAININGS["syndiff-long"].config
    found = planned("--row", "syndiff-long", "--steps", 125_000)
    assert found["steps"] == 125_000 and found["net"]["kind"] == config.net.kind and len(found["nets"]) == 8
    for name in ("lr", "lr_end", "batch_size", "window", "warmup", "ema", "augment", "schedule", "prediction", "seed"):
        assert found[name] == getattr(config, name), name
    assert planned("--row", "yoda-x4-seed3")["seed"] == 3
    ct = planned("--row", "yoda-ct-x12", "--regression", "--ema", 0.5)
    assert (ct["sources"], ct["target"], ct["spacing"], ct["regression"]) == (["T1w"], "CT", 2.0, True)
    assert ct["ema"] == 0.5 and ct["lr"] == TRAININGS["yoda-ct-x12"].config.lr


@pytest.mark.parametrize("key", sorted(UNDECIDED))
def test_what_would_decide_a_claim_is_a_command_that_can_be_run(key):
    for words in re.findall(r"yoda-nb train ([^(),.]*?)(?= on | likewise|[(),.])", UNDECIDED[key]):
        found = planned(*words.split())
        if row := found["row"]:
            assert found["batch_size"] == TRAININGS[row].config.batch_size


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--row bbdm --sources T1w", "Row bbdm begins at its source number 2: name at least 2 sources"),
        ("--row selfrdb --sources T1w", "Row selfrdb begins at its source number 2"),
        ("--row adm --preset paper", "leave out the preset paper"),
        ("--row bbdm --schedule cosine", "leave schedule out"),
        ("--preset huge", "'huge' is unknown"),
        ("--schedule wavy", "no schedule 'wavy'"),
        ("--predict noise", "prediction 'noise'"),
        ("--threads 0", "--threads 0 is not a number of threads: give 1 or more"),
        ("--threads -3", "--threads -3"),
        ("--steps 0", "steps 0"),
        ("--batch-size 0", "batch_size 0"),
        ("--lr nan", "lr nan"),
        ("--ema 1", "ema 1"),
        ("--window 50", "window 50 must be a multiple of 8"),
        ("--phantoms 0", "phantoms 0"),
        ("--spacing 0", "spacing 0"),
        ("--sources T1w,FLAIR", "FLAIR is named twice"),
        ("--device gpu", "There is no device 'gpu' here"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_with_and_without_a_run(words, says, tmp_path):
    kept = ["--out", tmp_path / "run", "--save", tmp_path / "x.safetensors"]
    for more in (["--dry-run"], kept):
        done = call("train", *words.split(), *more)
        assert done.exit_code == 2 and done.stderr.startswith("Error: ") and says in done.stderr, done.output
        assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_folder_of_mirror_is_not_recorded():
    words = ["train", "--mirror", "/my/home", "--mirror=/my/home", "--out", "run"]
    assert _without_mirror(words) == ["train", "--mirror", "DIR", "--mirror=DIR", "--out", "run"]


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Packs of a manifest of one person to train, one to validate and two to test, whose images are spoilt."""
    folder = tmp_path_factory.mktemp("study")
    people = {"anna": "train", "bert": "val", "cora": "test", "dora": "test"}
    rows = [f"mine,{name},{split},any,phantom:{k},n/a,n/a,n/a,n/a" for k, (name, split) in enumerate(people.items())]
    (folder / "m.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    done = call(
        "data", "pack", "mine", "--manifest", folder / "m.csv", "--spacing", 6, "-o", folder / "packs", "--json"
    )
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert {row["subject"]: row["split"] for row in made} == people
    assert {row["subject"]: read_about(row["file"]).split for row in made} == people
    for row in made:
        if row["split"] == "test":
            with safe_open(row["file"], "np") as file:
                said = file.metadata()
            save_file({"values": np.zeros(3), "mask": np.zeros(3)}, row["file"], said)
    return folder / "packs"


def test_packs_train_as_their_splits_say_and_the_card_tells(packs, tmp_path):
    kept = ["--out", tmp_path / "run", "--save", tmp_path / "x.safetensors"]
    done = call("train", "--packs", packs, *SMALL, *kept, "--json")
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "x.json").read_text())
    assert card["people"] == {"train": ["anna"], "val": ["bert"], "test_not_opened": 2}
    told = card["training"]["data"]
    assert told == (
        "1 volumes of 1 people (anna); validated on 1 of 1 people; not opened: packs of 2 people for testing"
    )
    assert json.loads(done.stdout)["people"] == card["people"] and f"trains on {told}" in done.stderr.splitlines()
    assert "validation" in (tmp_path / "run" / "log.jsonl").read_text()


def test_nothing_that_is_read_is_written_over(packs, tmp_path):
    before = {path.name: path.read_bytes() for path in packs.iterdir()}
    one, model = packs / "anna.pack.safetensors", tmp_path / "mine.safetensors"
    wrong = [
        (["--out", packs, "--save", model], "--out"),
        (["--out", tmp_path / "run", "--save", one], "the pack anna.pack.safetensors itself"),
        (["--out", tmp_path / "run", "--save", tmp_path / "no" / "x.safetensors"], "in a folder that exists"),
    ]
    for words, says in wrong:
        done = call("train", "--packs", packs, *SMALL, *words)
        assert done.exit_code == 2 and says in done.stderr and done.stderr.count("\n") == 1, done.output
    assert call("train", *SMALL, "--preset", "micro", "--out", tmp_path / "run", "--save", model).exit_code == 0
    again = call(
        *("train", *SMALL, "--preset", "micro", "--initial", model, "--out", tmp_path / "next", "--save", model)
    )
    assert again.exit_code == 2 and "--initial itself, which would be lost" in again.stderr
    assert {path.name: path.read_bytes() for path in packs.iterdir()} == before


def test_packs_are_not_written_into_a_study(tmp_path):
    rows = [f"mine,sub-1,train,{k},sub-1/anat/{k}.nii.gz,n/a,n/a,n/a,n/a" for k in ("T1w", "FLAIR")]
    (tmp_path / "m.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    for out in (tmp_path, tmp_path / "sub-1", tmp_path / "sub-1" / "anat"):
        done = call("data", "pack", "mine", "--manifest", tmp_path / "m.csv", "-o", out)
        assert done.exit_code == 2 and "whose files are only read" in done.stderr
    done = call("data", "dicom", tmp_path, tmp_path / "sub" / "..")
    assert done.exit_code == 2 and "the folder of the DICOM files itself" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]
