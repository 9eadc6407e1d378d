"""What is shipped is made again where it no longer fits, and left alone where it does."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.metrics.features import load_extractor
from yoda_nb.metrics.segmentation.net import load_segmenter
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.study import shipping
from yoda_papers.ledger import evidence, measure, rebuild
from yoda_papers.ledger.rebuild import Sample, fits, rebuild_evidence, rebuild_samples


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Two tables of the test's own, shipped into an empty folder: "upper" is made from "lower"."""
    values, made = {"lower": 1.0}, []

    def lower(study):
        load_extractor()
        made.append("lower")
        return pd.DataFrame({"x": [values["lower"], 1 / 3]})

    def upper(study):
        load_segmenter()
        made.append("upper")
        return study.table("lower") * 2

    def forget():
        evidence.index.cache_clear()
        evidence.outdated.cache_clear()

    monkeypatch.setattr(evidence, "TABLES", tmp_path)
    monkeypatch.setattr(evidence, "INDEX", tmp_path / "index.json")
    monkeypatch.setitem(evidence.MAKERS, "lower", lower)
    monkeypatch.setitem(evidence.MAKERS, "upper", upper)
    forget()
    yield values, made, forget
    forget()


def test_a_table_is_made_after_those_that_it_is_made_from(tables):
    _, made, _ = tables
    said = []
    assert rebuild_evidence(["upper"], say=said.append) == ["lower", "upper"]
    assert made == ["upper", "lower"]  # upper began, and asked for lower
    entry = evidence.index()["upper"]
    assert set(entry["weights"]) == {"features", "segmenter"} and set(evidence.index()["lower"]["weights"]) == {
        "features"
    }
    assert entry["tables"] == {"lower": evidence.index()["lower"]["sha256"]}
    assert {"machine", "libraries", "commit", "date", "seconds", "rows", "version", "subject"} <= set(entry)
    assert evidence.read_shipped("upper").x[1] == pytest.approx(2 * 0.3333333, abs=1e-12), "from lower as it is shipped"
    assert any(line.startswith("upper: 2 rows in ") for line in said)


def test_rows_of_more_trainings_are_put_to_those_that_are_there(tables, monkeypatch):
    """Of two trainings, of which the second comes later and the first's weights are gone by then."""
    trained = ["features"]

    def rows(study):
        new = [name for name in trained if name not in study.kept]
        for name in new:
            {"features": load_extractor, "segmenter": load_segmenter}[name]()
        return pd.DataFrame({"training": new, "x": [0.5] * len(new)})

    monkeypatch.setitem(evidence.MAKERS, "lower", rows)
    rebuild_evidence(["lower"], add=True)
    before = evidence.read_shipped("lower")
    trained[:] = ["features", "segmenter"]
    assert rebuild_evidence(["lower"], add=True) == ["lower"]
    table, entry = evidence.read_shipped("lower"), evidence.index()["lower"]
    assert list(table.training) == trained and set(entry["weights"]) == set(trained) and entry["rows"] == 2
    pd.testing.assert_frame_equal(table[:1], before)
    rebuild_evidence(["lower"], add=True)
    assert len(evidence.read_shipped("lower")) == 2, "nothing is put to it twice"
    whole = pd.DataFrame({"training": ["features"], "x": [0.25]})  # by a maker that knows nothing of what is kept
    monkeypatch.setitem(evidence.MAKERS, "lower", lambda study: whole)
    with pytest.raises(InputError, match="made as a whole"):
        rebuild_evidence(["lower"], add=True)
    assert len(evidence.read_shipped("lower")) == 2, "and it stays as it was"
    evidence.ship("lower", evidence.read_shipped("lower"), {"features": "0" * 64}, {})
    with pytest.raises(InputError, match="features is no longer"):
        rebuild_evidence(["lower"], add=True)


