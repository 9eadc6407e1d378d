"""The shipped segmenter: what it finds, its weights, its training."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest
import torch
from volumes_by_hand import blob_volume

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume, conform
from yoda_nb.metrics.downstream import dice
from yoda_nb.metrics.segmentation import lesion_probability, load_segmenter, save_segmenter, segment
from yoda_nb.metrics.segmentation.net import SEGMENTERS, build_segmenter
from yoda_nb.nets.models import WEIGHTS
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import shipped_models
from yoda_papers.instruments.segmenter import SegmenterConfig, acquired_phantom, draw_slabs, fit_segmenter

CARD = {"threshold": 0.5, "spacing_mm": 3.0, "net": {"channels": [4, 8], "thickness": 3}}


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return phantom_case(1001)


def test_the_shipped_segmenter_finds_the_lesions_of_an_acquired_image(phantom):
    found = segment(phantom)
    assert found.dtype == torch.bool and found.shape == phantom.target.shape
    assert dice(found, phantom.lesions) > 0.75
    assert not (found & ~phantom.mask).any()
    assert torch.equal(found, segment(phantom.target, phantom.mask))
    assert segment(phantom.target, phantom, threshold=0.99).sum() < found.sum()


@pytest.mark.parametrize(("spacing", "name"), SEGMENTERS.items())
def test_the_shipped_weights_are_small_and_their_card_tells_where_they_come_from(spacing, name):
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1.5e6
    card = load_segmenter(name).card
    assert "no synthetic image" in card["training"]["data"] and card["spacing_mm"] == spacing
    assert {"seed", "steps", "seconds", "machine"} <= card["training"].keys()
    assert {"intended_use", "limits", "licence", "metrics", "sha256"} <= card.keys()
    assert name not in shipped_models(), "not a denoiser"


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


def test_weights_come_back_and_damage_is_refused(tmp_path):
    net, path = build_segmenter((4, 8), 3), tmp_path / "own.safetensors"
    save_segmenter(net, path, card=CARD)
    again = load_segmenter(path)
    assert (again.name, again.threshold, again.thickness, again.divisor) == ("own", 0.5, 3, 2)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(net.eval()(x), again.net(x), atol=1e-2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own.json", "own.safetensors"]

    card = json.loads(path.with_suffix(".json").read_text())

    def refused(says: str, **changes) -> None:
        path.with_suffix(".json").write_text(json.dumps(card | changes))
        os.utime(path, ns=(time.time_ns(), time.time_ns()))
        with pytest.raises(InputError, match=says):
            load_segmenter(path)

    refused(r"own.safetensors does not fit its net \(of another shape", net={"channels": [8, 16], "thickness": 3})
    refused("no valid threshold", threshold=2)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    refused("does not match the checksum")
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"own.json is missing: a model needs its card"):
        load_segmenter(path)
    for name in ("nothing", path.with_suffix(".pth")):
        with pytest.raises(InputError, match="There is no segmenter"):
            load_segmenter(name)


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


def test_training_subjects_are_of_the_voxel_size_that_is_asked_for():
    coarse, fine = acquired_phantom(100_000), acquired_phantom(100_000, 1.5)
    assert coarse.spacing == (3, 3, 3) and fine.spacing == (1.5, 1.5, 1.5) and fine.sigma == coarse.sigma
    assert 3 * coarse.lesions.sum() < fine.lesions.sum(), "the same lesions, of eight times the voxels"
