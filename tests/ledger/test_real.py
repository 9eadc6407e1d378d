"""Scores of real scans against closed forms, and the table of people left out, on small made volumes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner
from volumes_by_hand import blob_volume

from yoda_nb.data.packs import ENDING
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.images import matched_to, noise_bound, psnr, ssim
from yoda_nb.metrics.noise import add_rician
from yoda_nb.nets import models
from yoda_nb.nets.models import WEIGHTS, note
from yoda_nb.study import real
from yoda_papers.cli.rebuild import rebuild_app
from yoda_papers.ledger import evidence, rebuild_real
from yoda_papers.ledger import real as left_out

SHAPE = (16, 18, 14)
HALF = dict.fromkeys(left_out.COLUMNS, 0.5)


@pytest.fixture
def brain() -> Volume:
    """White matter of T1w 0.6 and T2w -0.2, a layer of water, two lesions, and a FLAIR that a line makes of them."""
    v = blob_volume(SHAPE)
    rng = np.random.default_rng(0)
    t1, t2 = (torch.full((1, *SHAPE), value) for value in (0.6, -0.2))
    water = torch.zeros(1, *SHAPE, dtype=torch.bool)
    water[:, :, :, :1] = True
    t1[water], t2[water], t2[v.lesions] = -0.8, 0.9, 0.1
    t1, t2 = (x + torch.from_numpy(rng.normal(0, 0.01, x.shape)).float() for x in (t1, t2))
    flair = 0.5 * t1 + 0.3 * t2 - 0.1
    labels = torch.where(water, 1, 3).to(torch.uint8)
    return replace(v, source=torch.cat([t1, t2]), target=flair, clean=flair, labels=labels, subject="long-01_ses-1")


def test_an_image_that_is_the_target_is_perfect(brain):
    found = real.real_scores(brain, brain.target)
    assert tuple(found) == left_out.COLUMNS
    assert found["ssim"] == pytest.approx(1) and found["matched_ssim"] == pytest.approx(1, abs=1e-4)
    assert found["psnr"] == np.inf and found["lesions"] == pytest.approx(1, abs=1e-5)


def test_a_match_undoes_any_gain_and_offset(brain):
    target = (brain.target + 1) / 2
    for gain, offset in ((0.3, 0.4), (1.7, -0.2)):
        assert torch.allclose(matched_to(gain * target + offset, target, brain.mask), target, atol=1e-5)
    found = real.real_scores(brain, 0.5 * brain.target)
    assert found["matched_psnr"] > 80 > 40 > found["psnr"]


def test_lesions_and_water_are_ratios_to_white_matter(brain):
    image = torch.full((1, *SHAPE), 0.5)
    image[:, :, :, :1] = 0.2
    image[brain.lesions] = 0.6
    assert real.water_over_white(image, brain) == pytest.approx(0.4)
    like = replace(brain, target=2 * image - 1)
    assert real.lesion_share(like, image) == pytest.approx(1)
    image[brain.lesions] = 0.55
    assert real.lesion_share(like, image) == pytest.approx(0.5, rel=1e-4)
    assert np.isnan(real.lesion_share(replace(brain, lesions=None), image))
    assert not (real.inside_white_matter(brain) & brain.lesions).any()


def test_a_straight_line_is_found_again(brain):
    assert real.straight_line([brain]) == pytest.approx([0.5, 0.3, -0.1], abs=1e-5)
    other = replace(brain, target=0.1 * brain.source[:1] + 0.2)
    weights = real.straight_line([other])
    assert weights == pytest.approx([0.1, 0, 0.2], abs=1e-5)
    assert torch.allclose(real.along_line(other, weights), other.target, atol=1e-5)
    inside = replace(brain, mask=brain.mask.clone().index_fill_(1, torch.tensor([0]), False))
    assert (real.along_line(inside, weights)[:, 0] == -1).all()


def test_the_bound_grows_with_less_noise(brain):
    image = (brain.target + 1) / 2
    bounds = [
        noise_bound(image, brain.mask, sigma, 1, generator=torch.Generator().manual_seed(0))
        for sigma in (0.1, 0.05, 0.01)
    ]
    assert 0 < bounds[0] < bounds[1] < bounds[2] < 1
    noisy = add_rician(image, 0.05, generator=torch.Generator().manual_seed(1))
    found = real.real_scores(replace(brain, target=2 * noisy - 1), brain.target)
    assert 0.02 < found["sigma"] < 0.1 and found["ssim"] < 1 and 0 < found["bound"] < 1
    assert found["ssim"] == pytest.approx(ssim(image, noisy, brain.mask, data_range=1))
    assert found["psnr"] == pytest.approx(psnr(image, noisy, brain.mask, data_range=1), abs=1e-3)


def test_a_second_scan_differs_as_its_noise_says():
    clean = torch.full((1, 40, 40, 40), 0.6)
    mask = torch.ones_like(clean, dtype=torch.bool)
    options = {"generator": torch.Generator().manual_seed(0)}
    table = real.second_acquisition(clean + 0.05, clean, mask, (0.02, 0.08), **options).set_index(["sigma", "image"])
    for sigma in (0.02, 0.08):
        first, made = table.loc[(sigma, "first scan")], table.loc[(sigma, "synthetic")]
        assert first.mse == pytest.approx(2 * sigma**2, rel=0.05) and first.law == pytest.approx(first.mse, rel=0.03)
        assert made.mse == pytest.approx(sigma**2 + 0.05**2, rel=0.1) and made.law == pytest.approx(made.mse, rel=0.03)
    assert table.mse[0.02, "first scan"] < table.mse[0.02, "synthetic"]
    assert table.mse[0.08, "first scan"] > table.mse[0.08, "synthetic"]


def test_a_slab_holds_the_lesions_and_the_worst_slice_is_found(brain):
    cut = real.slab(brain, 18)  # voxels of 3 mm
    assert cut.shape[2] == 6 and int(cut.lesions.sum()) == int(brain.lesions.sum())
    assert real.slab(brain, 500).shape == brain.shape
    wrong = brain.target.clone()
    wrong[..., 5] += 0.3
    assert real.worst_slice(wrong, brain) == 5


def test_a_tissue_peak_is_found_and_moved_whatever_the_gain(brain):
    t1, t2 = real.tissue_peaks(brain)
    assert t1 == pytest.approx(0.8, abs=0.01) and t2 == pytest.approx(0.4, abs=0.01)
    louder = replace(brain, source=2 * ((brain.source + 1) / 2 * 0.7) - 1)
    moved = real.with_peaks(louder, np.array([0.6, 0.5]))
    assert real.tissue_peaks(moved) == pytest.approx([0.6, 0.5], abs=0.01)
    assert (moved.source[:, ~brain.mask[0]] == -1).all() and moved.source.max() <= 1


@pytest.fixture
def two(brain) -> list[Volume]:
    """Two visits of one person and a second person."""
    flair = brain.target + 0.05
    return [brain, replace(brain, subject="long-01_ses-2"), replace(brain, subject="cross-07", target=flair)]


def test_every_person_is_left_out_once_with_all_visits(two, tmp_path):
    small = {"initial": "tiny-t1w-t2w-flair", "steps": 1, "rehearse": 0, "window": 8, "batch_size": 1, "device": "cpu"}
    said: list[str] = []
    models = left_out.leave_one_out(two, tmp_path, say=said.append, **small)
    assert list(models) == ["long-01", "cross-07"] and all(path.is_file() for path in models.values())
    assert len(list((tmp_path / "packs").glob(f"*{ENDING}"))) == 3 * (1 + left_out.RESCANS)
    cards = {person: json.loads(path.with_suffix(".json").read_text()) for person, path in models.items()}
    assert "1 people (cross-07)" in cards["long-01"]["training"]["data"]
    assert "1 people (long-01)" in cards["cross-07"]["training"]["data"]
    assert cards["long-01"]["regression_only"] and (tmp_path / "long-01" / "phantoms").resolve().is_dir()
    before = models["long-01"].read_bytes()
    left_out.leave_one_out(two, tmp_path, say=said.append, **small)
    assert models["long-01"].read_bytes() == before, "the same call goes on where it was"


def test_scores_of_people_left_out_are_a_row_a_subject_and_image(two, monkeypatch):
    monkeypatch.setattr(left_out, "translate", lambda v, system, model, device: replace(v, target=v.target + 0.02))
    table = left_out.left_out_scores(two, {"long-01": "a", "cross-07": "b"})
    assert list(table.columns) == ["subject", "person", "image", "trained_on", *left_out.COLUMNS]
    assert len(table) == 3 * 4 and set(table.person) == {"long-01", "cross-07"}
    for row in table.itertuples():
        if row.image in ("fine-tuned", "straight line"):
            assert row.person not in row.trained_on and "scans of" in row.trained_on
    wide = table.pivot(index="subject", columns="image", values="psnr")
    assert (wide["line, fitted to the answer"] > wide["straight line"] + 10).all()


def test_a_goal_is_met_or_missed():
    bad = {"ssim": 0.9, "csf": 0.7, "lesions": np.nan}
    rows = [{"subject": "s", "image": "zero-shot", **HALF, **bad}, {"subject": "s", "image": "straight line", **HALF}]
    first, second = left_out.beside_goals(pd.DataFrame(rows)).to_dict("records")
    assert first["SSIM"] == "0.900 (≥ 0.85: met)" and first["CSF / white"] == "0.700 (≤ 0.6: missed)"
    assert first["lesions"] == "no lesions known" and second["SSIM"] == "0.500"


def test_patients_that_are_not_here_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("YODA_NB_DATA", str(tmp_path))
    assert left_out.cases_here() == [] and left_out.scan_here() is None
    with pytest.raises(InputError, match="yoda-nb data fetch --dataset ms"):
        left_out.patients()
    with pytest.raises(InputError, match="'nobody' is not in ms"):
        left_out.scan_here(subject="nobody")
    done = CliRunner().invoke(rebuild_app, ["real", "--out", str(tmp_path)])
    assert done.exit_code == 2 and done.stderr.startswith("Error: The table of real scans needs two people")


def test_two_scalings_of_the_sources_are_scored_and_told(two, empty_tables, monkeypatch):
    monkeypatch.setattr(left_out, "translate", lambda v, system, model, device: replace(v, target=v.source[:1]))
    monkeypatch.setattr(left_out, "SCALED_MM", 60.0)
    monkeypatch.setattr(left_out, "patients", lambda mirror: two)
    table = rebuild_real.rebuild_normalisation(say=str)
    assert list(table.scaled) == ["window", "peak"] * 3 and table.ssim.between(-1, 1).all()
    wide = table.pivot(index="subject", columns="scaled", values="psnr")
    assert np.allclose(wide.window, wide.peak, atol=0.5), "their peaks agree already"
    pd.testing.assert_frame_equal(evidence.Study().table("normalisation"), table, rtol=1e-6)


@pytest.fixture
def nothing_shipped(empty_tables, tmp_path, monkeypatch):
    """Empty folders of tables and of weights."""
    monkeypatch.setattr(rebuild_real, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path / "weights", *models.FOLDERS])
    return tmp_path


def test_the_table_is_shipped_with_the_cards_of_its_models(two, nothing_shipped, monkeypatch):
    with pytest.raises(InputError, match="yoda-nb rebuild real"):
        evidence.Study().table("real")
    scores = pd.DataFrame([{"subject": v.subject, "image": "zero-shot", **HALF} for v in two])

    def trained(volumes, out, **options):
        assert options["steps"] == 7 and options["mirror"] == "copies"
        for person in left_out.people_of(volumes):
            (out / f"{person}.json").write_text(json.dumps({"sha256": person, "training": {"seconds": 50}}))
        return {person: out / f"{person}.safetensors" for person in left_out.people_of(volumes)}

    def scored(volumes, models, device):
        note(WEIGHTS / f"{left_out.MODELS['zero-shot']}.safetensors", "first")
        note(models["long-01"], "long-01")
        return scores

    monkeypatch.setattr(left_out, "patients", lambda mirror: two)
    monkeypatch.setattr(left_out, "leave_one_out", trained)
    monkeypatch.setattr(left_out, "left_out_scores", scored)
    rebuild_real.rebuild_real(nothing_shipped, mirror="copies", steps=7)
    about = evidence.index()["real"]
    assert about["weights"] == {
        "folds/cross-07": "cross-07",
        "folds/long-01": "long-01",
        "zero-shot/t1w-t2w-flair": "first",
    }
    assert about["seconds"] >= 100 and about["rows"] == 3 and {"machine", "commit", "date", "version"} <= set(about)
    assert (rebuild_real.WEIGHTS / "folds" / "cross-07.json").is_file() and not list(
        rebuild_real.WEIGHTS.rglob("*.safetensors")
    )
    pd.testing.assert_frame_equal(evidence.Study().table("real"), scores)
