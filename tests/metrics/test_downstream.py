"""Overlap, distance, lesion contrast and agreement, by hand and against the literature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded import rng
from volumes_by_hand import cube

from yoda_nb.errors import InputError
from yoda_nb.metrics.downstream import alvr, dice, hd95, icc31, lesion_cnr


def test_dice_and_hd95_by_hand_with_anisotropic_spacing():
    a, b = cube(0, 0), cube(0, 0)
    a[0, 4:10, 4:10, 4:10] = True
    b[0, 6:12, 4:10, 4:10] = True  # two voxels along D, which are 5 mm each
    assert dice(a, b) == pytest.approx(2 * 4 / 12)
    assert hd95(a, b, (5, 1, 1)) == pytest.approx(10)
    assert hd95(a, b, (1, 5, 5)) == pytest.approx(2)
    single, far = cube(5, 6), cube(0, 0)
    far[0, 8, 9, 5] = True
    assert hd95(single, far, (1.0, 2.0, 3.0)) == pytest.approx((3**2 + 8**2) ** 0.5)


def test_a_missed_structure_is_worse_than_any_found_one():
    empty, found, truth = cube(0, 0), cube(22, 24), cube(0, 3)
    assert (dice(empty, empty), hd95(empty, empty, (1, 1, 1)), alvr(empty, empty)) == (1.0, 0.0, 0.0)
    for a, b in ((empty, truth), (truth, empty)):
        assert (dice(a, b), hd95(a, b, (1, 1, 1)), alvr(a, b)) == (0.0, float("inf"), float("inf"))
    assert hd95(found, truth, (1, 1, 1)) < hd95(empty, truth, (1, 1, 1))
    assert alvr(found, truth) == pytest.approx(3 * np.log2(1.5)) == alvr(truth, found)
    with pytest.raises(InputError, match="share one shape"):
        dice(empty, empty[..., 1:])


def test_lesion_cnr_by_hand():
    image, wm = torch.full((1, 24, 24, 24), 0.5), cube(0, 24)
    checker = torch.arange(24)[:, None, None] + torch.arange(24)[:, None] + torch.arange(24)
    image += 0.1 * (2 * (checker % 2) - 1)[None]  # white matter of standard deviation 0.1
    small, large = cube(3, 4), cube(14, 16)
    image[small], image[large] = 0.9, 1.3
    cnr = lesion_cnr(image, small | large, wm, (1, 1, 1))
    each = [lesion_cnr(image, small, wm & ~large, (1, 1, 1)), lesion_cnr(image, large, wm & ~small, (1, 1, 1))]
    assert each == pytest.approx([4, 8], rel=0.05)
    assert cnr == pytest.approx((1 * each[0] + 8 * each[1]) / 9)
    scaled = lesion_cnr(3 * image - 1, small | large, wm, (1, 1, 1))
    assert scaled == pytest.approx(cnr, rel=1e-5)  # no scale, no offset


def test_lesion_cnr_looks_only_within_the_distance():
    image, wm, lesion = torch.rand(1, 24, 24, 24, generator=rng()), cube(0, 24), cube(11, 12)
    image[lesion] = 2.0
    grid = torch.stack(torch.meshgrid(*[torch.arange(24.0) - 11] * 3, indexing="ij"))
    spacing = torch.tensor([1.0, 2.0, 3.0])
    r = (grid * spacing[:, None, None, None]).norm(dim=0)[None]
    near = image[(r <= 3) & ~lesion].double()
    expected = float((2 - near.mean()) / near.std())
    assert lesion_cnr(image, lesion, wm, (1, 2, 3)) == pytest.approx(expected, rel=1e-5)


def test_lesion_cnr_without_lesions_or_neighbours():
    image, wm = torch.rand(1, 24, 24, 24, generator=rng()), cube(0, 8)
    assert np.isnan(lesion_cnr(image, cube(0, 0), wm, (1, 1, 1)))
    with pytest.warns(UserWarning, match="1 of 2 lesions"):
        both = lesion_cnr(image, cube(3, 4) | cube(20, 21), wm, (1, 1, 1))
    assert both == pytest.approx(lesion_cnr(image, cube(3, 4), wm, (1, 1, 1)))


SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_icc31_of_shrout_and_fleiss():
    result = icc31(SHROUT_FLEISS)
    assert result["icc"] == pytest.approx(0.7148, abs=5e-5)
    assert (result["ci_low"], result["ci_high"]) == pytest.approx((0.3425, 0.9459), abs=1e-3)
    assert (result["n"], result["k"]) == (6, 4)


def test_icc31_is_consistency_and_refuses_holes():
    x = np.random.default_rng(0).normal(size=(20, 1))
    assert icc31(np.hstack([x, x + 5]))["icc"] == pytest.approx(1)  # an offset between raters is allowed
    with pytest.raises(InputError, match="missing values"):
        icc31([[1, 2], [3, np.nan]])
    with pytest.raises(InputError, match="at least 2"):
        icc31([[1, 2]])
    with pytest.raises(InputError, match="equal"):
        icc31(np.ones((3, 2)))
