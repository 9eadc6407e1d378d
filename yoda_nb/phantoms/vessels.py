"""Arteries of a brain: a tree from the circle of Willis to the cortex, with aneurysms and stenoses.

Trunks start where they enter the skull; twigs grow towards the cortex of this very brain by space colonisation
(Runions et al. 2007). Radii follow Murray's law, r^3 of a vessel = sum of r^3 of its branches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from yoda_nb.phantoms.anatomy import grid_affine
from yoda_nb.phantoms.physics import BLOOD, TOF, signal

# Ways of the trunks in mm from the middle of the brain, RAS+; those of the other side mirrored
_CAROTID, _BASILAR = (11.0, -2.0, -42.0), (0.0, -22.0, -52.0)
_SIDES = {
    "carotid": (_CAROTID, (11, 2, -30), (9, 8, -24)),
    "middle": ((9, 8, -24), (22, 8, -26), (36, 4, -20), (42, -6, -8)),
    "anterior": ((9, 8, -24), (3, 16, -22), (2.5, 30, -8), (2.5, 28, 14), (2.5, 8, 26)),
    "posterior": ((0, -18, -28), (10, -22, -26), (18, -36, -20), (16, -58, -8)),
}
_MIDDLE = {"basilar": (_BASILAR, (0, -20, -40), (0, -18, -28))}
STEP = 3.0  # mm between two nodes
REACHED = 5.0  # mm from a twig at which a place is fed
PLACES = 1500  # of the cortex that want to be fed
TWIG = 0.35  # mm, radius of a last twig
BENT = 0.25  # how far a twig turns from its way by chance
ANEURYSM = (2.0, 4.5)  # mm, radius
NARROWED = (0.35, 0.6)  # share of its radius that a stenosis leaves
SATURATED = {"a": 80.0, "b": 50.0}  # mm on which the signal of inflowing blood falls to 1 / e, by protocol
OPACIFIED = {"a": (380.0, 40.0), "b": (300.0, 40.0)}  # HU of blood in a CTA and their spread
THINNED = 600.0  # mm on which these HU fall to 1 / e
FINE = 0.8  # mm, at which vessels are drawn before voxels average them


@dataclass(frozen=True)
class Tree:
    """Nodes of the arteries: places (N,3), parent (N,), -1 of a root, radius (N,), length (N,) from the root; in mm."""

    places: np.ndarray
    parent: np.ndarray
    radius: np.ndarray
    length: np.ndarray
    aneurysms: np.ndarray  # (K,4): place and radius in mm


def grown_tree(cortex: np.ndarray, inside: np.ndarray, affine: np.ndarray, rng: np.random.Generator) -> Tree:
    """The arteries of a brain whose ``cortex`` they feed, in the voxels ``inside`` alone: both bool (D,H,W)."""
    places, parent = _trunks()
    wanted = np.argwhere(cortex)
    wanted = wanted[rng.choice(len(wanted), size=min(PLACES, len(wanted)), replace=False)]
    wanted = wanted @ affine[:3, :3].T + affine[:3, 3]
    to_voxel = np.linalg.inv(affine)
    for _ in range(200):
        distance, nearest = cKDTree(places).query(wanted)
        wanted, nearest = wanted[distance > REACHED], nearest[distance > REACHED]
        if not len(wanted):
            break
        tips, index = np.unique(nearest, return_inverse=True)
        way = np.zeros((len(tips), 3))
        np.add.at(way, index, _unit(wanted - places[nearest]))
        new = places[tips] + STEP * _unit(_unit(way) + BENT * rng.standard_normal(way.shape))
        voxel = np.rint(new @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
        there = ((voxel >= 0) & (voxel < inside.shape)).all(1)
        there[there] &= inside[tuple(voxel[there].T)]
        if not there.any():
            break
        places, parent = np.concatenate([places, new[there]]), np.concatenate([parent, tips[there]])
    radius = _murray(parent)
    return _diseased(Tree(places, parent, radius, _lengths(places, parent), np.zeros((0, 4))), rng)


def with_arteries(
    shares: Mapping[str, np.ndarray], brain: np.ndarray, spacing: float, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Shares of tissues with arteries in their place, how far blood has come in mm (D,H,W), and aneurysms (bool)."""
    affine = grid_affine(brain.shape, spacing)
    tree = grown_tree((shares["GM"] > 0.5) & brain, brain, affine, rng)
    blood, way, sacks = drawn(tree, brain.shape, affine)
    return {**{name: share * (1 - blood) for name, share in shares.items()}, "artery": blood}, way, sacks


def inflow(way: np.ndarray, protocol: str = "a") -> np.ndarray:
    """Signal of blood in a time-of-flight image: fresh where it enters, saturated like still tissue far from there."""
    t1, t2, density = BLOOD
    sequence = TOF[protocol]
    fresh = density * np.sin(np.deg2rad(sequence.flip)) * np.exp(-sequence.te / t2)
    still = signal((t1, t2, density), sequence)
    return still + (fresh - still) * np.exp(-way / SATURATED[protocol])


def contrast_agent(way: np.ndarray, rng: np.random.Generator, protocol: str = "a") -> np.ndarray:
    """HU of blood with a contrast agent, which thins on its way."""
    return rng.normal(*OPACIFIED[protocol]) * np.exp(-way / THINNED)


