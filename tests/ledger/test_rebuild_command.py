"""``yoda-nb rebuild``: says what it takes, refuses what there is not, and hands the rest to the library."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_papers.ledger import canaries, evidence, rebuild

shell = CliRunner()


def call(*words: object):
    return shell.invoke(app, ["rebuild", *map(str, words)])


@pytest.fixture
def called(monkeypatch):
    """What the library was asked for, by the name of its function; nothing is computed."""
    asked: dict[str, tuple] = {}

    def replace(target: str, result=()):
        name = target.rpartition(".")[2]

        def stand_in(*args, **kwargs):
            asked[name] = (args, kwargs)
            return result

        monkeypatch.setattr(target, stand_in)

    replace("yoda_nb.systems.train.train_systems", [{"title": "A model"}])
    replace("yoda_papers.yoda.ablations.trainings.train_ablations", [{"title": "A model"}])
    replace("yoda_papers.instruments.segmenter.train_segmenter", {"title": "S", "metrics": {"test": "good"}})
    replace("yoda_papers.instruments.noise_features.train_offline", {"name": "F"})
    replace("yoda_papers.instruments.tissue_features.train_tissue_net", {"name": "T"})
    replace("yoda_papers.ledger.rebuild.rebuild_evidence", ["rician"])
    replace("yoda_papers.ledger.rebuild.rebuild_samples", [])
    replace("yoda_papers.ledger.rebuild.remove_other_samples", [])
    replace("yoda_papers.ledger.measure.measure", {"rows": []})
    replace("yoda_papers.ledger.documents.write_documents", [])
    return asked


def test_evidence_that_fits_is_nothing_to_do(called, monkeypatch):
    monkeypatch.setattr(rebuild, "fits", lambda name: name != "rician")
    monkeypatch.setattr(evidence, "index", lambda: {"rician": {"seconds": 90, "machine": "a CPU"}})
    done = call("evidence", "--only", "rician,samplers")
    assert done.exit_code == 0, done.output
    first, last = done.stdout.splitlines()
    assert first == "Tables: 1 of 2 to make: about 2 min on a CPU" and last == "1 made"
    names, options = called["rebuild_evidence"]
    assert names == (["rician", "samplers"],) and options["force"] is False
    assert call("evidence", "--only", "samplers").stdout.startswith("Tables: 0 of 1 to make: nothing\n")
    assert "1 of unknown duration" in call("evidence", "--only", "samplers", "--force").stdout


def test_samples_that_fit_are_not_drawn(called, monkeypatch):
    class Planned:
        spec = rebuild.get_system("yoda-ddim", n_steps=8)

        def __init__(self, fits: bool):
            self.fits = fits

    plan = [Planned(True), Planned(False), Planned(False)]
    monkeypatch.setattr(rebuild, "shipped_samples", lambda groups: plan)
    done = call("samples")
    assert done.exit_code == 0 and done.stdout.startswith("Samples: 2 of 3 to draw"), done.output
    assert called["rebuild_samples"][0] == (plan[1:],) and called["rebuild_samples"][1]["device"] == "cpu"
    assert "remove_other_samples" in called
    called.clear()
    assert call("samples", "--only", "lessons", "--force").exit_code == 0
    assert called["rebuild_samples"][0] == (plan,) and "remove_other_samples" not in called


def test_systems_and_ablations_take_names_and_seeds(called, tmp_path):
    done = call("systems", "--only", "adm", "--only", "bbdm,cyclegan", "--out", tmp_path, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Models: 3 to train: about ")
    assert called["train_systems"] == ((["adm", "bbdm", "cyclegan"],), {"out": tmp_path, "device": "cpu", "jobs": 1})
    done = call("ablations", "--only", "base,eps", "--seeds", "0,1")
    assert done.stdout.startswith("Models: 4 to train: about "), done.output
    assert called["train_ablations"][1]["seeds"] == [0, 1]


def test_segmenter_features_and_figure_have_their_own_commands(called, tmp_path, monkeypatch):
    assert call("segmenter").stdout.splitlines()[-1] == "S: good"
    assert called["train_segmenter"][1]["command"] == "yoda-nb rebuild segmenter"
    assert call("segmenter", "--spacing", 1.5).exit_code == 0
    (path, config), options = called["train_segmenter"]
    assert path.stem == "segmenter-fine" and config.spacing == 1.5
    assert options["command"] == "yoda-nb rebuild segmenter --spacing 1.5"
    refused = call("segmenter", "--spacing", 2)
    assert refused.exit_code != 0 and "There is no segmenter of 2 mm" in refused.output
    assert call("features", "--only", "tissue").stdout.startswith("Models: 1 to train: ")
    assert "train_offline" not in called
    assert called["train_tissue_net"][1]["command"] == "yoda-nb rebuild features --only tissue"
    assert call("features").stdout.startswith("Models: 2 to train: ") and "train_offline" in called

    from matplotlib.figure import Figure

    monkeypatch.setattr("yoda_nb.figures.readme.readme_figure", lambda device: Figure())
    assert call("figure", "--docs", tmp_path).exit_code == 0 and (tmp_path / "figure1.png").stat().st_size > 100


def test_numbers_are_kept_beside_the_pages(called, tmp_path):
    done = call("numbers", "--docs", tmp_path, "--offline", "--subjects", 1)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "measured.json").read_text()) == {"rows": []}
    assert called["measure"][0] == (None, 1, True) and called["write_documents"][0] == (tmp_path,)


def test_results_stay_out_of_the_scans_that_are_read(called, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "t1.nii.gz").write_bytes(b"a scan")
    for out in (tmp_path, tmp_path / "scans"):
        done = call("real", "--mirror", tmp_path, "--out", out)
        assert done.exit_code == 2 and "--out" in done.stderr and "lies in the study" in done.stderr


def test_canaries_fail_where_a_number_moved(monkeypatch):
    monkeypatch.setenv("YODA_NB_BANK", "mine")
    monkeypatch.setattr(canaries, "left_out", lambda name: "" if name in ("rician", "views") else "no weights")
    outside: dict[str, tuple[str, ...]] = {"rician": (), "views": ()}
    monkeypatch.setattr(
        canaries, "recompute", lambda name, device: canaries.Canary(name, 3, {"ssim": 0.01}, outside[name], 1.0)
    )
    done = call("canaries", "--only", "rician,views,perception")
    assert done.exit_code == 0, done.output
    assert "perception: left out, no weights" in done.stdout and "rician: within" in done.stdout
    assert "ssim 0.01" in done.stdout and "torch" in done.stdout
    outside["views"] = ("ssim",)
    done = call("canaries")
    assert done.exit_code == 1 and "views: OUTSIDE" in done.stdout and "no: ssim" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evidence", "--only", "nosuch"), "no table 'nosuch'"),
        (("samples", "--only", "nosuch"), "no group of samples 'nosuch'"),
        (("systems", "--only", "nosuch"), "no training 'nosuch'"),
        (("ablations", "--only", "nosuch"), "no ablation 'nosuch'"),
        (("ablations", "--seeds", "x"), "'x'"),
        (("figure", "--docs", "nowhere"), "nowhere"),
        (("numbers", "--docs", "nowhere"), "nowhere"),
        *(
            ((what, "--device", "gpu"), "There is no device 'gpu' here: choose cpu")
            for what in ("evidence", "real", "samples", "systems", "ablations", "segmenter", "figure", "numbers")
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(words, says):
    done = call(*words)
    assert done.exit_code == 2 and done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert says in done.stderr and done.stdout == ""
