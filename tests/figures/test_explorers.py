"""Explorers: what their descriptions say, and what their frames hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from explored import SHAPE, frame, shown, small  # noqa: F401

from yoda_nb.diffusion.process import expected
from yoda_nb.errors import InputError
from yoda_nb.figures import explorers
from yoda_nb.figures.explorers.core import chart, clamp_state, make_stage, series
from yoda_nb.figures.explorers.curves import inverse_law
from yoda_nb.images.units import VIEWED, to_hounsfield
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import translate


@pytest.fixture(scope="module")
def subject():
    return phantom_case(0, spacing=6.0, shape=(32, 32, 32))


def test_a_frame_holds_the_brain_to_eight_bits(small):
    mask, images = small
    explorer = explorers.volumes(images, mask)
    z, y, x = (slice(s, s + n) for s, n in zip(explorer.spec["origin"], explorer.spec["shape"], strict=True))
    for (panel, _), image in zip(explorer.spec["columns"], images.values(), strict=True):
        found = torch.from_numpy(frame(explorer, panel["image"]).copy()) / 255
        assert (found - (image[0, z, y, x] + 1) / 2).abs().max() <= 0.5 / 255 + 1e-6
    assert explorer.spec["shape"] == [14, 15, 14], "the mask's box and one voxel around it"


def test_equal_images_are_one_frame_and_the_same_bytes(small):
    mask, images = small
    twice = explorers.volumes({"a": images["a"], "again": images["a"].clone()}, mask)
    assert len(twice.frames) == 1
    assert explorers.volumes(images, mask).frames == explorers.volumes(images, mask).frames


def test_what_lies_outside_the_mask_is_not_shown(small):
    mask, images = small
    loud = torch.where(mask, images["a"], torch.nan)
    assert explorers.volumes({"a": loud}, mask).frames == explorers.volumes({"a": images["a"]}, mask).frames


def test_a_large_box_is_averaged():
    mask = torch.ones((1, 90, 90, 90), dtype=torch.bool)
    stage = make_stage(mask)
    assert stage.factor == 2 and stage.shape == (45, 45, 45)
    assert make_stage(torch.ones(1, 90, 90, 90), n_frames=5).factor == 1, "few frames may be finer"
    assert make_stage(torch.ones(1, 90, 90, 90), n_frames=60).factor == 2
    images = {str(i): torch.zeros(mask.shape) for i in range(10)}
    explorer = explorers.volumes(images, mask)
    assert set(np.unique(frame(explorer, explorer.spec["frames"][0]))) == {128}
    assert "means over 2³ voxels" in explorer.spec["note"]


def test_differences_to_any_image_and_a_lesion_outline(small):
    mask, images = small
    lesions = torch.zeros_like(mask)
    lesions[0, 5:7, 5:8, 9] = True
    spec = explorers.volumes(images, mask, reference="b", lesions=lesions).spec
    assert spec["initial"]["reference"] == 2 and spec["controls"][0]["values"] == ["none", "a", "b", "c"]
    ids = [column[0]["image"] for column in spec["columns"]]
    for k, (_, minus) in enumerate(spec["columns"]):
        others = [shown(minus["minus"], reference=i) for i in range(4)]
        assert others == [None, *(None if j == k else ids[j] for j in range(3))]
    assert shown(spec["columns"][0][1]["title"], reference=2) == "a − b"
    assert shown(spec["outline"], outline=0) is None and shown(spec["outline"], outline=1)
    assert spec["initial"]["cursor"][2] == 9 - spec["origin"][2], "starts where the lesions are"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": {}}, "at least one image"),
        ({"reference": "z"}, "'z' is none of the images"),
        ({"mask": torch.zeros(SHAPE)}, "mask of an explorer is empty"),
        ({"images": {"odd": torch.zeros(1, 3, 3, 3)}}, "odd has shape"),
        ({"images": {"bad": torch.full(SHAPE, torch.nan)}}, "bad has voxels that are not finite"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_sentence(small, change, words):
    mask, images = small
    given = {"images": images, "mask": mask, **change}
    with pytest.raises(InputError, match=words):
        explorers.volumes(given.pop("images"), given.pop("mask"), **given)


def test_a_state_is_clamped_and_completed(small):
    mask, images = small
    spec = explorers.volumes(images, mask, reference="a").spec
    start = spec["initial"]
    assert clamp_state(spec, {}) == start
    wild = {"reference": 99, "view": -4, "cursor": [1e9, "x", -3], "window": 0, "level": float("nan"), "other": 1}
    found = clamp_state(spec, wild)
    assert found["reference"] == 3 and found["view"] == 0 and found["window"] == 0.02
    assert found["cursor"] == [13, start["cursor"][1], 0] and found["level"] == start["level"]
    assert found.keys() == start.keys()


def test_a_chart_leaves_out_what_has_no_place():
    line = series("", [(0, 1), (1, float("nan")), (2, 3)], colour="#000000", marker="o", labels=["a", "b", "c"])
    (kept,) = chart("k", "t", "x", "y", [line, series("", [], colour="#000000")])["series"]
    assert kept["points"] == [[0, 1], [2, 3]] and kept["picks"] == [0, 2] and kept["labels"] == ["a", "c"]


def test_tradeoff_links_points_images_and_costs(small):
    mask, images = small
    table = pd.DataFrame(
        {
            "sampler": ["a", "b"],
            "ssim": [0.8, 0.9],
            "fd": [3.0, 5.0],
            "noise": [0.03, 0.01],
            "evaluations": [20, float("nan")],
        }
    )
    explorer = explorers.tradeoff(table, images, mask, reference="c", start="b", lines={"floor": 1.0})
    spec = explorer.spec
    assert spec["initial"]["sampler"] == 1 and spec["charts"][0]["rules"] == [{"label": "floor", "y": 1.0}]
    points = {p: tuple(xy) for s in spec["charts"][0]["series"] for p, xy in zip(s["picks"], s["points"], strict=True)}
    assert points == {0: (0.8, 3.0), 1: (0.9, 5.0)}
    told = {r["label"]: shown(r["value"], sampler=1) for r in spec["readouts"]}
    assert told["white-matter noise ([0,1] scale)"] == "0.01" and told["evaluations of the net"] == "–"
    (chosen,), (error,), (reference,) = spec["columns"]
    assert shown(chosen["image"], sampler=0) == shown(error["image"], sampler=0) != reference["image"]
    assert error["minus"] == reference["image"]
    with pytest.raises(InputError, match="lists d, of which images has none"):
        explorers.tradeoff(pd.concat([table, table.assign(sampler="d")]).iloc[[0, 2]], images, mask, reference="c")
    with pytest.raises(InputError, match="no column kd"):
        explorers.tradeoff(table, images, mask, reference="c", y="kd")


def test_expa_averages_and_fits_its_law(small, monkeypatch):
    mask, images = small
    monkeypatch.setattr("yoda_nb.figures.explorers.curves.score", lambda *a, **k: {"ssim": 0.5, "psnr": 20.0})
    generator = torch.Generator().manual_seed(1)
    samples = (0.1 * torch.randn((5, *SHAPE), generator=generator)).clamp(-1, 1)
    smooth = torch.zeros(SHAPE)
    explorer = explorers.expa(samples, mask, regression=smooth, sigma=0.05, reference=images["a"])
    residual = [float(p[1]) for p in explorer.spec["charts"][0]["series"][0]["points"]]
    third = ((expected(samples[:3]) - smooth) / 2)[mask].square().mean().sqrt()
    assert residual[2] == pytest.approx(float(third)) and residual == sorted(residual, reverse=True)
    assert [s["name"] for s in explorer.spec["charts"][0]["series"]] == ["measured", "√(a + b/N)", "σ/√N"]
    assert explorer.spec["controls"][0]["values"] == [f"N = {n}" for n in range(1, 6)]
    with pytest.raises(InputError, match="stack at least one"):
        explorers.expa(smooth, mask, regression=smooth)


def test_the_law_is_found_where_it_holds():
    n = np.arange(1, 9)
    residual = np.sqrt(0.01**2 + 0.04**2 / n)
    assert inverse_law(n, residual) == pytest.approx(residual)
    assert inverse_law(n, residual, [100]) == pytest.approx([np.sqrt(0.01**2 + 0.04**2 / 100)])


def test_many_samples_are_shown_in_geometric_steps(small, monkeypatch):
    mask, _ = small
    monkeypatch.setattr("yoda_nb.figures.explorers.curves.score", lambda *a, **k: {"ssim": 0.5, "psnr": 20.0})
    spec = explorers.expa(torch.zeros((64, *SHAPE)), mask, regression=torch.zeros(SHAPE)).spec
    values = [int(v.removeprefix("N = ")) for v in spec["controls"][0]["values"]]
    assert values[0] == 1 and values[-1] == 64 and len(values) <= 12 and spec["charts"][0]["log_x"]


def test_noise_grows_and_scores_fall(subject):
    v = subject
    found = explorers.noise(v.clean, [0.05, 0, 0.1], v.mask, target=v.target, clean=v.clean, fd={0.05: 2.5})
    spec = found.spec
    assert spec["controls"][0]["values"] == ["0", "0.05", "0.1"]
    charts = {c["title"]: c["series"] for c in spec["charts"]}
    truth = [y for _, y in charts["SSIM"][1]["points"]]
    assert truth[0] == pytest.approx(1) and truth == sorted(truth, reverse=True)
    assert charts["Fréchet distance"][0]["points"] == [[0.05, 2.5]], "only where it is known"
    assert len(charts["PSNR"][1]["points"]) == 2, "an infinite PSNR has no place on a chart"
    with pytest.raises(InputError, match="none below 0"):
        explorers.noise(v.clean, [-1.0], v.mask, target=v.target)


def test_trajectory_shows_each_step(small):
    mask, images = small
    steps = [
        {
            "t": 9 - 5 * k,
            "s": [4, -1][k],
            "view": k,
            "noise_level": 1 - k / 2,
            "x": 3 * images["a"],
            "x0": images["bc"[k]],
            "mask": mask,
            "clean": None,
        }
        for k in range(2)
    ]
    spec = explorers.trajectory(steps).spec
    assert spec["controls"][0]["values"] == ["1 of 2: t = 9", "2 of 2: t = 4"] and len(spec["columns"]) == 2
    told = {r["label"]: shown(r["value"], step=1) for r in spec["readouts"]}
    assert told == {"t": "4 → image", "Noise level √(1 − ᾱ_t)": "0.500", "View used": "coronal"}
    with_truth = explorers.trajectory(steps, clean=images["b"]).spec
    errors = [y for _, y in with_truth["charts"][1]["series"][0]["points"]]
    assert errors[0] == 0 < errors[1]
    with pytest.raises(InputError, match="at least one"):
        explorers.trajectory([])


def test_a_recorded_trajectory_is_what_translate_runs(monkeypatch):
    volume = phantom_case(0, shape=(48, 48, 48), spacing=4.0)
    steps = explorers.record_trajectory(volume, n_steps=3, seed=5, device="cpu")
    seen = []
    translate(
        volume,
        "yoda-diffusion",
        n_steps=3,
        seed=5,
        device="cpu",
        on_step=lambda i, pair, x, x0: seen.append((pair, x, x0)),
    )
    assert [(s["t"], s["s"]) for s in steps] == [pair for pair, _, _ in seen]
    assert steps[0]["noise_level"] > 0.99 and steps[-1]["s"] == -1
    for k, (_, x, x0) in enumerate(seen):
        assert torch.equal(steps[k]["x0"], x0)
        assert k + 1 == len(seen) or torch.equal(steps[k + 1]["x"], x)
    assert abs(float(steps[0]["x"].std()) - 1) < 0.01, "it starts from noise"
    monkeypatch.setattr("yoda_nb.diffusion.system.Process.sample", lambda *a, **k: pytest.fail("sampled again"))
    again = explorers.record_trajectory(volume, n_steps=3, seed=5, device="cpu")
    assert torch.equal(again[1]["x"], steps[1]["x"])
    explorers.trajectory(steps)


def test_a_ct_is_shown_through_windows_in_hu_beside_its_source():
    v = phantom_case(1, target="CT", sources=("T1w",), spacing=6.0)
    images = {"acquired": v.target, "truth": v.clean}
    explorer = explorers.volumes(images, v.mask, reference="truth", contrast="CT", beside={"T1w": v.source})
    window = next(c for c in explorer.spec["controls"] if c["id"] == "shown")
    assert window["label"] == "HU window" and window["values"][1] == "brain (0 to 80 HU)"
    (source,), (image, difference), _ = explorer.spec["columns"]
    assert source["units"] is None and isinstance(source["image"], str), "the source has no windows"
    for k, (low, high) in enumerate(VIEWED["CT"].values()):
        assert shown(image["units"], shown=k) == (low, high, "HU") == shown(difference["units"], shown=k)
        levels = frame(explorer, shown(image["image"], shown=k)).astype(float) / 255
        z, y, x = (slice(s, s + n) for s, n in zip(explorer.spec["origin"], explorer.spec["shape"], strict=True))
        hu = torch.where(v.mask, to_hounsfield(v.target, "CT"), low)[0, z, y, x].clamp(low, high).numpy()
        assert np.abs(low + (high - low) * levels - hu).max() <= 0.51 * (high - low) / 255
    assert explorer.picture().axes[-2].get_ylabel() == "HU"
