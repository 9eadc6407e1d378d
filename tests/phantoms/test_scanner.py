"""Phantoms of any scanner: what differs between hospitals differs, and the target does not."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from yoda_nb.phantoms.anatomy import BRAIN
from yoda_nb.phantoms.patients import Shares, mass, membranes, smooth_noise, steps_from, white_spots, widened
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.phantoms.physics import PROTOCOLS, TISSUE_CONSTANTS, PulseSequence, magnitude, signal
from yoda_nb.phantoms.scanner import CANONICAL, CONSTANTS, RANGES, WHITE, draw_sequence, noisy, thick_slices

SMALL = {"spacing": 4.0, "shape": (44, 52, 44), "scanner": "any"}


@cache
def made(seed: int, **settings):
    return phantom_case(seed, **(SMALL | settings))


def brain(shape=(40, 48, 40)) -> Shares:
    """A ball of white matter around a ventricle, grey matter around it, CSF at the rim."""
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    r = np.sqrt(sum((g - (n - 1) / 2) ** 2 for g, n in zip(grid, shape, strict=True)))
    csf = ((r < 3) | ((r >= 17) & (r < 19))).astype(np.float32)
    gm = ((r >= 14) & (r < 17)).astype(np.float32)
    wm = ((r >= 3) & (r < 14)).astype(np.float32)
    return Shares(r < 19, {"CSF": csf, "GM": gm, "WM": wm})


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_subject():
    again = phantom_case(0, **SMALL)
    for x, y in zip(
        (made(0).source, made(0).target, made(0).mask), (again.source, again.target, again.mask), strict=True
    ):
        assert torch.equal(x, y)
    assert not torch.equal(made(0).target, made(1).target)


def test_it_is_a_volume_like_any_other():
    v = made(0)
    assert v.source.shape == (2, *v.shape) and v.target.shape == (1, *v.shape) and v.mask.dtype == torch.bool
    assert all(x.dtype == torch.float32 and float(x.min()) == -1 and float(x.max()) <= 1 for x in (v.source, v.target))
    assert (v.source[:, ~v.mask[0]] == -1).all() and (v.target[~v.mask] == -1).all()
    assert torch.equal(v.target, v.clean), "the target is without noise"
    assert v.spacing == (4.0, 4.0, 4.0) and v.sources == ("T1w", "T2w") and v.contrast == "FLAIR"
    assert v.subject == "phantom-any-0"


def test_the_target_is_canonical_while_the_sources_are_of_any_scanner():
    def ratios(image, v):
        inner = ndimage.binary_erosion(v.mask[0].numpy())
        csf, gm, wm = (
            float(
                ((image + 1) / 2)[torch.from_numpy((v.labels[0].numpy() == k) & inner & ~v.lesions[0].numpy())].median()
            )
            for k in (1, 2, 3)
        )
        return gm / wm, csf / wm

    target = np.array([ratios(made(s).target[0], made(s)) for s in range(8)])
    t1w, t2w = (np.array([ratios(made(s).source[k], made(s)) for s in range(8)]) for k in (0, 1))
    assert (target[:, 1] < 0.9).all() and 1.0 < np.median(target[:, 0]) < 1.35, "FLAIR: water is dark"
    assert (t1w[:, 0] < 1).all() and (t2w[:, 1] > 1).all(), "T1w: grey below white; T2w: water above all"
    assert t2w[:, 1].std() > 3 * target[:, 1].std()


def test_without_disease_there_are_no_lesions_and_with_it_there_are_some():
    assert not made(0, lesions=False).lesions.any()
    assert sum(bool(made(s).lesions.any()) for s in range(8)) >= 3


def test_sequences_lie_in_their_ranges():
    rng = np.random.default_rng(0)
    for contrast, kinds in RANGES.items():
        for _ in range(20):
            sequence = draw_sequence(contrast, rng)
            ends = kinds[sequence.kind]
            assert all(lo <= getattr(sequence, name) <= hi for name, (lo, hi) in ends.items())


def test_magnitude_of_arrays_is_that_of_each_number():
    sequence = PulseSequence("inversion-recovery", tr=9000, te=80, ti=2700)
    constants = np.array([TISSUE_CONSTANTS[t] for t in ("CSF", "GM", "WM")]).T
    assert magnitude(constants, sequence) == pytest.approx([signal(c, sequence) for c in constants.T])


def test_the_canonical_flair_is_as_its_comment_says():
    white, grey, water = (magnitude(CONSTANTS[name][0], CANONICAL["FLAIR"]) for name in ("WM", "GM", "CSF"))
    assert grey / white == pytest.approx(1.23, abs=0.01) and water / white == pytest.approx(0.35, abs=0.01)


def test_white_matter_is_as_bright_in_one_target_as_in_another_however_sick_the_brain():
    def white(v):
        pure = ndimage.binary_erosion((v.labels[0] == 3).numpy() & ~v.lesions[0].numpy())
        return float(((v.clean[0] + 1) / 2)[torch.from_numpy(pure)].median())

    assert [white(made(s)) for s in range(6)] == pytest.approx([WHITE] * 6, abs=0.03)


def test_water_is_as_dark_in_one_target_as_in_another():
    def water(v):
        pure = ndimage.binary_erosion((v.labels[0] == 1).numpy() & ~v.lesions[0].numpy())
        return None if pure.sum() < 5 else float(((v.target[0] + 1) / 2)[torch.from_numpy(pure)].median())

    found = [x for s in range(8) if (x := water(made(s, lesions=False))) is not None]
    assert len(found) > 3 and np.std(found) < 0.07


def test_a_black_hole_is_dark_on_t1w_and_bright_on_flair():
    t1w, flair = PROTOCOLS["a"]["T1w"], CANONICAL["FLAIR"]
    of = {name: {"t1": signal(c, t1w), "flair": signal(c, flair)} for name, (c, _) in CONSTANTS.items()}
    assert of["CSF"]["t1"] < of["black hole"]["t1"] < 0.8 * of["GM"]["t1"], "between water and cortex"
    assert min(of["black hole"]["flair"], of["lesion"]["flair"]) > 1.2 * of["WM"]["flair"] > of["CSF"]["flair"]
    shares = brain()
    white_spots(shares, 2.5, np.random.default_rng(3))
    assert shares.of["black hole"].max() > 0.1 and (shares.of["black hole"] > 0)[~shares.mask].sum() == 0


def test_thick_slices_keep_what_is_constant_along_them_and_smooth_the_rest():
    image = np.broadcast_to(np.random.default_rng(0).random((8, 8, 1), dtype=np.float32), (8, 8, 30))
    same = thick_slices(image, 2, 3.0, 3.0, 1.0)
    assert np.allclose(same, image, atol=1e-5)
    point = np.zeros((1, 1, 31), np.float32)
    point[..., 15] = 1
    spread = thick_slices(point, 2, 4.0, 1.0, 0.0)[0, 0]
    assert spread.argmax() == 15 and spread[15] < 0.3 and spread.sum() == pytest.approx(1, abs=0.02)
    width = np.sqrt((spread * (np.arange(31) - 15) ** 2).sum()) * 2.355
    assert width == pytest.approx(4, rel=0.1), "full width at half maximum"


def test_noise_has_its_standard_deviation_and_may_be_smooth():
    image = np.full((40, 40, 40), 0.5, np.float32)
    for seed in range(4):
        left = noisy(image, 0.03, np.random.default_rng(seed)) - image
        assert left.std() == pytest.approx(0.03, rel=0.05)
    neighbours = []
    for seed in range(8):
        left = noisy(image, 0.03, np.random.default_rng(seed)) - image
        neighbours.append(np.corrcoef(left[1:].ravel(), left[:-1].ravel())[0, 1])
    assert max(neighbours) > 0.2 and min(neighbours) < 0.05


@pytest.mark.parametrize("knots", [2.0, 7.5, 30.0])
def test_smooth_noise_is_smooth_over_its_knots(knots):
    field = smooth_noise((40, 36, 44), knots, np.random.default_rng(1))
    assert field.shape == (40, 36, 44) and field.dtype == np.float32
    jump = np.abs(np.diff(field, axis=0)).mean()
    assert jump < 3 / knots and field.std() < 2.5


def test_a_tissue_takes_only_what_is_there():
    rng = np.random.default_rng(3)
    for change in (white_spots, mass, membranes):
        shares = brain()
        before = sum(shares.of.values())
        change(shares, 4.0 if change is not white_spots else 2.5, rng)
        after = sum(shares.of.values())
        assert np.allclose(before, after, atol=1e-5), change.__name__
        assert all(part.min() >= -1e-6 for part in shares.of.values())
        assert set(shares.of) > set(BRAIN), f"{change.__name__} added nothing"
    assert not (shares.lesions & ~shares.mask).any()


def test_widening_moves_the_middle_alone():
    points = np.zeros((3, 2, 1, 1))
    points[:, 0, 0, 0] = (10.0, -8.0, 8.0)
    points[:, 1, 0, 0] = (150.0, -8.0, 8.0)
    moved = widened(points, 0.4)
    assert 5 < moved[0, 0, 0, 0] < 8 and moved[0, 1, 0, 0] == pytest.approx(150)


def test_steps_are_counted_along_the_axes():
    region = np.zeros((5, 5, 5), bool)
    region[2, 2, 2] = True
    assert steps_from(region)[2, 2, 4] == 2 and steps_from(region)[3, 3, 2] == 2 and steps_from(region)[2, 2, 2] == 0
