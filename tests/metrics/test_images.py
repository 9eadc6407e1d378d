"""Scores of images against closed forms and scikit-image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from seeded import rng
from skimage.metrics import structural_similarity
from volumes_by_hand import cube

from yoda_nb.errors import InputError
from yoda_nb.metrics.images import evaluate, noise_bound, pearson, psnr, score, ssim
from yoda_nb.phantoms.phantom import phantom_case


def smooth(seed: int, n: int = 24) -> torch.Tensor:
    coarse = torch.rand(1, 1, 6, 6, 6, generator=rng(seed))
    return torch.nn.functional.interpolate(coarse, size=(n, n, n), mode="trilinear")[0]


@pytest.mark.parametrize(("shift", "data_range", "db"), [(0.1, 1.0, 20.0), (0.1, 2.0, 26.0206), (25.5, 255, 20.0)])
def test_psnr_of_a_known_shift(shift, data_range, db):
    image, mask = data_range * smooth(0), cube(3, 20)
    assert psnr(image + shift, image, mask, data_range=data_range) == pytest.approx(db, abs=1e-3)
    assert psnr(image, image, mask, data_range=data_range) == float("inf")


def test_psnr_over_the_box_is_higher_by_the_share_of_the_mask():
    image, mask = smooth(0), torch.rand(1, 24, 24, 24, generator=rng(1)) < 0.3
    over_mask, over_box = (psnr(image + 0.1, image, mask, data_range=1, over=o) for o in ("mask", "box"))
    assert over_box - over_mask == pytest.approx(10 * np.log10(24**3 / float(mask.sum())), abs=1e-4)
    with pytest.raises(InputError, match="'mask' or 'box'"):
        psnr(image, image, mask, data_range=1, over="all")


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
def test_ssim_matches_scikit_image(data_range):
    mask = cube(2, 21)
    mask[:, 2:5, 2:5] = False
    target = data_range * smooth(1)
    pred = target + 0.07 * data_range * torch.randn(target.shape, generator=rng(2))
    a, b = (torch.where(mask, x, 0.0)[0, 2:21, 2:21, 2:21].double().numpy() for x in (pred, target))
    # truncate 3.5 at sigma 1.5 is an 11-voxel window; MONAI keeps only windows wholly inside.
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, truncate=3.5)
    _, full = structural_similarity(a, b, data_range=data_range, full=True, **options)
    expected = full[5:-5, 5:-5, 5:-5].mean()
    assert ssim(pred, target, mask, data_range=data_range) == pytest.approx(expected, abs=2e-5)


def test_ssim_limits_and_what_the_mask_hides():
    image, mask = smooth(3), cube(4, 20)
    assert ssim(image, image, mask, data_range=1) == pytest.approx(1)
    outside = torch.where(mask, image, torch.tensor(7.0))
    assert ssim(outside, image, mask, data_range=1) == pytest.approx(1)
    with pytest.raises(InputError, match="at least 11"):
        ssim(image, image, cube(4, 14), data_range=1)


def test_score_states_its_range_and_agrees_with_its_parts():
    image, mask = smooth(4), cube(2, 22)
    pred = image.clone()
    pred[mask] += 0.1 * torch.sign(torch.randn(int(mask.sum()), generator=rng()))
    result = score(pred, image, mask, data_range=1.0)
    assert list(result) == ["psnr", "ssim", "mae", "mse", "data_range"] and result["data_range"] == 1.0
    assert result["mae"] == pytest.approx(0.1, rel=1e-5) and result["mse"] == pytest.approx(0.01, rel=1e-5)
    assert result["psnr"] == pytest.approx(20, abs=1e-4)
    assert result["ssim"] == ssim(pred, image, mask, data_range=1.0)
    doubled = score(2 * pred, 2 * image, mask, data_range=2.0)
    assert doubled["psnr"] == pytest.approx(result["psnr"]) and doubled["ssim"] == pytest.approx(result["ssim"])


def test_scores_refuse_what_has_no_meaning():
    image, mask = smooth(0), cube(2, 22)
    with pytest.raises(TypeError):
        score(image, image, mask)  # the data range is never guessed
    with pytest.raises(InputError, match="share one shape"):
        score(image, image[..., 1:], mask, data_range=1)
    with pytest.raises(InputError, match="mask is empty"):
        score(image, image, torch.zeros_like(mask), data_range=1)
    with pytest.raises(InputError, match="data_range is 0"):
        score(image, image, mask, data_range=0)
    hole = image.clone()
    hole[0, 12, 12, 12] = float("nan")
    with pytest.raises(InputError, match="prediction is NaN"):
        score(hole, image, mask, data_range=1)


def test_noise_bound_falls_with_noise_and_rises_with_averaging():
    image, mask = smooth(5), cube(0, 24)
    once, ten = (noise_bound(image, mask, 0.08, n, generator=rng()) for n in (1, 10))
    assert once < ten < 1 == pytest.approx(noise_bound(image, mask, 0.0, 1, generator=rng()))
    same = noise_bound(image, mask, 0.08 / 10**0.5, 1, generator=rng())
    assert ten == pytest.approx(same)


def test_pearson_is_numpys_inside_the_mask_and_blind_to_scale():
    generator = torch.Generator().manual_seed(0)
    a, noise = torch.rand(2, 1, 6, 7, 8, generator=generator)
    b, mask = a + 0.3 * noise, torch.rand(1, 6, 7, 8, generator=generator) < 0.5
    expected = np.corrcoef(a[mask].numpy(), b[mask].numpy())[0, 1]
    assert pearson(a, b, mask) == pytest.approx(expected, abs=1e-6)
    assert pearson(5 - 3 * a, b, mask) == pytest.approx(-expected, abs=1e-6)
    assert np.isnan(pearson(torch.ones_like(a), b, mask))


@pytest.fixture(scope="module")
def phantom():
    return phantom_case(3, spacing=8.0, shape=(24, 28, 24))


@pytest.mark.parametrize(("reference", "held"), [("acquired", "target"), ("truth", "clean")])
def test_evaluate_is_the_score_of_images_as_the_package_holds_them(phantom, reference, held):
    image = (phantom.clean + 0.1 * torch.randn(phantom.clean.shape, generator=rng())).clamp(-1, 1)
    wanted = score((image + 1) / 2, (getattr(phantom, held) + 1) / 2, phantom.mask, data_range=1)
    assert evaluate(phantom, image, reference=reference) == wanted
    made = replace(phantom, target=image, clean=None)  # as ``translate`` gives it
    assert evaluate(phantom, made, reference=reference) == wanted
    assert evaluate(phantom, image) == evaluate(phantom, image, reference="acquired")


def test_evaluate_refuses_what_is_not_there(phantom):
    blind = replace(phantom, target=None, clean=None)
    for reference in ("acquired", "truth"):
        with pytest.raises(InputError, match=f"phantom-3 has no {reference} FLAIR to score"):
            evaluate(blind, phantom.clean, reference=reference)
    with pytest.raises(InputError, match="phantom-3 has no image to score"):
        evaluate(phantom, blind)
    with pytest.raises(InputError, match="'scan' is unknown: choose acquired or truth"):
        evaluate(phantom, phantom.clean, reference="scan")
    with pytest.raises(InputError, match="share one shape"):
        evaluate(phantom, phantom.clean[:, 1:])