def _trunks() -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the trunks and the parent of each; a trunk goes on from the node at its beginning, if there is one."""
    ways = [np.array(way, float) for way in (*_MIDDLE.values(), *_SIDES.values())]
    mirrored = [np.array(way, float) * (-1, 1, 1) for way in _SIDES.values()]
    places, parent = np.zeros((0, 3)), np.zeros(0, int)
    for way in (*ways, *mirrored):
        known = np.linalg.norm(places - way[0], axis=1) if len(places) else np.zeros(0)
        if len(known) and known.min() < 1e-6:
            at = int(known.argmin())
        else:
            places, parent, at = np.vstack([places, way[:1]]), np.append(parent, -1), len(places)
        for a, b in pairwise(way):
            n = max(1, round(np.linalg.norm(b - a) / STEP))
            for k in range(1, n + 1):
                places, parent = np.vstack([places, a + (b - a) * k / n]), np.append(parent, at)
                at = len(places) - 1
    return places, parent


def _murray(parent: np.ndarray) -> np.ndarray:
    """Radius of each node: r^3 is the sum of its branches', and that of a last twig is known."""
    cubes = np.zeros(len(parent))
    for k in reversed(range(len(parent))):  # a branch comes after its parent
        cubes[k] = cubes[k] or TWIG**3
        if parent[k] >= 0:
            cubes[parent[k]] += cubes[k]
    return np.cbrt(cubes)


def _lengths(places: np.ndarray, parent: np.ndarray) -> np.ndarray:
    length = np.zeros(len(parent))
    for k in np.flatnonzero(parent >= 0):
        length[k] = length[parent[k]] + np.linalg.norm(places[k] - places[parent[k]])
    return length


def _diseased(tree: Tree, rng: np.random.Generator) -> Tree:
    """One to three aneurysms where trunks branch, and one or two narrow places."""
    branches = np.bincount(tree.parent[tree.parent >= 0], minlength=len(tree.parent))
    forks = np.flatnonzero((branches > 1) & (tree.radius > 3 * TWIG))
    trunk = np.flatnonzero((tree.radius > 3 * TWIG) & (tree.length > 20))
    chosen = rng.choice(forks, size=min(len(forks), 1 + int(rng.integers(3))), replace=False)
    sizes = rng.uniform(*ANEURYSM, len(chosen))
    sacks = np.column_stack(
        [tree.places[chosen] + sizes[:, None] * _unit(rng.standard_normal((len(chosen), 3))), sizes]
    )
    radius = tree.radius.copy()
    for at in rng.choice(trunk, size=min(len(trunk), 1 + int(rng.integers(2))), replace=False):
        radius[at] *= rng.uniform(*NARROWED)
    return Tree(tree.places, tree.parent, radius, tree.length, sacks)


def drawn(tree: Tree, shape: tuple[int, int, int], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of blood in every voxel (D,H,W), how far it has come in mm where there is some, and aneurysms (bool).

    Drawn in voxels of at most ``FINE`` mm and averaged. ``affine`` of isotropic voxels along the axes.
    """
    spacing = float(affine[0, 0])
    parts = int(np.ceil(spacing / FINE))
    fine, blood = spacing / parts, np.zeros([n * parts for n in shape], np.float32)
    origin = affine[:3, 3] - (spacing - fine) / 2
    joined = np.flatnonzero(tree.parent >= 0)
    for k in joined:
        up = tree.parent[k]
        for t in np.linspace(0, 1, max(2, round(STEP / fine))):
            place = (1 - t) * tree.places[up] + t * tree.places[k]
            _ball(blood, place, (1 - t) * tree.radius[up] + t * tree.radius[k], 1 + tree.length[k], origin, fine)
    sacks = np.zeros_like(blood)
    for *place, size in tree.aneurysms:
        nearest = int(np.linalg.norm(tree.places - place, axis=1).argmin())
        for image in (blood, sacks):
            _ball(image, np.array(place), size, 1 + tree.length[nearest], origin, fine)
    share = _averaged(blood > 0, parts)
    length = _averaged(blood, parts) / np.maximum(share, 1e-6) - 1
    return share, np.where(share > 0, length, 0), _averaged(sacks > 0, parts) > 0.5


def _ball(image: np.ndarray, place: np.ndarray, radius: float, value: float, origin: np.ndarray, fine: float) -> None:
    """Write a value into the voxels of a ball that have none yet."""
    middle = (place - origin) / fine
    radius = max(radius / fine, 0.5)
    low = np.maximum(np.floor(middle - radius).astype(int), 0)
    high = np.minimum(np.ceil(middle + radius).astype(int) + 1, image.shape)
    if (low >= high).any():
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = np.ogrid[box]
    inside = sum((axis - m) ** 2 for axis, m in zip(axes, middle, strict=True)) <= radius**2
    part = image[box]
    part[inside & (part == 0)] = value


def _averaged(image: np.ndarray, parts: int) -> np.ndarray:
    d, h, w = (n // parts for n in image.shape)
    return image.reshape(d, parts, h, parts, w, parts).mean((1, 3, 5), dtype=np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
