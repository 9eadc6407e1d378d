"""Independent feature nets: none but one was taught noise, and all see where it is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.metrics.feature_nets import TISSUE_WEIGHTS, offline_net, untrained_net
from yoda_nb.metrics.features import EYES, frechet_distance, load_extractor, load_eyes, slices_for_features
from yoda_papers.instruments import tissue_features as feature_tissue
from yoda_papers.instruments.noise_features import acquire, phantoms
from yoda_papers.instruments.tissue_features import draw_slices, tissue_map, train_tissue, train_tissue_net


@pytest.fixture(scope="module")
def slices():
    return torch.cat([slices_for_features((v.target + 1) / 2, v.mask) for v in phantoms(3, seed=60_000)])


@pytest.mark.parametrize("name", [name for names in EYES.values() for name in names])
def test_every_net_sees_missing_noise_and_blur_of_the_same_slices(slices, name):
    extract = load_extractor(name)
    generator = torch.Generator().manual_seed(0)

    def features(*amounts: float) -> np.ndarray:
        return extract(acquire(slices, torch.tensor([amounts]).expand(len(slices), 3), generator=generator)).numpy()

    acquired = features(0, 0.04, 0)
    noise = [frechet_distance(acquired, features(0, sigma, 0)) for sigma in (0.04, 0.02, 0.0)]
    blur = [frechet_distance(acquired, features(width, 0.04, 0)) for width in (0.0, 0.5, 1.0)]
    assert noise == sorted(noise) and noise[2] > 1.5 * noise[0], noise
    assert blur == sorted(blur) and blur[2] > 5 * blur[0], blur


def test_an_untrained_net_is_its_number_and_nothing_else():
    torch.manual_seed(1)
    a, again, b = untrained_net(0), untrained_net(0), untrained_net(1)
    assert torch.equal(a[0].weight, again[0].weight) and not torch.equal(a[0].weight, b[0].weight)
    assert [p.shape for p in a.parameters()] == [p.shape for p in offline_net().parameters()]
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    untrained_net(0)
    assert torch.equal(torch.rand(1), before), "the global generator is left alone"


def test_eyes_are_of_the_project_and_of_the_user(tmp_path):
    eyes = load_eyes()
    assert list(eyes) == ["offline", "untrained", "tissue"] and len(eyes["untrained"]) == 5
    with pytest.raises(InputError, match="no weights file"):
        load_eyes([("imagenet-vit-b16", str(tmp_path / "vit.pth"))])
    with pytest.raises(InputError, match="There is no extractor 'untrained-99'; choose offline, untrained, tissue"):
        load_extractor("untrained-99")


def test_slices_of_tissue_maps_hold_no_noise():
    shares = tissue_map(0, shape=(44, 52, 44), spacing=4.0)
    assert shares.shape == (3, 44, 52, 44) and shares.min() >= 0 and shares.sum(0).max() <= 1.001
    images, drawn = draw_slices([shares], 6, 16, torch.Generator().manual_seed(0))
    assert images.shape == (6, 1, 16, 16) and drawn.shape == (6, 3, 16, 16)
    for image, share in zip(images, drawn, strict=True):  # a weighted sum of the maps, one weight a tissue
        found = np.linalg.lstsq(share.flatten(1).T.numpy(), image.flatten().numpy(), rcond=None)[0]
        np.testing.assert_allclose(found @ share.flatten(1).numpy(), image.flatten().numpy(), atol=1e-5)
    again = draw_slices([shares], 6, 16, torch.Generator().manual_seed(0))[0]
    assert torch.equal(images, again)


def test_the_tissue_net_learns_is_seeded_and_is_written_with_its_card(tmp_path, monkeypatch):
    maps = [tissue_map(1, shape=(44, 52, 44), spacing=4.0)]
    short, longer = (train_tissue(maps, steps=n, seed=0, window=32)[1] for n in (1, 25))
    assert longer < 0.8 * short
    a, b = (train_tissue(maps, steps=2, seed=s, window=32)[0] for s in (0, 1))
    assert torch.equal(a[0].weight, train_tissue(maps, steps=2, seed=0, window=32)[0][0].weight)
    assert not torch.equal(a[0].weight, b[0].weight)
    monkeypatch.setattr(feature_tissue, "tissue_map", lambda seed: maps[0])
    card = train_tissue_net(tmp_path / "t.safetensors", n_maps=1, steps=1, command="c")
    assert card["task"] == json.loads(TISSUE_WEIGHTS.with_suffix(".json").read_text())["task"]
    assert load_extractor("tissue", weights=tmp_path / "t.safetensors")(torch.rand(2, 1, 16, 16)).shape == (2, 32)
