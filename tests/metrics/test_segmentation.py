"""Lesions downstream: the shipped segmenter, any program behind a command, and the tables of both."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb.data.phantom import phantom_case
from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.images.volumes import Volume, conform
from yoda_nb.metrics.downstream import dice, lesion_cnr
from yoda_nb.metrics.segmentation import (
    TOOLS,
    Tool,
    agreement,
    fraction_pairs,
    lesion_probability,
    lesion_summary,
    lesion_table,
    load_segmenter,
    logit_fraction,
    save_segmenter,
    segment,
    segment_with_command,
)
from yoda_nb.metrics.segmentation.net import build_segmenter
from yoda_nb.metrics.segmentation.training import SegmenterConfig, draw_slabs, fit_segmenter
from yoda_nb.nets.models import WEIGHTS
from yoda_nb.systems.models import shipped_models

CARD = {"threshold": 0.5, "spacing_mm": 3.0, "net": {"channels": [4, 8], "thickness": 3}}


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return phantom_case(1001)


def blob_volume(shape=(12, 14, 10)) -> Volume:
    """A brain of grey 0 with two bright lesions."""
    lesions = torch.zeros(1, *shape, dtype=torch.bool)
    lesions[0, 3:5, 4:6, 4:6] = lesions[0, 8:10, 9:11, 4:7] = True
    clean = torch.where(lesions, 0.8, 0.0)
    mask = torch.ones_like(lesions)
    return Volume(
        source=clean.repeat(2, 1, 1, 1),
        mask=mask,
        affine=np.diag([3.0, 3, 3, 1]),
        sources=("T1w", "T2w"),
        subject="blob",
        target=clean,
        clean=clean,
        labels=torch.full(lesions.shape, 3, dtype=torch.uint8),
        lesions=lesions,
        sigma=0.04,
    )


def bright(image: torch.Tensor, volume: Volume) -> torch.Tensor:
    return (image > 0.4) & volume.mask


# --- the shipped segmenter


def test_the_shipped_segmenter_finds_the_lesions_of_an_acquired_image(phantom):
    found = segment(phantom)
    assert found.dtype == torch.bool and found.shape == phantom.target.shape
    assert dice(found, phantom.lesions) > 0.75
    assert not (found & ~phantom.mask).any()
    assert torch.equal(found, segment(phantom.target, phantom.mask))
    assert segment(phantom.target, phantom, threshold=0.99).sum() < found.sum()


def test_the_shipped_weights_are_small_and_their_card_tells_where_they_come_from():
    path = WEIGHTS / "segmenter.safetensors"
    assert path.stat().st_size < 1.5e6
    card = load_segmenter().card
    assert "no synthetic image" in card["training"]["data"] and "docs/train_segmenter.py" in card["training"]["command"]
    assert {"seed", "steps", "seconds", "machine"} <= card["training"].keys()
    assert {"intended_use", "limits", "licence", "metrics", "sha256"} <= card.keys()
    assert "segmenter" not in shipped_models(), "not a denoiser"


def test_another_voxel_size_is_segmented_at_the_segmenters_and_brought_back(phantom):
    other = conform(phantom, 3.5)
    found = segment(other)
    assert found.shape == other.target.shape != phantom.target.shape
    assert dice(found, other.lesions) > 0.5 and not (found & ~other.mask).any()


def test_odd_shapes_and_single_slices_of_brain_are_fine(tmp_path):
    volume = replace(blob_volume((9, 7, 11)), lesions=None)
    mask = torch.zeros_like(volume.mask)
    mask[0, 4, 2:5, 3:7] = True
    save_segmenter(build_segmenter((4, 8), 3), tmp_path / "s.safetensors", card=CARD)
    before = volume.target.clone()
    found = lesion_probability(volume.target, mask, segmenter=tmp_path / "s.safetensors")
    assert found.shape == mask.shape and (found[~mask] == 0).all() and (found[mask] > 0).all()
    assert torch.equal(volume.target, before)


@pytest.mark.parametrize(
    ("image", "where", "says"),
    [
        (torch.zeros(1, 8, 8, 8), None, "give the mask"),
        (torch.zeros(8, 8, 8), torch.ones(8, 8, 8, dtype=torch.bool), "share one shape"),
        (torch.full((1, 8, 8, 8), torch.nan), torch.ones(1, 8, 8, 8, dtype=torch.bool), "NaN"),
        (replace(blob_volume(), target=None), None, "blob has no target"),
    ],
)
def test_what_cannot_be_segmented_is_refused(image, where, says):
    with pytest.raises(InputError, match=says):
        segment(image, where)


# --- weights on disk


def test_weights_come_back_and_damage_is_refused(tmp_path):
    net, path = build_segmenter((4, 8), 3), tmp_path / "own.safetensors"
    save_segmenter(net, path, card=CARD)
    again = load_segmenter(path)
    assert (again.name, again.threshold, again.thickness, again.divisor) == ("own", 0.5, 3, 2)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(net.eval()(x), again.net(x), atol=1e-2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.json", "own.safetensors"]

    card = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(card | {"net": {"channels": [8, 16], "thickness": 3}}))
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="does not fit the net of its card"):
        load_segmenter(path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="does not match the checksum"):
        load_segmenter(path)
    path.with_suffix(".json").write_text(json.dumps({"threshold": 2}))
    os.utime(path, ns=(2, 2))
    with pytest.raises(InputError, match="lacks a valid threshold"):
        load_segmenter(path)
    path.with_suffix(".json").unlink()
    os.utime(path, ns=(3, 3))
    with pytest.raises(InputError, match="card .* is missing"):
        load_segmenter(path)
    for name in ("nothing", path.with_suffix(".pth")):
        with pytest.raises(InputError, match="There is no segmenter"):
            load_segmenter(name)


# --- training


def test_training_is_seeded_and_learns_what_is_bright():
    volumes = [blob_volume((16, 16, 16))]
    config = SegmenterConfig(steps=15, batch_size=4, channels=(4, 8), thickness=3)
    slabs, lesions = draw_slabs(volumes, config, 4)
    assert slabs.shape == (4, 3, 16, 16) and lesions.shape == (4, 1, 16, 16)
    assert torch.equal(slabs, draw_slabs(volumes, config, 4)[0])
    assert lesions[1::2].flatten(1).any(1).all(), "every other slab shows a lesion"
    first, second = (fit_segmenter(volumes, config, device="cpu") for _ in range(2))
    with torch.inference_mode():
        assert torch.equal(first(slabs), second(slabs))
        assert first(slabs)[lesions.bool()].mean() > first(slabs)[~lesions.bool()].mean()


def test_training_needs_lesions():
    with pytest.raises(InputError, match="target and lesions"):
        fit_segmenter([replace(blob_volume(), lesions=None)], SegmenterConfig())


# --- external programs


STAND_IN = """
import sys, time, numpy as np, nibabel as nib
source, output, how = sys.argv[1:4]
if how == "fail":
    print("loading", file=sys.stderr); print("no licence found", file=sys.stderr); sys.exit(1)
