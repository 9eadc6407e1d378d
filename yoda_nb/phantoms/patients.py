"""Brains beyond the average: lesions, masses with cyst and oedema, wide ventricles, membranes at the rim.

All of them are shares of tissues in voxels, drawn from a generator; what a scanner makes of them is
``scanner``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage

from yoda_nb.phantoms.anatomy import BRAIN


@dataclass
class Shares:
    """Tissue shares being built: name -> (D,H,W) float32 in [0,1], sum at most 1 inside ``mask``."""

    mask: np.ndarray  # (D,H,W) bool
    of: dict[str, np.ndarray]
    lesions: np.ndarray = field(init=False)  # (D,H,W) bool: what a reader would outline

    def __post_init__(self) -> None:
        self.lesions = np.zeros(self.mask.shape, bool)

    def replace(self, name: str, amount: np.ndarray, among: tuple[str, ...] = BRAIN) -> None:
        """Let a tissue take ``amount`` (D,H,W) in [0,1] of what the tissues ``among`` hold."""
        taken = np.zeros(self.mask.shape, np.float32)
        for other in among:
            if other in self.of and other != name:
                part = self.of[other] * amount
                self.of[other] = self.of[other] - part
                taken += part
        self.of[name] = self.of.get(name, 0) + taken


def smooth_noise(shape: tuple[int, int, int], knots: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of unit variance (D,H,W) whose knots lie ``knots`` voxels apart."""
    coarse = [max(4, int(np.ceil(n / knots)) + 3) for n in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 0.5, mode="wrap")
    field = (field - field.mean()) / field.std()
    finer = max(1, int(knots / 6))  # cubic as far as it is cheap, linear from there
    field = ndimage.zoom(field, [((c - 1) * finer + 1) / c for c in coarse], order=3)
    size = [round((c - 1) * knots) + 1 for c in coarse]
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(field)[None, None], size=size, mode="trilinear", align_corners=True
    )
    return fine[0, 0][tuple(slice(0, n) for n in shape)].numpy()


def steps_from(region: np.ndarray) -> np.ndarray:
    """How many voxels away from a region (D,H,W) bool, counted along the axes: quick, and near enough here."""
    return ndimage.distance_transform_cdt(~region, "taxicab")


def widened(points: np.ndarray, amount: float, radius: float = 32.0) -> np.ndarray:
    """Coordinates (3,D,H,W) in mm from the brain's middle at which to look, so that the ventricles grow.

    ``amount`` in [0,0.5]: the share by which distances shrink in the middle; nothing moves far from it.
    """
    middle = np.array([0.0, -8.0, 8.0]).reshape(3, 1, 1, 1)
    away = points - middle
    return points - amount * away * np.exp(-(away**2).sum(0) / radius**2)


def white_spots(shares: Shares, spacing: float, rng: np.random.Generator) -> None:
    """Lesions of multiple sclerosis: ovoid, most of them by the ventricles, each as severe as it likes.

    Half have a core that lost its tissue, a black hole on T1w, which is no water: it stays bright on FLAIR.
    """
    csf, wm = shares.of["CSF"], shares.of["WM"]
    depth = steps_from(~shares.mask) * spacing
    ventricles = (csf > 0.5) & (depth > 20)
    if not ventricles.any():
        return
    distance = steps_from(ventricles) * spacing
    weight = np.where((wm > 0.7) & (depth > 8), np.exp(-distance / 10.0) + 0.05, 0).ravel()
    if not weight.any():
        return
    amount, core = np.zeros((2, *shares.mask.shape), np.float32)
    for flat in rng.choice(weight.size, size=1 + rng.poisson(20), p=weight / weight.sum()):
        centre = np.unravel_index(flat, shares.mask.shape)
        radii = rng.uniform(1.2, 3.0) * np.exp(rng.exponential(0.5) + rng.normal(0, 0.25, 3))
        ball, where = _ball(
            shares.mask.shape, centre, np.minimum(radii, 12.0) / spacing, rng.uniform(0.3, 1.2) / spacing
        )
        amount[where] = np.maximum(amount[where], ball * rng.uniform(0.35, 1.0))
        if rng.random() < 0.5:
            core[where] = np.maximum(core[where], ball ** rng.uniform(1, 3) * rng.uniform(0.3, 1.0))
    shares.lesions |= amount * wm > 0.4
    shares.replace("lesion", amount, ("WM",))
    shares.replace("black hole", core, ("lesion",))


