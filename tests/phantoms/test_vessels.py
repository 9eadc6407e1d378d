"""Arteries: Murray's law, inside the brain, as much blood as the tree says, bright where it is fresh."""

from __future__ import annotations

import numpy as np
import pytest

from yoda_nb.images.units import WINDOWS
from yoda_nb.phantoms.anatomy import grid_affine
from yoda_nb.phantoms.phantom import TISSUES, phantom_case
from yoda_nb.phantoms.physics import BLOOD, TOF, signal
from yoda_nb.phantoms.vessels import REACHED, TWIG, Tree, drawn, grown_tree, inflow

SPACING, SHAPE = 3.0, (50, 60, 50)


@pytest.fixture(scope="module")
def brain():
    """An ellipsoid about as large as a brain, and its outermost layer."""
    grid = [(np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE]
    r = np.sqrt(sum((x / s) ** 2 for x, s in zip(np.meshgrid(*grid, indexing="ij"), (65, 80, 62), strict=True)))
    return r < 1, (r < 1) & (r > 0.85)


@pytest.fixture(scope="module")
def tree(brain):
    inside, cortex = brain
    return grown_tree(cortex, inside, grid_affine(SHAPE, SPACING), np.random.default_rng(0))


def test_branches_follow_murrays_law_but_where_a_vessel_is_narrow(tree):
    cubes = np.zeros(len(tree.parent))
    np.add.at(cubes, tree.parent[tree.parent >= 0], tree.radius[tree.parent >= 0] ** 3)
    forks = cubes > 0
    off = np.abs(tree.radius[forks] ** 3 - cubes[forks]) > 1e-6 * cubes[forks]
    assert 1 <= off.sum() <= 4, "a stenosis is off itself, and so is what it branches from"
    assert np.allclose(tree.radius[~forks], TWIG)
    roots = tree.parent < 0
    assert roots.sum() == 3 and (tree.radius[roots] > 1).all(), "two carotids and the basilar artery"
    joined = ~roots
    assert (tree.length[joined] > tree.length[tree.parent[joined]]).all()


def test_twigs_stay_inside_and_reach_the_cortex(tree, brain):
    inside, cortex = brain
    affine = grid_affine(SHAPE, SPACING)
    voxel = np.rint((tree.places - affine[:3, 3]) / SPACING).astype(int)
    assert inside[tuple(voxel.T)].mean() > 0.98  # the carotids enter from below
    places = np.argwhere(cortex)[::50] * SPACING + affine[:3, 3]
    gap = np.linalg.norm(places[:, None] - tree.places[None], axis=2).min(1)
    assert np.median(gap) < 2 * REACHED


def test_as_much_blood_is_drawn_as_a_pipe_holds():
    ends, radius = np.array([[0.0, 0, -20], [0, 0, 20]]), np.array([2.5, 2.5])
    pipe = Tree(ends, np.array([-1, 0]), radius, np.array([0.0, 40.0]), np.array([[12.0, 0, 0, 4.0]]))
    n = 40
    pipe = Tree(
        np.column_stack([np.zeros((n, 2)), np.linspace(-20, 20, n)]),
        np.arange(n) - 1,
        np.full(n, 2.5),
        np.linspace(0, 40, n),
        pipe.aneurysms,
    )
    share, way, sacks = drawn(pipe, (20, 20, 30), grid_affine((20, 20, 30), 2.0))
    assert share.max() == 1 and share.min() == 0
    ball, tube = 4 / 3 * np.pi * 4.0**3, np.pi * 2.5**2 * 40 + 4 / 3 * np.pi * 2.5**3
    assert share.sum() * 8 == pytest.approx(ball + tube, rel=0.1)
    assert sacks.sum() * 8 == pytest.approx(ball, rel=0.25)
    along = way[10, 10, 5:25]
    assert (np.diff(along[share[10, 10, 5:25] > 0.5]) > 0).all() and along.max() == pytest.approx(40, abs=3)


def test_fresh_blood_is_bright_and_far_from_the_heart_it_is_still_tissue():
    near, far = inflow(np.array([0.0, 1e4]))
    assert far == pytest.approx(signal(BLOOD, TOF["a"])) and near > 4 * far


def test_angiograms_show_arteries_and_their_aneurysms():
    v = phantom_case(2, sources=("TOF",), target="CTA", spacing=4.0, sigma=0.0)
    artery = v.labels == TISSUES.index("artery")
    low, high = WINDOWS["CTA"]
    hu = low + (high - low) * (v.clean + 1) / 2
    white = v.labels == TISSUES.index("WM")
    assert hu[artery].mean() > 180 and hu[white].mean() < 45
    assert v.source[artery].mean() > v.source[white].mean() + 0.2
    assert v.lesions.any() and hu[v.lesions].mean() > 200, "the lesions of an angiogram are aneurysms"
    plain = phantom_case(2, target="CT", spacing=4.0, sigma=0.0)
    assert not (plain.labels == TISSUES.index("artery")).any()
