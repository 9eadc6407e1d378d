"""The explorer of any two systems on any subject."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from explored import frame, shown

from yoda_nb.errors import InputError
from yoda_nb.figures import explorers
from yoda_nb.phantoms.phantom import phantom_case


@pytest.fixture(scope="module")
def two():
    return [phantom_case(k, spacing=8.0, shape=(24, 24, 24)) for k in (1, 2)]


def test_any_two_systems_on_any_subject(two):
    images = {"truth": [v.clean for v in two], "scan": [v.target for v in two], "zero": [v.clean * 0 for v in two]}
    table = pd.DataFrame(
        [{"reference": "acquired", "sampler": "scan", "subject": two[1].subject, "ssim": 0.5, "psnr": 21.0}]
    )
    e = explorers.systems(images, two, left="scan", right="zero", scores=table)
    assert [c["id"] for c in e.spec["controls"]] == ["left", "right", "subject", "outline"]
    assert e.spec["initial"]["left"] == 1 and e.spec["initial"]["right"] == 2
    (left, left_error), (right, _), (reference, between) = e.spec["columns"]
    cut = tuple(slice(o, o + n) for o, n in zip(e.spec["origin"], e.spec["shape"], strict=True))
    for k, v in enumerate(two):
        state = {"left": 1, "right": 2, "subject": k}
        expected = torch.where(v.mask, (v.target + 1) / 2, 0.0)[0][cut].numpy()
        assert np.abs(frame(e, shown(left["image"], **state)) / 255 - expected).max() <= 0.5 / 255 + 1e-6
        assert shown(left_error["minus"], **state) == shown(reference["image"], **state)
        assert shown(between["image"], **state) == shown(left["image"], **state)
        assert shown(between["minus"], **state) == shown(right["image"], **state)
    assert shown(between["title"], left=1, right=2) == "scan − zero"
    assert shown(e.spec["outline"], outline=1, subject=0) != shown(e.spec["outline"], outline=1, subject=1)
    read = {r["label"]: r["value"] for r in e.spec["readouts"]}
    assert shown(read["Left, to acquired"], left=1, subject=1) == "SSIM 0.500, PSNR 21.00 dB"
    assert shown(read["Left, to acquired"], left=1, subject=0) == "–"
    assert set(e.spec["frames"]) == set(e.frames)
    plt.close(e.picture())


def test_without_a_reference_two_images_and_their_difference(two):
    blind = [replace(v, clean=None, target=None, lesions=None) for v in two]
    e = explorers.systems({"a": [v.clean for v in two], "b": [v.target for v in two]}, blind, left="a", right="b")
    assert [len(c) for c in e.spec["columns"]] == [1, 1, 1] and e.spec["outline"] is None
    plt.close(e.picture())


def test_what_cannot_be_shown_is_said(two):
    with pytest.raises(InputError, match="'c'"):
        explorers.systems({"a": [v.clean for v in two]}, two, left="a", right="c")
    other = phantom_case(3, spacing=8.0, shape=(20, 24, 24))
    with pytest.raises(InputError, match="different grids"):
        explorers.systems({"a": [two[0].clean, other.clean]}, [two[0], other], left="a", right="a")