if how == "silent": sys.exit(3)
if how == "slow": time.sleep(60)
if how == "nothing": sys.exit(0)
image = nib.load(source)
data = image.get_fdata()
if how == "text": open(output, "w").write("done")
else:
    affine, found = image.affine.copy(), np.where(data > 0.7, 77, np.where(data > 0.2, 2, 0))
    if how == "mask": found = (data > 0.7) * 1
    if how == "nan": found = found * np.nan
    if how == "shifted": affine[0, 3] += 2
    if how == "cropped": found = found[1:]
    if how == "fine":
        found, affine = np.kron(found, np.ones((2, 2, 2))), affine @ np.diag([.5, .5, .5, 1])
        affine[:3, 3] -= 0.25 * np.diag(image.affine)[:3]
    if how == "flipped":
        found = found[::-1]; affine[0, 3] += affine[0, 0] * (len(found) - 1); affine[0, 0] *= -1
    nib.save(nib.Nifti1Image(found.astype(np.float32), affine), output)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The command line of a program that thresholds; folders with spaces on the way."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "tool.py").write_text(STAND_IN)
    yield lambda how: f"{sys.executable} '{folder / 'tool.py'}' {{input}} {{output}} {how}"
    assert [p.name for p in folder.iterdir()] == ["tool.py"], "temporary files are gone"


