"""What is shipped against what the code gives now, and what a shipped table rests on."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb import study
from yoda_nb.errors import InputError
from yoda_nb.nets.models import has_card, shipped_file
from yoda_nb.study import shipping as shipped
from yoda_nb.systems.models import find_model, load_model
from yoda_nb.systems.table import get_system
from yoda_papers import WEIGHTS
from yoda_papers.ledger import evidence, rebuild, versions
from yoda_papers.ledger.canaries import compare
from yoda_papers.ledger.evidence import MAKERS, PLANNED, Study, read_shipped


@pytest.fixture(scope="module")
def first():
    return study.load_subjects(1)[0]


@pytest.fixture
def anew(monkeypatch):
    """Nothing shipped answers."""
    monkeypatch.setenv("YODA_NB_SHIPPED", "0")


@pytest.mark.parametrize("name", sorted(set(MAKERS) - PLANNED))
def test_a_shipped_table_is_whole_of_its_version_and_weights_and_says_where_it_is_from(name):
    table, about = read_shipped(name), evidence.index()[name]
    assert len(table) and not table.columns.duplicated().any()
    assert table.select_dtypes("number").notna().any().all()
    assert evidence.outdated(name) == ()
    assert {"sha256", "profile", "seed", "machine", "commit", "date", "weights", "version", "libraries"} <= set(about)
    assert f"commit {about['commit']}, {about['date']}" in evidence.basis(name)
    assert all(has_card(shipped_file(model)) for model in about["weights"])


def test_shipped_samples_are_what_the_code_gives(first, anew, monkeypatch):
    """Regression and two steps of DDIM of one subject, to what half precision leaves."""
    weights = load_model(find_model(first.sources, None, 3.0)).sha256
    for system, settings in (("yoda-regression", {}), ("yoda-ddim", {"n_steps": 2})):
        now = study.samples(first, system, **settings)
        monkeypatch.setenv("YODA_NB_SHIPPED", "1")
        then = shipped.find_shipped(first, get_system(system, **settings), 0, weights)
        monkeypatch.setenv("YODA_NB_SHIPPED", "0")
        assert then is not None, f"{system} {settings} is not shipped"
        assert (now - then)[:, first.mask].square().mean().sqrt() < 0.01


def test_shipped_scores_are_what_the_code_gives(first, anew):
    """One subject of the tables behind most verdicts, by the large and by a small model."""
    from yoda_nb.study import tables

    image = study.samples(first, "yoda-regression")[0]
    now = tables.score_table([first], {"regression": [image]}).query("sampler == 'regression'")
    then = read_shipped("samplers").query("subject == @first.subject and sampler == 'regression'")
    assert compare(now, then)[1] == ()

    image = study.samples(first, "yoda-regression", model="systems/yoda")[0]
    now = tables.score_table([first], {"x": [image]}).query("sampler == 'x' and reference == 'acquired'")
    then = read_shipped("benchmark").query(
        "subject == @first.subject and sampler == 'yoda-regression' and reference == 'acquired'"
    )
    assert len(then) == 1 and now.ssim.to_numpy() == pytest.approx(then.ssim.to_numpy(), abs=0.002)


FOUND = pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "n/a"]})
ABOUT = {"seconds": 1, "machine": "CPU m", "commit": "abc1234", "date": "2026-01-02"}


def test_a_changed_table_is_refused(empty_tables):
    evidence.ship("rician", FOUND, {}, ABOUT)
    back = read_shipped("rician")
    assert back.b.tolist() == ["x", "n/a"] and np.isnan(back.a[1])
    whole = (empty_tables / "rician.csv.gz").read_bytes()
    for blob in (gzip.compress(b"a,b\n2,x\n"), whole[:-9], b"a,b\n2,x\n", whole[:12] + b"\xff" * 12 + whole[24:]):
        (empty_tables / "rician.csv.gz").write_bytes(blob)
        with pytest.raises(InputError, match="not the table"):
            read_shipped("rician")
    (empty_tables / "rician.csv.gz").write_bytes(gzip.compress(gzip.decompress(whole), 1))
    assert read_shipped("rician").equals(back), "another compressor, the same table"


def test_a_shipped_table_tells_its_weights_and_version_and_fits_them(empty_tables):
    weights = {"systems/yoda": load_model("systems/yoda").sha256}
    evidence.ship("rician", FOUND, weights, ABOUT)
    about = evidence.index()["rician"]
    assert about["weights"] == weights and about["commit"] == "abc1234" and about["version"] == 1
    assert evidence.outdated("rician") == ()
    assert evidence.basis("rician") == "Shipped evidence (rician): CPU m, commit abc1234, 2026-01-02."


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"weights": {"systems/yoda": "another"}}, ("systems/yoda",)),
        ({"weights": {"systems/never-trained": "any"}}, ("systems/never-trained",)),
        ({"version": 2}, ("version",)),
    ],
    ids=["other weights", "no weights", "other version"],
)
def test_a_table_that_no_longer_fits_is_noticed(monkeypatch, change, found):
    about = ABOUT | {"weights": {}, "version": 1} | change
    monkeypatch.setattr(evidence, "index", lambda: {"rician": about})
    assert evidence.outdated.__wrapped__("rician") == found
    monkeypatch.setattr(evidence, "outdated", evidence.outdated.__wrapped__)
    assert evidence.basis("rician").endswith("OUTDATED: rician, by version or weights.")


def test_what_is_not_shipped_was_computed_in_this_run(empty_tables):
    evidence.ship("rician", FOUND, {}, ABOUT)
    assert evidence.basis("samplers") == evidence.basis() == "Computed in this run."
    for other in (Study("quick", 1), Study("tiny"), Study(fresh=True)):
        assert evidence.basis("rician", study=other) == "Computed in this run."


def test_a_notebook_of_the_profile_full_shows_its_own_study():
    assert Study.of_run("full", 3, "cpu") == Study("full", 3, "cpu")
    assert Study.of_run("quick", 3, "cpu") == Study.of_run("tiny", 1) == Study("quick", 0)


def test_a_raised_version_outdates_its_table_alone_until_it_is_made(empty_tables, tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "VERSIONS", tmp_path / "versions.json")
    versions.raises.cache_clear()
    for name in ("rician", "samplers"):
        evidence.ship(name, FOUND, {}, ABOUT)
    with pytest.raises(InputError, match="reason"):
        rebuild.bump("rician", " ")
    assert [rebuild.bump("rician", reason) for reason in ("other noise", "less bias")] == [2, 3]
    assert evidence.outdated("rician") == ("version",) and evidence.outdated("samplers") == ()
    first, last = versions.raises()["rician"]
    assert (first["reason"], last["reason"], last["version"]) == ("other noise", "less bias", 3)
    assert last["date"] and last["commit"]
    evidence.ship("rician", FOUND, {}, ABOUT)
    assert evidence.outdated("rician") == () and "(rician, version 3)" in evidence.basis("rician")
    assert [path.name for path in empty_tables.iterdir() if "lock" in path.name] == []
    versions.raises.cache_clear()


def test_other_libraries_are_a_note(monkeypatch):
    here = versions.libraries()
    assert here["torch"] == torch.__version__ and versions.other_libraries(here | {"torch": here["torch"] + "+x"}) == ""
    index = {name: {"libraries": {"torch": "1.0"}} for name in ("rician", "samplers")} | {"views": {"libraries": here}}
    monkeypatch.setattr(evidence, "index", lambda: index)
    told = f"rician, samplers made with torch 1.0 (here {here['torch']})"
    assert evidence.libraries_note("rician", "samplers", "views") == told


def test_what_is_shipped_is_small():
    folder = evidence.TABLES.parent
    files = [p for name in ("samples", "tables") for p in (folder / name).glob("*")]
    assert files and sum(p.stat().st_size for p in files) < 12e6
    weights = list(WEIGHTS.glob("*/*.safetensors"))
    large = {"zero-shot"}  # of YODA's full size, for scans at 1 mm
    assert weights and all(p.stat().st_size < (6e6 if p.parent.name in large else 1.5e6) for p in weights)
