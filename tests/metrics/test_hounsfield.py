"""Scores of a CT in HU: errors by part, bone, vessels and their centre lines, grain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from yoda_nb.images.units import WINDOWS, in_window, to_hounsfield
from yoda_nb.metrics.hounsfield import grain, hounsfield_scores, vessel_scores

SHAPE, AFFINE = (1, 40, 40, 40), np.diag([1.0, 1.0, 1.0, 1.0])
EVERYWHERE = torch.ones(SHAPE, dtype=torch.bool)


def image(hu: torch.Tensor, contrast: str = "CTA") -> torch.Tensor:
    """HU -> [-1,1], nothing cut off."""
    low, high = WINDOWS[contrast]
    return 2 * (hu - low) / (high - low) - 1


def brain(**pipes: tuple[int, int, int]) -> torch.Tensor:
    """Soft tissue of 40 HU beside a plate of bone, with straight vessels of 300 HU: first row, column, thickness."""
    hu = torch.full(SHAPE, 40.0)
    hu[:, :, :, :3] = 1200.0
    for row, column, thick in pipes.values():
        hu[:, row : row + thick, column : column + thick, 12:36] = 300.0
    return image(hu)


def test_units_and_windows_go_there_and_back():
    x = torch.linspace(-1, 1, 7)
    assert torch.allclose(image(to_hounsfield(x, "CTA")), x, atol=1e-6)
    seen = in_window(image(torch.tensor([-1000.0, -50, 150, 350, 1200])), "CTA", (-50, 350))
    assert torch.allclose(seen, torch.tensor([-1.0, -1, 0, 1, 1]), atol=1e-5)


def test_errors_are_those_of_the_references_own_bone_soft_tissue_and_air():
    hu = torch.tensor([1000.0, 600, 50, 20, -900]).reshape(1, 5, 1, 1)
    made = hu + torch.tensor([-800.0, 10, 5, -15, 30]).reshape(1, 5, 1, 1)
    found = hounsfield_scores(image(made, "CT"), image(hu, "CT"), torch.ones_like(hu, dtype=torch.bool), "CT")
    wanted = {"mae_hu": 172.0, "mae_hu_bone": 405.0, "mae_hu_soft": 10.0, "mae_hu_air": 30.0, "bone_dice": 2 / 3}
    assert found == pytest.approx(wanted, abs=1e-2)
    soft = hounsfield_scores(image(hu, "CT"), image(hu, "CT"), hu.abs() < 100, "CT")
    assert set(soft) == {"mae_hu", "mae_hu_soft"}, "what the reference has nothing of is left out"


def test_vessels_are_found_away_from_bone_and_a_lost_twig_costs_centre_line_rather_than_volume():
    true = brain(trunk=(4, 12, 5), twig=(20, 24, 1))
    assert vessel_scores(true, true, EVERYWHERE, AFFINE) == {"vessel_dice": 1.0, "cl_dice": 1.0}
    lost = vessel_scores(brain(trunk=(4, 12, 5)), true, EVERYWHERE, AFFINE)
    assert lost["vessel_dice"] == pytest.approx(2 * 600 / (600 + 624))
    assert lost["cl_dice"] < lost["vessel_dice"] - 0.1
    assert vessel_scores(brain(), true, EVERYWHERE, AFFINE)["vessel_dice"] == 0.0
    assert vessel_scores(true, brain(), EVERYWHERE, AFFINE) == {}, "no vessels to find"


def test_marrow_between_two_plates_of_bone_is_no_vessel():
    hu = torch.full(SHAPE, 40.0)
    hu[:, :, :, 0:2], hu[:, :, :, 2:6], hu[:, :, :, 6:8] = 1200.0, 400.0, 1200.0
    hu[:, 20:23, 20:23, 20:36] = 300.0
    alone = vessel_scores(image(hu), image(hu), EVERYWHERE, AFFINE)
    hu[:, :, :, 2:6] = 40.0
    without = vessel_scores(image(hu), image(hu), EVERYWHERE, AFFINE)
    assert alone == without == {"vessel_dice": 1.0, "cl_dice": 1.0}


def test_grain_is_the_spread_about_the_local_mean_in_soft_tissue_alone():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SHAPE, generator=generator)
    calm, loud = (brain() + image(k * noise) - image(torch.zeros(1)) for k in (0.0, 12.0))
    away = ndimage.uniform_filter(noise[0].numpy(), 3)
    wanted = 12 * (noise[0].numpy() - away)[4:-4, 4:-4, 8:-4].std()
    assert grain(loud, brain(), EVERYWHERE, "CTA") == pytest.approx(wanted, rel=0.03)
    assert grain(calm, brain(), EVERYWHERE, "CTA") == pytest.approx(0, abs=1e-3)
    assert np.isnan(grain(loud, brain(), torch.zeros_like(EVERYWHERE), "CTA"))