@pytest.mark.parametrize("how", ["labels", "flipped"])
def test_a_command_returns_its_labels_on_the_images_grid(stand_in, how):
    v = blob_volume()
    found = segment_with_command(v.target, v, stand_in(how), labels=(77,))
    assert found.dtype == torch.bool and torch.equal(found, v.lesions)
    assert torch.equal(segment_with_command(v.target, v.affine, stand_in(how), labels=(2, 77)), v.mask)


def test_a_command_may_write_a_mask_read_a_source_or_use_another_grid(stand_in):
    v = blob_volume()
    assert torch.equal(segment_with_command(v.target, v, stand_in("mask")), v.lesions)
    swapped = stand_in("mask").replace("{input}", "{T1w}") + " {input}"
    assert torch.equal(segment_with_command(torch.zeros_like(v.target), v, swapped), v.lesions)
    tool = Tool(stand_in("fine"), labels=(77,), resample=True)
    assert torch.equal(segment_with_command(v.target, v, tool), v.lesions)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("fail", r"exit status 1 \(its last line: no licence found\)"),
        ("silent", "exit status 3 .it wrote nothing"),
        ("nothing", "wrote no file"),
        ("text", "output of .* cannot be used: .*not a readable"),
        ("nan", "cannot be used: .*NaN"),
        ("shifted", "not on one grid .corners 2 mm apart"),
        ("cropped", "not on one grid .shapes"),
        ("fine", "not on one grid"),
    ],
)
def test_a_command_that_goes_wrong_is_explained(stand_in, how, says):
    v = blob_volume()
    with pytest.raises(InputError, match=says) as caught:
        segment_with_command(v.target, v, stand_in(how))
    assert "\n" not in str(caught.value)


def test_a_slow_command_is_stopped_with_what_it_started(stand_in):
    v, start = blob_volume(), time.perf_counter()
    # the sleeper is a child of the command, and must not outlive it
    shell = f"sh -c 'sleep 60; true' {stand_in('slow')}"
    with pytest.raises(InputError, match="stopped after 0.5 s"):
        segment_with_command(v.target, v, shell, timeout=0.5)
    assert time.perf_counter() - start < 20


def test_a_command_that_cannot_run_is_refused():
    v = blob_volume()
    with pytest.raises(InputError, match="no-such-tool cannot be run .*install it"):
        segment_with_command(v.target, v, "no-such-tool --in {input} --out {output}")
    with pytest.raises(InputError, match=r"lacks \{output\}"):
        segment_with_command(v.target, v, "tool {input}")
    with pytest.raises(InputError, match="affine"):
        segment_with_command(v.target[0], v, "tool {input} {output}")


def test_every_recipe_names_its_files_and_where_it_is_documented():
    for tool in TOOLS.values():
        assert "{input}" in tool.command and "{output}" in tool.command and tool.note


# --- the table


@pytest.mark.filterwarnings("ignore:.*no usable white matter")  # flat around: no noise to divide by
def test_the_table_scores_every_sampler_and_the_acquired_image():
    v = blob_volume()
    flat = torch.zeros_like(v.target)
    table = lesion_table([v], {"regression": [v.target * 0.8], "none": [flat]}, segment=bright)
    assert table.sampler.tolist() == ["regression", "none", "acquired", "truth"] and (table.reference == "truth").all()
    at = table.set_index("sampler")
    assert at.dice["regression"] == at.dice["acquired"] == 1 and at.hd95["acquired"] == at.alvr["acquired"] == 0
    assert at.dice["none"] == 0 and np.isinf(at.hd95["none"]) and np.isinf(at.alvr["none"])
    assert at.contrast["truth"] == pytest.approx(0.4) and at.contrast["regression"] == pytest.approx(0.32)
    share = float(v.lesions.sum() / v.mask.sum())
    assert at.volume_fraction["acquired"] == pytest.approx(share) and at.volume_fraction["none"] == 0
    assert (at.true_volume_fraction == share).all()

    shown = lesion_summary(table)
    assert shown.missed["none"] == 1 and shown.missed["acquired"] == 0 and (shown.n == 1).all()
    assert "inf" not in shown.to_string()


