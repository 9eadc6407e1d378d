"""Perceptual distances against closed forms, slices, and the shipped extractor."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from seeded import rng

from yoda_nb.errors import InputError
from yoda_nb.metrics.features import (
    frechet_distance,
    kernel_distance,
    load_extractor,
    perceptual_report,
    slices_for_features,
)


def with_moments(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """``x`` moved so that its sample mean and covariance are exactly the given ones."""
    x = x - x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(cov).T + mean


def test_frechet_distance_of_two_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500, 3))
    variances = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
    a = with_moments(x, np.zeros(3), np.diag(variances[0]))
    b = with_moments(y, np.array([1.0, 2.0, 0.0]), np.diag(variances[1]))
    closed = 5 + ((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-9)
    # In two dimensions tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)): covariances that do not commute.
    p, q = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    a, b = (with_moments(z[:, :2], np.zeros(2), c) for z, c in ((x, p), (y, q)))
    root = np.sqrt(np.trace(p @ q) + 2 * np.sqrt(np.linalg.det(p @ q)))
    assert frechet_distance(a, b) == pytest.approx(np.trace(p) + np.trace(q) - 2 * root, rel=1e-9)


def test_frechet_distance_is_symmetric_zero_on_itself_and_holds_when_singular():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(10, 40)), rng.normal(size=(12, 40)) + 1  # fewer samples than features
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(a, a + 2) == pytest.approx(160, rel=1e-6)
    assert frechet_distance(a[:, :1], a[:, :1] + 3) == pytest.approx(9)


def test_kernel_distance_matches_the_definition_and_is_unbiased():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(7, 4)), rng.normal(size=(9, 4)) + 0.5

    def k(x, y):
        return (x @ y / 4 + 1) ** 3

    aa = np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    bb = np.mean([k(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    ab = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(aa + bb - 2 * ab)
    same = [kernel_distance(*rng.normal(size=(2, 20, 8))) for _ in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20
    biased = np.mean([frechet_distance(*rng.normal(size=(2, 20, 8))) for _ in range(50)])
    assert biased > 1  # what the floor is for


def test_distances_refuse_nan_and_mismatch():
    a = np.random.default_rng(3).normal(size=(8, 3))
    bad = a.copy()
    bad[0, 0] = np.nan
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="NaN"):
            distance(bad, a)
        with pytest.raises(InputError, match="one extractor"):
            distance(a, a[:, :2])
        with pytest.raises(InputError, match="N >= 2"):
            distance(a[:1], a)


def flat(images: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images, 2).flatten(1)


def test_perceptual_report():
    real, fake = (torch.rand(40, 1, 8, 8, generator=rng(1)), torch.rand(30, 1, 8, 8, generator=rng(2)))
    report = perceptual_report(real, fake, flat, generator=rng())
    assert report == perceptual_report(real, fake, flat, generator=rng())
    assert report["fd"] == frechet_distance(flat(real), flat(fake))
    assert report["kd"] == kernel_distance(flat(real), flat(fake))
    assert {k: report[k] for k in ("n", "n_real", "n_fake", "d")} == {"n": 30, "n_real": 40, "n_fake": 30, "d": 4}
    assert 0 < report["floor"] < perceptual_report(real, 0.5 * fake, flat, generator=rng())["fd"]
    with pytest.warns(UserWarning, match="n = 3 slices in d = 4"):
        perceptual_report(real, fake[:3], flat, generator=rng())
    with pytest.raises(InputError, match="synthetic features hold NaN"):
        perceptual_report(real, fake * float("nan"), flat, generator=rng())
    with pytest.raises(InputError, match="halves"):
        perceptual_report(real[:3], fake, flat, generator=rng())


def test_slices_stand_upright_hold_the_brain_only_and_follow_the_mask():
    volume, mask = torch.full((1, 6, 8, 5), 0.2), torch.zeros(1, 6, 8, 5, dtype=torch.bool)
    mask[:, 1:5, 1:7, 1:4] = True
    mask[:, 2, 2, 4] = True  # one voxel of brain is not a slice
    volume[0, 4, 6, 1] = 3.0  # right, anterior
    slices = slices_for_features(volume, mask)
    assert slices.shape == (3, 1, 8, 6) and slices.max() == 1
    assert slices[0, 0, 1, 1] == 1  # towards the top, on the left
    assert float((slices > 0).sum()) == 4 * 6 * 3
    assert len(slices_for_features(volume, mask, min_fraction=0.0)) == 5
    with pytest.raises(InputError, match="mask is empty"):
        slices_for_features(volume, torch.zeros_like(mask))
    with pytest.raises(InputError, match="must share"):
        slices_for_features(volume, mask[..., 1:])


def test_extractors_say_what_they_need():
    with pytest.raises(
        InputError, match="choose offline, untrained, tissue or radimagenet-resnet50 or imagenet-vit-b16"
    ):
        load_extractor("inception")
    for name, place in (("radimagenet-resnet50", "github.com"), ("imagenet-vit-b16", "pytorch.org")):
        with pytest.raises(InputError, match=f"{place}.*pass weights=PATH"):
            load_extractor(name)
    with pytest.raises(InputError, match="needs \\(N, 1, H, W\\)"):
        load_extractor()(torch.rand(3, 8, 8))


def test_shipped_extractor_is_quick_and_the_same_in_any_batch():
    extract, images = load_extractor(), torch.rand(200, 1, 64, 64, generator=rng())
    extract(images[:8])
    start = time.process_time()
    features = extract(images)
    assert time.process_time() - start < 3  # under a second on an idle core
    torch.testing.assert_close(features[:5], extract(images[:5]), rtol=1e-4, atol=1e-5)
