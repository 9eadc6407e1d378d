"""The claims on real scans: who judges whom, what is asked, and how it stands beside the ledger, on small made volumes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from volumes_by_hand import blob_volume

from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.images import evaluate
from yoda_nb.nets import models
from yoda_nb.study.real import along_line, straight_line
from yoda_nb.study.subjects import get_profile
from yoda_nb.systems.run import translate
from yoda_papers.ledger import draws, evidence, real, rebuild_real, scans
from yoda_papers.ledger.documents import ledger_tables
from yoda_papers.ledger.findings import check_findings, find, said_of_scans
from yoda_papers.yoda import budgets, systems_on_scans

SMALL = {"initial": "tiny-t1w-t2w-flair", "steps": 1, "window": 8, "batch_size": 1, "device": "cpu"}


@pytest.fixture
def people(monkeypatch) -> list[Volume]:
    """Two visits of one person and three more people, of whom two have lesions; the tests' few steps."""
    monkeypatch.setattr(scans, "SETTINGS", get_profile("tiny"))
    monkeypatch.setattr(scans, "SLAB_MM", 60.0)  # of 3 mm
    monkeypatch.setattr(draws, "DRAWS", 5)
    names = ("long-01_ses-1", "long-01_ses-2", "cross-07", "cross-26", "long-03_ses-2")
    rng = np.random.default_rng(0)
    volumes = []
    for k, name in enumerate(names):
        v = blob_volume((20, 22, 20))
        target = torch.where(v.mask, v.target + torch.from_numpy(rng.normal(0, 0.05, v.target.shape)).float(), -1.0)
        volumes.append(replace(v, subject=name, target=target, clean=None, lesions=v.lesions if k in (2, 3) else None))
    return volumes


def test_each_half_is_judged_by_a_model_of_the_other(people, tmp_path):
    models = real.leave_half_out(people, tmp_path, say=str, **SMALL)
    assert list(models) == ["long-01", "cross-07", "cross-26", "long-03"]
    assert models["long-01"] == models["cross-26"] != models["cross-07"] == models["long-03"]
    for person, path in models.items():
        card = json.loads(path.with_suffix(".json").read_text())
        assert person not in card["training"]["data"] and "2 people" in card["training"]["data"]
        assert not card["regression_only"]
    study = scans.on_scans(people, models, "cpu")
    assert [v.subject for v in study.own] == ["long-01_ses-1", "cross-07", "cross-26", "long-03_ses-2"]
    assert all(v.sigma is not None and v.shape[2] <= round(scans.SLAB_MM / v.spacing[2]) for v in study.own)
    (image,) = study.samples(study.own[1], "yoda-regression")
    made = translate(study.own[1], "yoda-regression", model=str(models["cross-07"]), device="cpu")
    assert torch.equal(image, made.target), "by the model that never saw them, not by the shipped one that fits best"


def test_noise_and_contrast_are_ratios_to_the_acquired_image(monkeypatch):
    rows = [
        {"subject": s, "sampler": sampler, "noise": noise * (1 + k), "share": share if k < 2 else np.nan}
        for k, s in enumerate("abc")
        for sampler, noise, share in (("acquired", 0.04, 1.0), ("diffusion", 0.044, 0.5), ("regression", 0.01, 0.6))
    ]
    monkeypatch.setattr(scans.OnScans, "table", lambda self, name: pd.DataFrame(rows))
    (noise,) = scans.noise_of_acquired(scans.OnScans())
    assert (noise.value, noise.n, noise.verdict) == (pytest.approx(0.1), 3, "reproduced")
    regression, diffusion = scans.contrast_of_acquired(scans.OnScans())
    assert (regression.value, regression.n) == (pytest.approx(-40), 2)
    assert (diffusion.value, diffusion.verdict) == (pytest.approx(-10), "reproduced")


def test_the_tables_stand_beside_the_ledger(people, empty_tables, tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild_real, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path / "weights", *models.FOLDERS])
    monkeypatch.setattr(real, "patients", lambda mirror: people)
    assert not scans.there() and find(["Y02"], study=evidence.Study("tiny"))[0].on_scans is None
    tables = rebuild_real.rebuild_scans(tmp_path, say=str, **SMALL)
    assert scans.there() and set(tables) == set(real.SCANNED)
    assert {"diffusion-a.json", "diffusion-b.json"} == {p.name for p in (tmp_path / "weights" / "folds").iterdir()}
    assert "truth" not in set(tables["samplers"].sampler), "nobody knows the truth of a real scan"
    assert set(tables["samplers"].subject) == {"long-01_ses-1", "cross-07", "cross-26", "long-03_ses-2"}
    for claim, effects in scans.EFFECTS.items():
        found = effects(scans.OnScans())
        assert found and all(e.n in (2, 4) for e in found), claim
    asked = find(["Y02"], study=evidence.Study("tiny"))
    assert asked[0].on_scans is None and said_of_scans(asked[0]) == ""
    monkeypatch.setitem(scans.EFFECTS, "Y02", scans.EFFECTS["Y03"])
    (beside,) = find(["Y02"], study=evidence.Study("tiny"))
    check_findings([beside])
    assert beside.on_scans.tables == ("scans-samplers",) and beside.on_scans.effects[0].n == 4
    assert beside.document()["on_scans"]["verdict"] == beside.on_scans.verdict
    assert said_of_scans(beside).startswith("On real scans") and "n = 4" in said_of_scans(beside)
    page = ledger_tables([beside])
    assert f"{beside.on_scans.verdict}, n = 4 |" in page["claims"] and "`scans-samplers`" in page["evidence"]


def test_each_deciding_system_judges_the_half_that_it_never_saw(people, empty_tables, tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild_real, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path / "weights", *models.FOLDERS])
    asked = []
    monkeypatch.setattr(real, "patients", lambda mirror, spacing: asked.append(spacing) or people)
    two = {row: entry for row, entry in budgets.deciding(evidence.Study()).items() if row in ("unet", "selfrdb")}
    monkeypatch.setattr(systems_on_scans, "deciding", lambda study: two)
    small = {k: v for k, v in SMALL.items() if k != "initial"} | {"window": 16, "batch_size": 2}
    table = rebuild_real.rebuild_systems(tmp_path, say=str, **small)
    assert asked == [systems_on_scans.SPACING]
    assert table.groupby("subject").system.agg(set).map(len).to_dict() == {v.subject: 3 for v in people}
    assert table[list(real.COLUMNS)[:5]].notna().to_numpy().all()
    line = table[table.system == systems_on_scans.LINE].set_index("subject").psnr
    own = evaluate(people[2], along_line(people[2], straight_line([people[1], people[0], people[3]])))
    assert line[people[2].subject] == pytest.approx(own["psnr"], abs=1e-3), "of the other half alone"
    assert not evidence.outdated("scans-systems")
    about = evidence.index()["scans-systems"]["weights"]
    assert set(about) == {f"folds/{row}-{half}" for row in two for half in "ab"}
    card = json.loads((tmp_path / "weights" / "folds" / "unet-a.json").read_text())
    assert "cross-07" in card["training"]["data"] and "long-01" not in card["training"]["data"]