def test_cnr_is_that_of_eq_12_on_the_unit_scale():
    v = blob_volume()
    noise = 0.05 * torch.randn(v.target.shape, generator=torch.Generator().manual_seed(0))
    table = lesion_table([replace(v, target=v.clean + noise, clean=None)], {}, segment=bright)
    wanted = lesion_cnr((v.clean + noise + 1) / 2, v.lesions, v.labels == 3, v.spacing, distance=9.0)
    assert table.cnr.item() == pytest.approx(wanted) and 5 < wanted < 40


@pytest.mark.filterwarnings("ignore:.*no usable white matter")
def test_without_known_lesions_the_acquired_image_is_the_reference():
    v = replace(blob_volume(), lesions=None, clean=None, labels=None)
    table = lesion_table([v], {"regression": [v.target]}, segment=bright).set_index("sampler")
    assert (table.reference == "acquired").all() and table.dice["regression"] == 1 and np.isnan(table.dice["acquired"])
    assert table.cnr.isna().all(), "no white matter is known"
    given = lesion_table([v], {}, segment=bright, white_matter=lambda v: v.mask)
    assert given.contrast.item() == pytest.approx(0.4)
    with pytest.raises(InputError, match="blob has neither"):
        lesion_table([replace(v, target=None)], {"regression": [v.source[:1]]}, segment=bright)


# --- agreement of volumes


def fractions(found: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"subject": k, "sampler": name, "volume_fraction": f} for name, fs in found.items() for k, f in enumerate(fs)
    ]
    return pd.DataFrame(rows)


def test_logit_fractions():
    assert logit_fraction(0.5) == 0 and logit_fraction(0.0) == -np.inf and logit_fraction(1.0) == np.inf
    assert np.allclose(1 / (1 + np.exp(-logit_fraction(np.array([0.001, 0.3])))), [0.001, 0.3])
    with pytest.raises(InputError, match="between 0 and 1"):
        logit_fraction(1.2)


def test_agreement_tells_bias_from_scatter_and_counts_what_it_drops():
    base = np.array([0.001, 0.002, 0.004, 0.006])
    odds = np.exp(0.1) * base / (1 - base)  # a tenth of a logit more, everywhere
    table = fractions({"acquired": [*base, 0.003], "regression": [*(odds / (1 + odds)), 0.0]})
    found = agreement(table, "regression")
    assert (found["n"], found["dropped"]) == (4, 1)
    assert found["bias"] == pytest.approx(0.1) and found["high"] - found["low"] == pytest.approx(0, abs=1e-9)
    assert found["icc"] == pytest.approx(1), "ICC(3,1) is of consistency: it does not see a bias"
    assert agreement(table, "acquired")["bias"] == 0
    with pytest.raises(InputError, match="no sampler 'ExpA'"):
        agreement(table, "ExpA")
    lone = agreement(fractions({"acquired": [0.1, 0.2], "regression": [0.1, 0.0]}), "regression")
    assert lone["n"] == 1 and np.isnan(lone["icc"])


# --- figures


def test_figures_draw_outlines_and_limits(recwarn):
    v = blob_volume()
    masks = {"acquired": v.lesions, "empty": torch.zeros_like(v.lesions)}
    fig = plots.lesion_outlines({"acquired": v.target, "empty": v.target}, masks, v.lesions, index=4)
    assert [ax.get_title() for ax in fig.axes] == ["acquired", "empty"]
    assert [len(ax.collections) for ax in fig.axes] == [2, 1], "found and true, and the true one alone"
    table = fractions({"acquired": [0.001, 0.002, 0.004], "regression": [0.0012, 0.002, 0.0035]})
    pairs = {"regression": fraction_pairs(table, "regression")}
    fig = plots.bland_altman(pairs, pd.DataFrame([agreement(table, "regression")]), unit="logit", against="acquired")
    (ax,) = fig.axes
    assert ax.get_title() == "regression" and len(ax.lines[1].get_xdata()) == 3
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]
    plots.plt.close("all")


def test_the_training_command_is_there():
    script = Path(__file__).parents[1] / "docs" / "train_segmenter.py"
    compile(script.read_text(), script.name, "exec")
