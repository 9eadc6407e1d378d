"""What is shipped against what the code gives now, and what a shipped table rests on."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from yoda_nb import study
from yoda_nb.errors import InputError
from yoda_nb.nets.models import WEIGHTS
from yoda_nb.study import shipping as shipped
from yoda_nb.study.claims import evidence
from yoda_nb.study.claims.evidence import MAKERS, PLANNED, Study, read_shipped
from yoda_nb.systems.models import find_model, load_model
from yoda_nb.systems.table import get_system


@pytest.fixture(scope="module")
def first():
    return study.load_subjects(1)[0]


@pytest.fixture
def anew(monkeypatch):
    """Nothing shipped answers."""
    monkeypatch.setenv("YODA_NB_SHIPPED", "0")


@pytest.mark.parametrize("name", sorted(set(MAKERS) - PLANNED))
def test_a_shipped_table_is_whole(name):
    table = read_shipped(name)
    assert len(table) and not table.columns.duplicated().any()
    assert table.select_dtypes("number").notna().any().all()


def test_shipped_rician_table_is_what_the_code_gives():
    pd.testing.assert_frame_equal(MAKERS["rician"](Study()), read_shipped("rician"), rtol=1e-5)


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
    for column, tolerance in (("ssim", 0.002), ("psnr", 0.1), ("noise", 0.001)):
        assert now[column].to_numpy() == pytest.approx(then[column].to_numpy(), abs=tolerance)

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


def test_a_shipped_table_tells_its_weights_and_code_and_fits_them(empty_tables):
    weights = {"systems/yoda": load_model("systems/yoda").sha256}
    evidence.ship("rician", FOUND, weights, ABOUT)
    about = evidence.index()["rician"]
    assert about["weights"] == weights and about["commit"] == "abc1234" and len(about["code"]) == 64
    assert evidence.outdated("rician") == ()
    assert evidence.basis("rician") == "Shipped evidence (rician): CPU m, commit abc1234, 2026-01-02."


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"weights": {"systems/yoda": "another"}}, ("systems/yoda",)),
        ({"weights": {"systems/never-trained": "any"}}, ("systems/never-trained",)),
        ({"code": "another"}, ("code",)),
    ],
    ids=["other weights", "no weights", "other code"],
)
def test_a_table_that_no_longer_fits_is_noticed(monkeypatch, change, found):
    weights = change.get("weights", {})
    about = ABOUT | {"weights": weights, "code": evidence.code_behind("rician", weights)} | change
    monkeypatch.setattr(evidence, "index", lambda: {"rician": about})
    assert evidence.outdated.__wrapped__("rician") == found
    monkeypatch.setattr(evidence, "outdated", evidence.outdated.__wrapped__)
    assert evidence.basis("rician").endswith("STALE: rician no longer fit the code or weights.")


def test_what_is_not_shipped_was_computed_in_this_run(empty_tables):
    evidence.ship("rician", FOUND, {}, ABOUT)
    assert evidence.basis("samplers") == evidence.basis() == "Computed in this run."
    for other in (Study("quick", 1), Study("tiny"), Study(fresh=True)):
        assert evidence.basis("rician", study=other) == "Computed in this run."


def test_the_code_behind_a_table_is_that_of_the_papers_whose_weights_it_uses():
    mine, other = (evidence.code_behind("rician", weights) for weights in ({}, {"systems/bbdm": "any"}))
    assert mine != other, "a system of another paper takes part"
    one, two = (evidence.code_behind("rician", {name: "any"}) for name in ("systems/yoda", "tiny-t1w-t2w-flair"))
    assert one == two, "weights of one net and one paper"
    assert mine != evidence.code_behind("samplers", {})


def test_a_notebook_of_the_profile_full_shows_its_own_study():
    assert Study.of_run("full", 3, "cpu") == Study("full", 3, "cpu")
    assert Study.of_run("quick", 3, "cpu") == Study.of_run("tiny", 1) == Study("quick", 0)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - PLANNED))
def test_a_shipped_table_fits_the_code_and_the_weights(name):
    assert evidence.outdated(name) == ()


def test_a_stamp_needs_a_reason_and_leaves_tables_of_other_weights(empty_tables):
    weights = {"systems/yoda": load_model("systems/yoda").sha256}
    for name, used in (("rician", weights), ("samplers", {"systems/yoda": "another"})):
        evidence.ship(name, FOUND, used, ABOUT)
    entries = json.loads(evidence.INDEX.read_text())
    evidence.INDEX.write_text(json.dumps({k: v | {"code": "old"} for k, v in entries.items()}))
    for cached in (evidence.index, evidence.outdated):
        cached.cache_clear()
    with pytest.raises(InputError, match="reason"):
        evidence.restamp(" ", "2026-01-03")
    assert evidence.restamp("a name changed", "2026-01-03") == ["rician"]
    assert evidence.outdated("rician") == () and evidence.outdated("samplers") == ("code", "systems/yoda")
    assert evidence.index()["rician"]["restamped"] == {"date": "2026-01-03", "reason": "a name changed"}
    assert [path.name for path in empty_tables.iterdir() if "lock" in path.name] == []


def test_an_index_that_cannot_be_written_is_told_in_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "tables").write_text("no folder")
    monkeypatch.setattr(evidence, "INDEX", tmp_path / "tables" / "index.json")
    with pytest.raises(InputError, match="cannot be written") as error, evidence._index_lock():
        pass
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - PLANNED))
def test_every_shipped_table_says_where_it_is_from(name):
    about = evidence.index()[name]
    assert {"sha256", "profile", "seed", "machine", "commit", "date", "weights", "code"} <= set(about)
    assert f"commit {about['commit']}, {about['date']}" in evidence.basis(name)
    assert all((WEIGHTS / f"{model}.json").is_file() for model in about["weights"])


def test_what_is_shipped_is_small():
    folder = evidence.TABLES.parent
    files = [p for name in ("samples", "tables") for p in (folder / name).glob("*")]
    assert files and sum(p.stat().st_size for p in files) < 12e6
    weights = list(WEIGHTS.glob("*/*.safetensors"))
    large = {"zero-shot"}  # of YODA's full size, for scans at 1 mm
    assert weights and all(p.stat().st_size < (6e6 if p.parent.name in large else 1.5e6) for p in weights)