def mass(shares: Shares, spacing: float, rng: np.random.Generator) -> None:
    """A mass with a ragged border: solid, or a rim around a cyst, in oedema that keeps to white matter."""
    depth = steps_from(~shares.mask) * spacing
    inside = np.flatnonzero(depth.ravel() > 15)
    if not len(inside):
        return
    centre = np.unravel_index(rng.choice(inside), shares.mask.shape)
    ragged = 1 + 0.25 * smooth_noise(shares.mask.shape, 12 / spacing, rng)
    radius = rng.uniform(6, 22)
    grid = np.ogrid[tuple(slice(0, n) for n in shares.mask.shape)]
    stretch = np.exp(rng.normal(0, 0.2, 3))
    r = spacing * np.sqrt(sum(((g - c) / s) ** 2 for g, c, s in zip(grid, centre, stretch, strict=True))) / ragged

    def within(mm: float) -> np.ndarray:
        return (1 / (1 + np.exp(np.minimum((r - mm) / (0.5 * spacing), 40)))).astype(np.float32)

    swelling = rng.uniform(0, 25)
    if swelling > 4:
        fading = np.clip(1.2 - (r - radius) / swelling, 0, 1).astype(np.float32)
        shares.replace("oedema", np.where(r < radius, 1, fading) * rng.uniform(0.6, 1), ("WM",))
    shares.replace("tumour", within(radius), (*BRAIN, "oedema", "lesion", "black hole"))
    if rng.random() < 0.6:
        shares.replace("cyst", within(radius * rng.uniform(0.4, 0.9)), ("tumour",))
    shares.lesions |= (r < radius) & shares.mask


def membranes(shares: Shares, spacing: float, rng: np.random.Generator) -> None:
    """Dura and vessels: patches of something neither brain nor water in the outer CSF."""
    depth = steps_from(~shares.mask) * spacing
    patchy = np.clip(smooth_noise(shares.mask.shape, 8 / spacing, rng) + rng.uniform(-1, 1), 0, 1)
    shares.replace(
        "dura", (patchy * (depth < rng.uniform(1.5, 4.0)) * rng.uniform(0.3, 0.9)).astype(np.float32), ("CSF",)
    )
    threads = np.abs(smooth_noise(shares.mask.shape, 6 / spacing, rng)) < 0.06
    shares.replace("dura", (threads * rng.uniform(0.0, 0.7)).astype(np.float32), ("CSF",))


def _ball(shape, centre, radii, edge: float) -> tuple[np.ndarray, tuple[slice, ...]]:
    """A soft ellipsoid in the smallest box that holds it: values in [0,1], and the box; lengths in voxels."""
    reach = np.ceil(radii + 4 * edge).astype(int)
    where = tuple(slice(max(0, c - n), min(s, c + n + 1)) for c, n, s in zip(centre, reach, shape, strict=True))
    grid = np.ogrid[where]
    r = np.sqrt(sum(((g - c) / a) ** 2 for g, c, a in zip(grid, centre, radii, strict=True)))
    return (1 / (1 + np.exp((r - 1) * radii.mean() / edge))).astype(np.float32), where


def white_lesions(
    tissues: Mapping[str, np.ndarray], mask: np.ndarray, spacing: float, rng: np.random.Generator
) -> np.ndarray:
    """White-matter lesions (D,H,W) in [0,1]: soft blobs, most of them near the ventricles."""
    csf, wm = tissues["CSF"], tissues["WM"]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1] * spacing
    ventricles = (csf > 0.5) & (depth > 20)
    if not ventricles.any():
        return np.zeros(mask.shape)
    distance = ndimage.distance_transform_edt(~ventricles) * spacing
    weight = np.where((wm > 0.7) & (depth > 10), np.exp(-distance / 8.0), 0).ravel()
    if not weight.any():
        return np.zeros(mask.shape)
    blobs = np.zeros(mask.shape)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"))
    for flat in rng.choice(weight.size, size=4 + rng.poisson(8), p=weight / weight.sum()):
        centre = np.array(np.unravel_index(flat, mask.shape)).reshape(3, 1, 1, 1)
        radii = rng.uniform(2.5, 7.0, 3).reshape(3, 1, 1, 1)  # mm
        r = np.sqrt((((grid - centre) * spacing / radii) ** 2).sum(0))
        blobs = np.maximum(blobs, 1 / (1 + np.exp((r - 1) * radii.mean() / (0.3 * spacing))))
    return blobs


def signs_of(lesion: np.ndarray, hidden: float, rng: np.random.Generator) -> np.ndarray:
    """(D,H,W): -1 in each lesion that shows the opposite contrast, with probability ``hidden``; 1 elsewhere."""
    numbered, count = ndimage.label(lesion > 0.1)
    return np.where(np.append(False, rng.random(count) < hidden)[numbered], -1.0, 1.0)
