"""The explorer of a translated scan: its images in WebP, its units, and what it refuses."""

from __future__ import annotations

import io
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image

from yoda_nb.errors import InputError
from yoda_nb.figures import explorers

module = import_module("yoda_nb.figures.explorers.planes")  # the package has a function of that name

SHAPE = (1, 20, 24, 18)
MASK = torch.zeros(SHAPE, dtype=torch.bool)
MASK[:, 4:15, 5:20, 3:16] = True
RAMP = torch.linspace(-1, 1, 24).view(1, 1, -1, 1).expand(SHAPE).contiguous()


def test_a_frame_is_a_mosaic_of_its_sagittal_slices():
    found = explorers.planes({"T1w": RAMP}, MASK, spacing=(5, 5, 5))
    shape, (name, *_) = found.spec["shape"], found.frames
    levels = np.asarray(Image.open(io.BytesIO(found.frames[name])).convert("L"))
    box = [slice(low, low + n) for low, n in zip(found.spec["origin"], shape, strict=True)]
    expected = ((RAMP[0][tuple(box)] + 1) / 2 * 255).numpy()
    deep, high, wide = shape
    across = levels.shape[1] // wide
    for k in range(deep):
        top, left = k // across * high, k % across * wide
        assert np.abs(levels[top : top + high, left : left + wide] - expected[k]).mean() < 3


def test_a_spread_of_hounsfield_units_is_in_them():
    spread = torch.full(SHAPE, 0.1)
    found = explorers.planes({"made": RAMP}, MASK, contrasts={"made": "CT"}, spread=spread, spread_of="CT").spec
    overlay = found["planes"]["overlay"]
    assert (overlay["limit"], overlay["high"], overlay["unit"]) == (pytest.approx(300), "300", "HU")
    assert found["planes"]["a"]["values"][0]["units"]["values"][0] == (-1000.0, 2000.0, "HU")
    assert found["initial"]["spread"] == 0, "off until the reader asks"


def test_noise_is_compressed_until_the_page_is_small(monkeypatch):
    noise = torch.rand((1, 40, 40, 40), generator=torch.Generator().manual_seed(0)) * 2 - 1
    sizes = []
    for limit in (10**6, 30_000):
        monkeypatch.setattr(module, "BYTES", limit)
        found = explorers.planes({"noise": noise}, torch.ones_like(noise, dtype=torch.bool))
        sizes.append(sum(map(len, found.frames.values())))
        assert found.spec["factor"] == 1
    assert sizes[1] < 31_000 < sizes[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"spread": torch.zeros(1, 3, 3, 3)}, "use one grid"),
        ({"other_mask": torch.zeros(3, 3, 3, dtype=torch.bool)}, "use one grid"),
        ({"spread": torch.full(SHAPE, -0.1)}, "negative or not finite"),
        ({"spread": torch.full(SHAPE, torch.nan)}, "negative or not finite"),
    ],
)
def test_maps_that_cannot_be_shown_are_refused(given, words):
    with pytest.raises(InputError, match=words):
        explorers.planes({"T1w": RAMP}, MASK, **given)
