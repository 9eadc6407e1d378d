"""A head around a brain, and its CT: what lies outside the brain, Hounsfield units, reconstructed noise.

The MNI152 maps end at the brain, so a head is built around them in shells (``around``); FreeSurfer-coded maps of whole
heads, such as SynthSeg's, have tissues of their own (``anatomy.HEAD``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from yoda_nb.images.masks import grown, shrunk
from yoda_nb.images.units import AIR, WINDOWS
from yoda_nb.phantoms.anatomy import BRAIN, OUTSIDE, smooth_field, solid

Tissues = Mapping[str, np.ndarray]  # tissue -> its share of each voxel (D,H,W)
# Shells from the brain outwards: tissue, thickness in mm
SHELLS = (("CSF", 2.0), ("bone", 1.8), ("marrow", 3.5), ("bone", 1.8), ("muscle", 1.5), ("fat", 4.0), ("muscle", 1.7))
UNEVEN = 0.25  # standard deviation of the logarithm of a thickness from place to place
SULCI = 12.0  # mm that the inner table bridges

# Mean of each tissue in HU, and its spread from subject to subject
HOUNSFIELD = {
    "CSF": (8.0, 2.0),
    "GM": (38.0, 2.0),
    "WM": (30.0, 2.0),
    "lesion": (24.0, 2.0),
    "bone": (1300.0, 150.0),
    "marrow": (450.0, 100.0),
    "muscle": (55.0, 5.0),
    "fat": (-95.0, 8.0),
    "artery": (45.0, 3.0),
}
DENSITY = 0.15  # standard deviation of bone's density from place to place, which cannot be seen on MR
QUANTUM = 300.0  # HU of noise where ``sigma`` is 1: 12 HU beside an MR image of 0.04
CUTOFF = 0.25  # cycles a voxel: where the reconstruction kernel has fallen to 1 / e


def around(fractions: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Tissues (7,D,H,W) of ``BRAIN`` and ``OUTSIDE`` of a head around a brain (3,D,H,W); their sum is at most 1.

    Each shell has a smooth uneven thickness of its own. ``spacing`` in mm.
    """
    room = 1 - np.minimum(fractions.sum(0), 1)
    depth = _depth(fractions.sum(0) > 0.5, spacing)
    shares = dict(zip(BRAIN, fractions, strict=True)) | dict.fromkeys(OUTSIDE, np.zeros(room.shape))
    inner = np.full(room.shape, -np.inf)
    outer = np.zeros(room.shape)
    for name, thickness in SHELLS:
        outer = outer + thickness * np.exp(smooth_field(room.shape, spacing, UNEVEN, rng))
        shares[name] = shares[name] + room * (_within(outer, depth, spacing) - _within(inner, depth, spacing))
        inner = outer
    return np.stack(list(shares.values()))


def _depth(brain: np.ndarray, spacing: float) -> np.ndarray:
    """Signed distance in mm from the surface that spans the sulci, positive outside."""
    reach = int(np.ceil(SULCI / spacing))
    wide = np.pad(solid(brain), reach)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    closed = shrunk(grown(wide, affine, SULCI), affine, SULCI)
    out, into = (ndimage.distance_transform_edt(x) for x in (~closed, closed))
    depth = spacing * np.where(closed, 0.5 - into, out - 0.5)
    return ndimage.gaussian_filter(depth, 0.5)[reach:-reach, reach:-reach, reach:-reach]


def _within(edge: np.ndarray, depth: np.ndarray, spacing: float) -> np.ndarray:
    """Share of each voxel that lies below an edge at this depth (mm), as a box of one voxel sees a plane."""
    return np.clip((edge - depth) / spacing + 0.5, 0, 1)


def ct_image(
    shares: Tissues,
    lesion: np.ndarray,
    spacing: float,
    sigma: float,
    rng: np.random.Generator,
    blood: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Clean and acquired CT (D,H,W), of a CTA with ``blood``, on the [0,1] scale of its window (``units.WINDOWS``).

    ``shares`` (D,H,W) of each tissue, air elsewhere; ``lesion`` (D,H,W) takes the place of white matter. Bone has a
    density of its own from place to place; ``blood`` (D,H,W) is what arteries have in HU with a contrast agent. The
    noise is Gaussian, ``QUANTUM * sigma`` HU.
    """
    values: dict[str, Any] = {name: rng.normal(*spread) for name, spread in HOUNSFIELD.items()}
    density = np.exp(smooth_field(lesion.shape, spacing, DENSITY, rng, knots=20.0))
    if blood is not None:
        values["artery"] = blood
    image = AIR * (1 - np.sum([*shares.values()], 0))
    for name, share in {**shares, "WM": shares["WM"] * (1 - lesion), "lesion": shares["WM"] * lesion}.items():
        image = image + share * values[name] * (density if name in ("bone", "marrow") else 1)
    low, high = WINDOWS["CT" if blood is None else "CTA"]
    noise = reconstructed(rng.standard_normal(lesion.shape), CUTOFF)
    clean, noisy = ((x - low) / (high - low) for x in (image, image + QUANTUM * sigma * noise))
    return clean, noisy


def reconstructed(noise: np.ndarray, cutoff: float) -> np.ndarray:
    """White noise (D,H,W) as filtered back-projection leaves it in each slice: power |f| exp(-(f / cutoff)^2).

    The ramp takes the slow part away, the kernel the fast one; frequencies in cycles a voxel, deviation 1.
    """
    d, h = (np.fft.fftfreq(n) for n in noise.shape[:2])
    f = np.hypot(d[:, None], h[None])
    gain = np.sqrt(f * np.exp(-((f / cutoff) ** 2)))[..., None]
    return np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * gain, axes=(0, 1)).real / np.sqrt((gain**2).mean())