def test_what_fits_is_left_alone_and_what_does_not_is_made(tables):
    values, made, forget = tables
    rebuild_evidence(["lower", "upper"])
    made.clear()
    assert rebuild_evidence(["lower", "upper"]) == [] and made == []

    (evidence.TABLES / "lower.csv.gz").write_text("x\n7\n")  # damaged
    assert not fits("lower") and rebuild_evidence(["upper", "lower"]) == ["lower"], "the same table as before"

    values["lower"] = 5.0
    assert rebuild_evidence(["lower"], force=True) == ["lower"]
    assert not fits("upper"), "it is made from another lower"
    assert rebuild_evidence(["upper"]) == ["upper"] and evidence.read_shipped("upper").x[0] == 10

    evidence.ship("lower", evidence.read_shipped("lower"), {"features": "0" * 64}, {})
    assert rebuild_evidence(["lower"]) == ["lower"], "it was made by other weights"
    (evidence.TABLES / "index.json").unlink()
    forget()
    assert rebuild_evidence(["upper"]) == ["lower", "upper"]


def test_a_stopped_rebuild_goes_on_where_it_was(tables, monkeypatch):
    _, made, _ = tables

    def failing(study):
        study.table("lower")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(evidence.MAKERS, "upper", failing)
        with pytest.raises(KeyboardInterrupt):
            rebuild_evidence(["upper"])
    made.clear()
    assert rebuild_evidence(["upper"]) == ["upper"] and made == ["upper"]


def test_an_unknown_name_is_refused_before_anything_is_made(tables):
    with pytest.raises(InputError, match="no table 'nosuch'"):
        rebuild_evidence(["lower", "nosuch"])
    assert tables[1] == []
    with pytest.raises(InputError, match="choose among lessons, benchmark"):
        rebuild.shipped_samples(["nosuch"])


@pytest.fixture
def sample(tmp_path, monkeypatch):
    monkeypatch.setattr(shipping, "SAMPLES", [tmp_path / "samples"])
    volume = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    return Sample(volume, "yoda-ddim", "tiny-t1w-t2w-flair", {"n_steps": 2})


def test_samples_are_shipped_whole_and_found_again(sample):
    assert not sample.fits
    (path,) = rebuild_samples([sample], say=lambda line: None)
    assert path == sample.path and sample.fits
    assert path.name in (path.parent / shipping.SUMS).read_text()
    path.write_bytes(path.read_bytes()[:-1])
    assert not sample.fits


def test_files_that_nothing_asks_for_are_removed_once_the_others_are_there(sample, monkeypatch):
    other = Sample(sample.volume, "yoda-ddim", sample.model, {"n_steps": 3})
    rebuild_samples([sample, other], say=lambda line: None)
    monkeypatch.setattr(rebuild, "shipped_samples", lambda: [sample])
    assert rebuild.remove_other_samples() == [other.path]
    assert sample.fits and not other.path.exists()
    lines = (sample.path.parent / shipping.SUMS).read_text().splitlines()
    assert [line.partition("  ")[2] for line in lines] == [sample.path.name]


def test_every_shipped_sample_is_asked_for_and_there():
    wanted = {sample.path.name for sample in rebuild.shipped_samples()}
    assert wanted == {path.name for path in shipping.SAMPLES[0].glob("*.safetensors")}


def test_the_measured_numbers_are_of_every_dataset_and_target(monkeypatch):
    volumes = [phantom_case(seed, spacing=6.0, shape=(32, 32, 32)) for seed in (1, 2)]

    def drawn(volume, system, n_ex=1, **options):
        return torch.stack([volume.target + 0.01 * k for k in range(n_ex)])

    monkeypatch.setattr(measure, "load_subjects", lambda n, **which: volumes)
    monkeypatch.setattr(measure, "samples", drawn)
    found = measure.measure("somewhere", 1, say=lambda line: None)
    assert {"command", "machine", "commit", "date"} <= set(found)
    assert found["command"] == "yoda-nb rebuild numbers --subjects 1 --mirror DIR"
    kinds = {(row["dataset"], row["target"]) for row in found["regression"]}
    assert kinds == {(d, t) for d in ("phantom", "phantom-labels") for t in ("FLAIR", "T2w")}
    for row in found["regression"]:
        assert row["n"] == 2 and row["ssim_mean"] < 1 and row["psnr_std"] >= 0
    assert [row["dataset"] for row in found["samples"]] == ["phantom", "phantom-labels"]
    for row in found["samples"]:
        assert row["ratio"] == pytest.approx(1, abs=0.05) and 0 < row["bound"] <= 1 and row["expa10_ssim"] > 0.5
    assert {row["dataset"] for row in measure.measure(offline=True, say=lambda line: None)["regression"]} == {"phantom"}
