"""The fat fraction of phantoms (FastUNet): a share of the tissue, whatever the coil sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yoda_nb.phantoms.phantom import FAT, PROTOCOLS, _measured_share, phantom_case

SMALL = {"spacing": 4.0, "shape": (44, 52, 44), "sources": ("T2w",)}


def share(image: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (image[where].double() + 1) / 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fat_fraction_is_the_tissues_share_whatever_the_coil_sees(protocol):
    v = phantom_case(3, **SMALL, target="FF", sigma=0.0, bias=0.4, bias_own=0.2, lesions=False, protocol=protocol)
    assert torch.allclose(v.target, v.clean, atol=1e-6)  # fields cancel in the ratio
    found = share(v.clean, v.mask)
    assert FAT["CSF"] <= found.min() + 1e-6 and found.max() == pytest.approx(FAT["WM"], abs=1e-3)
    medians = [float(share(v.clean, v.labels == code).median()) for code in (1, 2, 3)]
    assert medians[0] < medians[1] < medians[2]
    assert bool((v.target[~v.mask] == -1).all())


def test_a_lesion_has_lost_fat():
    sick, well = (phantom_case(3, **SMALL, target="FF", lesions=lesions) for lesions in (True, False))
    assert share(sick.clean, sick.lesions).mean() < share(well.clean, sick.lesions).mean() - 0.1


def test_noise_of_the_fraction_follows_from_that_of_its_two_images():
    """Where the signal is strong: sd = sigma sqrt(f^2 + (1-f)^2) / (W + F)."""
    rng = np.random.default_rng(0)
    total, f, sigma = np.full((50, 50, 50), 0.8), 0.3, 0.01
    found = _measured_share(total, f, sigma, rng.standard_normal((2, 50, 50, 50), dtype=np.float32), rng)
    assert found.mean() == pytest.approx(f, abs=1e-3)
    assert found.std() == pytest.approx(sigma * (f**2 + (1 - f) ** 2) ** 0.5 / 0.8, rel=0.02)


def test_asking_for_fat_changes_no_other_image():
    fat, flair = (phantom_case(5, **SMALL, target=target) for target in ("FF", "FLAIR"))
    both = phantom_case(5, **SMALL | {"sources": ("T2w", "FF")})
    assert torch.equal(fat.source, flair.source) and torch.equal(both.target, flair.target)
    assert torch.equal(both.source[1:], fat.target)
