"""None"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from skimage.metrics import structural_similarity

from yoda_nb.errors import InputError
from yoda_nb.metrics.downstream import alvr, dice, hd95, icc31, lesion_cnr
from yoda_nb.metrics.images import noise_bound, paired_table, pearson, psnr, score, ssim


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cube(low: int, high: int, n: int = 24) -> torch.Tensor:
    mask = torch.zeros(1, n, n, n, dtype=torch.bool)
    mask[:, low:high, low:high, low:high] = True
    return mask


def smooth(seed: int, n: int = 24) -> torch.Tensor:
    coarse = torch.rand(1, 1, 6, 6, 6, generator=gen(seed))
    return torch.nn.functional.interpolate(coarse, size=(n, n, n), mode="trilinear")[0]


@pytest.mark.parametrize(("shift", "data_range", "db"), [(0.1, 1.0, 20.0), (0.1, 2.0, 26.0206), (25.5, 255, 20.0)])
def test_psnr_of_a_known_shift(shift, data_range, db):
    image, mask = data_range * smooth(0), cube(3, 20)
    assert psnr(image + shift, image, mask, data_range=data_range) == pytest.approx(db, abs=1e-3)
    assert psnr(image, image, mask, data_range=data_range) == float("inf")


def test_psnr_over_the_box_is_higher_by_the_share_of_the_mask():
    image, mask = smooth(0), torch.rand(1, 24, 24, 24, generator=gen(1)) < 0.3
    over_mask, over_box = (psnr(image + 0.1, image, mask, data_range=1, over=o) for o in ("mask", "box"))
    assert over_box - over_mask == pytest.approx(10 * np.log10(24**3 / float(mask.sum())), abs=1e-4)
    with pytest.raises(InputError, match="'mask' or 'box'"):
        psnr(image, image, mask, data_range=1, over="all")


@pytest.mark.parametrize("data_range", [1.0, 2.0, 255.0])
def test_ssim_matches_scikit_image(data_range):
    mask = cube(2, 21)
    mask[:, 2:5, 2:5] = False
    target = data_range * smooth(1)
    pred = target + 0.07 * data_range * torch.randn(target.shape, generator=gen(2))
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
    pred[mask] += 0.1 * torch.sign(torch.randn(int(mask.sum()), generator=gen()))
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
    once, ten = (noise_bound(image, mask, 0.08, n, generator=gen()) for n in (1, 10))
    assert once < ten < 1 == pytest.approx(noise_bound(image, mask, 0.0, 1, generator=gen()))
    same = noise_bound(image, mask, 0.08 / 10**0.5, 1, generator=gen())
    assert ten == pytest.approx(same)


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
    image, wm, lesion = torch.rand(1, 24, 24, 24, generator=gen()), cube(0, 24), cube(11, 12)
    image[lesion] = 2.0
    grid = torch.stack(torch.meshgrid(*[torch.arange(24.0) - 11] * 3, indexing="ij"))
    spacing = torch.tensor([1.0, 2.0, 3.0])
    r = (grid * spacing[:, None, None, None]).norm(dim=0)[None]
    near = image[(r <= 3) & ~lesion].double()
    expected = float((2 - near.mean()) / near.std())
    assert lesion_cnr(image, lesion, wm, (1, 2, 3)) == pytest.approx(expected, rel=1e-5)


def test_lesion_cnr_without_lesions_or_neighbours():
    image, wm = torch.rand(1, 24, 24, 24, generator=gen()), cube(0, 8)
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


def tidy(n: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    base = rng.normal(0.9, 0.02, n)
    levels = {"regression": base, "diffusion": base - 0.05 + rng.normal(0, 0.01, n), "copy": base}
    return pd.concat([pd.DataFrame({"subject": range(n), "system": k, "ssim": v}) for k, v in levels.items()]).sample(
        frac=1, random_state=0
    )


def test_paired_table_pairs_by_subject():
    df = tidy()
    table = paired_table(df, "ssim", "system", "regression").set_index("system")
    wide = df.pivot(index="subject", columns="system", values="ssim")
    row = table.loc["diffusion"]
    assert row["p"] == pytest.approx(stats.wilcoxon(wide["diffusion"], wide["regression"]).pvalue)
    assert row["difference"] == pytest.approx((wide["diffusion"] - wide["regression"]).mean())
    assert row["ci_low"] < row["difference"] < row["ci_high"] < 0 and row["n"] == 12
    assert table.loc["copy", "p"] == 1 and table.loc["copy", "ci_low"] == table.loc["copy", "ci_high"] == 0
    again = paired_table(df, "ssim", "system", "regression").set_index("system")
    pd.testing.assert_frame_equal(table, again)


def test_paired_table_counts_the_unpaired_and_refuses_bad_tables():
    df = tidy()
    cut = df[~((df["system"] == "diffusion") & (df["subject"] < 3))]
    row = paired_table(cut, "ssim", "system", "regression").set_index("system").loc["diffusion"]
    assert (row["n"], row["unpaired"]) == (9, 3)
    with pytest.raises(InputError, match="twice"):
        paired_table(pd.concat([df, df]), "ssim", "system", "regression")
    with pytest.raises(InputError, match="no column 'psnr'"):
        paired_table(df, "psnr", "system", "regression")
    with pytest.raises(InputError, match="reference 'gan'"):
        paired_table(df, "ssim", "system", "gan")
    with pytest.raises(InputError, match="not finite"):
        paired_table(df.assign(ssim=np.inf), "ssim", "system", "regression")


def test_pearson_is_numpys_inside_the_mask_and_blind_to_scale():
    generator = torch.Generator().manual_seed(0)
    a, noise = torch.rand(2, 1, 6, 7, 8, generator=generator)
    b, mask = a + 0.3 * noise, torch.rand(1, 6, 7, 8, generator=generator) < 0.5
    expected = np.corrcoef(a[mask].numpy(), b[mask].numpy())[0, 1]
    assert pearson(a, b, mask) == pytest.approx(expected, abs=1e-6)
    assert pearson(5 - 3 * a, b, mask) == pytest.approx(-expected, abs=1e-6)
    assert np.isnan(pearson(torch.ones_like(a), b, mask))
