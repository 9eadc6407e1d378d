"""The training of the offline extractor, and the ladder that it must climb."""

from __future__ import annotations

import json

import pytest
import torch
from seeded import rng

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256
from yoda_nb.metrics.features import load_extractor
from yoda_nb.nets.models import save_net
from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.instruments.noise_features import acquire, blur, ladder, phantoms, train_extractor, train_offline


def test_distance_grows_with_missing_noise_and_with_blur():
    volumes = [phantom_case(900 + i, sigma=0.0) for i in range(6)]
    rungs = ladder(load_extractor(), volumes, seed=0)
    for kind in ("noise", "blur", "smoothing"):
        steps = [rungs["acquired"], *(v for k, v in rungs.items() if k.startswith(kind))]
        assert steps == sorted(steps), (kind, steps)
    assert rungs["noise 0.000"] > 2 * rungs["acquired"] and rungs["blur 2.0"] > 4 * rungs["acquired"]


def test_blur_has_its_width_and_zero_is_the_identity():
    image = torch.zeros(3, 1, 31, 31)
    image[:, 0, 15, 15] = 1
    widths = torch.tensor([0.0, 1.0, 1.5])
    blurred = blur(image, widths)
    torch.testing.assert_close(blurred[0], image[0])
    torch.testing.assert_close(blurred.sum(dim=(1, 2, 3)), torch.ones(3))
    along = (blurred[:, 0].sum(1) * (torch.arange(31) - 15) ** 2).sum(1)
    torch.testing.assert_close(along, widths**2, rtol=0.01, atol=1e-6)


def test_acquire_adds_the_stated_noise_inside_the_brain_only():
    clean = torch.zeros(2, 1, 64, 64)
    clean[:, :, 8:56, 8:56] = 0.6
    out = acquire(clean, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.05, 0.0]]), generator=rng())
    torch.testing.assert_close(out[0], clean[0])
    assert float(out[1][clean[1] > 0].std()) == pytest.approx(0.05, rel=0.05) and out[1, 0, 0, 0] == 0


def test_training_is_seeded_and_writes_a_pair_that_loads(tmp_path):
    volumes = phantoms(1, seed=950)
    net, again, other = (train_extractor(volumes, steps=1, seed=s) for s in (0, 0, 1))
    weights = [n[0].weight for n in (net, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    path = tmp_path / "new" / "net.safetensors"
    save_net(net, path, card={"net": {"width": 16, "features": 32}})
    assert sorted(p.name for p in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    x = torch.rand(4, 1, 32, 32, generator=rng())
    stored = net.half().float()  # what fp16 keeps
    torch.testing.assert_close(load_extractor(weights=path)(x), stored(x))
    with pytest.raises(InputError, match="sigma=0"):
        train_extractor([phantom_case(1)], steps=1, seed=0)


def test_the_committed_way_writes_weights_and_a_card_that_tells_of_them(tmp_path):
    card = train_offline(
        tmp_path / "net.safetensors", n_phantoms=1, steps=1, seed=3, command="yoda-nb rebuild features"
    )
    stored = json.loads((tmp_path / "net.json").read_text())
    assert stored == card | {"sha256": sha256(tmp_path / "net.safetensors")}
    assert (card["seed"], card["steps"], card["command"]) == (3, 1, "yoda-nb rebuild features")
    rungs = card["metrics"]["frechet_distance_on_held_out_phantoms"]
    assert {"acquired", "noise 0.000", "blur 2.0", "smoothing 1.0"} <= set(rungs)
    assert load_extractor(weights=tmp_path / "net.safetensors")(torch.rand(2, 1, 16, 16)).shape == (2, 32)
