"""Anatomy as tissue fractions, and a subject of it: MNI152 maps of nilearn, or any FreeSurfer-coded label map."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import read_image

# FreeSurfer codes -> share of (CSF, GM, WM); deep nuclei lie between grey and white, as in MNI152
_CSF, _GM, _WM = (1, 0, 0), (0, 1, 0), (0, 0, 1)
FREESURFER = {
    **dict.fromkeys((4, 5, 14, 15, 24, 30, 31, 43, 44, 62, 63, 72), _CSF),
    **dict.fromkeys((3, 8, 11, 12, 17, 18, 26, 42, 47, 50, 51, 53, 54, 58), _GM),
    **dict.fromkeys((2, 7, 25, 41, 46, 57, 77, 78, 79, 85, *range(251, 256)), _WM),
    **dict.fromkeys((10, 49), (0, 0.6, 0.4)),
    **dict.fromkeys((13, 16, 28, 52, 60), (0, 0.3, 0.7)),
    **dict.fromkeys((*range(1000, 1036), *range(2000, 2036)), _GM),
}
CSF_OUTSIDE = (24,)  # around the brain, in the SynthSeg maps as far as the neck
EXTRACEREBRAL = 500  # codes 500..999 are skull, face and neck in the SynthSeg maps
BRAIN = ("CSF", "GM", "WM")
BEYOND = 12  # knots of a smooth field's edge that are repeated
OUTSIDE = ("bone", "marrow", "muscle", "fat")  # "muscle" is any soft tissue that is neither brain nor fat
# Codes of the SynthSeg maps outside the brain, by where they lie: compact and spongy bone, soft tissue, mucosa,
# spinal cord, vessels and nerves, skin with what is under it; eyes are water
HEAD = {
    **{511: "fat", 515: "bone", 516: "marrow"},
    **dict.fromkeys((502, 507, 509, 512, 514, 530), "muscle"),
    **dict.fromkeys((506, 508), "CSF"),
}


def tissue_fractions(path: str | None, spacing: float, head: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Fractions of ``BRAIN`` (3,D,H,W) in [0,1], blurred for a voxel size in mm to come, and
    their affine to mm from the middle of the brain. ``path`` None is the MNI152 average, which ends at the brain.

    With ``head`` a label map gives those of ``OUTSIDE`` too (7,D,H,W). Raises InputError for a file that is no label
    map, or none of a head.
    """
    file = Path(path) if path else None
    modified = file.stat().st_mtime_ns if file and file.exists() else 0
    return _tissue_fractions(path, spacing, modified, head and path is not None)


@lru_cache(maxsize=24)
def _tissue_fractions(path: str | None, spacing: float, modified: int, head: bool) -> tuple[np.ndarray, np.ndarray]:
    fractions, affine = _mni152() if path is None else _label_map(path, head)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    sigma = 0.35 * spacing / voxel  # about the width of the voxel's box
    step = max(1, int(spacing / voxel.max() / 2))  # after the blur, every second sample is enough
    small = [ndimage.gaussian_filter(f, sigma)[::step, ::step, ::step] for f in fractions]
    return np.stack(small).astype(np.float32), affine @ np.diag([step, step, step, 1.0])


def _mni152() -> tuple[np.ndarray, np.ndarray]:
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

    gm_image = load_mni152_gm_template(resolution=1)
    gm, wm = gm_image.get_fdata(), load_mni152_wm_template(resolution=1).get_fdata()
    brain = load_mni152_brain_mask(resolution=1).get_fdata() > 0
    gm, wm = gm * brain, wm * brain
    total = np.maximum(gm + wm, 1)
    gm, wm = gm / total, wm / total
    # the MNI152 brain is larger than a typical one in every direction (Lancaster et al., 2007)
    affine = np.diag([0.93, 0.93, 0.93, 1]) @ gm_image.affine
    return _centred(np.stack([brain * (1 - gm - wm), gm, wm]).astype(np.float32), affine)


def _label_map(path: str, head: bool) -> tuple[np.ndarray, np.ndarray]:
    """FreeSurfer-coded map -> fractions; a code we do not know takes its nearest known neighbour."""
    tissues = FREESURFER
    if head:
        vector = dict(zip((*BRAIN, *OUTSIDE), np.eye(len(BRAIN) + len(OUTSIDE)), strict=True))
        padded = {code: (*shares, *[0] * len(OUTSIDE)) for code, shares in FREESURFER.items()}
        tissues = padded | {code: tuple(vector[name]) for code, name in HEAD.items()}
    image, affine, _ = read_image(path)
    codes = np.rint(image).astype(int)
    inside = (codes > 0) & ((codes < EXTRACEREBRAL) | (codes >= 1000))
    if not np.isin(codes, list(FREESURFER)).any():
        raise InputError(f"{path} contains no FreeSurfer tissue code: give a label map such as aseg.mgz.")
    if head:
        if not np.isin(codes, list(HEAD)).any():
            raise InputError(f"{path} has no skull: a CT needs a map of a whole head, such as SynthSeg's.")
        inside = codes > 0
    else:
        parenchyma = inside & ~np.isin(codes, CSF_OUTSIDE)
        voxel = np.linalg.norm(affine[:3, :3], axis=0)
        # the maps' outer CSF fills the skull and the neck: keep what a brain mask would
        inside &= ndimage.distance_transform_edt(~parenchyma, sampling=voxel) <= 4.0
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    codes, inside = codes[box], inside[box]
    origin = np.eye(4)
    origin[:3, 3] = [s.start for s in box]
    unknown = inside & ~np.isin(codes, list(tissues))
    nearest = ndimage.distance_transform_edt(~inside | unknown, return_distances=False, return_indices=True)
    codes = np.where(unknown, codes[tuple(nearest)], codes)
    table = np.zeros((max(codes.max(), max(tissues)) + 1, len(next(iter(tissues.values())))), np.float32)
    table[list(tissues)] = list(tissues.values())
    fractions = np.moveaxis(table[np.where(inside, codes, 0)], -1, 0)
    return _centred(fractions, affine @ origin)


def _centred(fractions: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the middle of the brain's box to the origin of the mm space."""
    box = ndimage.find_objects((fractions[1:3].sum(0) > 0.5).astype(np.uint8))[0]
    middle = np.array([(s.start + s.stop - 1) / 2 for s in box])
    moved = affine.copy()
    moved[:3, 3] = -affine[:3, :3] @ middle
    return fractions, moved


def grid_affine(shape: tuple[int, int, int], spacing: float) -> np.ndarray:
    """RAS+ grid centred on the brain."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(shape) - 1) / 2
    return affine


def rotation(angles: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation  # a third of a second

    return Rotation.from_euler("xyz", angles).as_matrix()


def solid(mask: np.ndarray) -> np.ndarray:
    """Largest connected component with its holes filled."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        raise InputError("The phantom's field of view contains no brain: enlarge shape or spacing.")
    largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return ndimage.binary_fill_holes(pieces == largest)


def subject_fractions(
    anatomy: str | Path | None,
    shape: tuple[int, int, int],
    spacing: float,
    rng: np.random.Generator,
    head: bool = False,
) -> np.ndarray:
    """Deform an anatomy and sample it: fractions of ``BRAIN`` (3,D,H,W) whose sum is at most 1.

    With ``head`` a label map gives those of ``OUTSIDE`` too, (7,D,H,W).
    """
    fractions, affine = tissue_fractions(None if anatomy is None else str(anatomy), float(spacing), head)
    angles, scale = rng.normal(0, 0.06, 3), np.exp(rng.normal(0, 0.04, 3))
    linear = rotation(angles) @ np.diag(scale)
    shift = rng.normal(0, 3.0, 3)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    points = grid * spacing + grid_affine(shape, spacing)[:3, 3].reshape(3, 1, 1, 1)
    points = np.tensordot(linear, points, 1) + shift.reshape(3, 1, 1, 1)
    points += np.stack([smooth_field(shape, spacing, 2.5, rng, knots=30.0) for _ in range(3)])
    inverse = np.linalg.inv(affine)
    index = np.tensordot(inverse[:3, :3], points, 1) + inverse[:3, 3].reshape(3, 1, 1, 1)
    return np.stack([ndimage.map_coordinates(f, index, order=1) for f in fractions])


def smooth_field(shape, spacing: float, std: float, rng: np.random.Generator, knots: float = 60.0) -> np.ndarray:
    """Smooth Gaussian random field: cubic spline through random knots ``knots`` mm apart.

    It is the product of a spline along each axis, so three small matrices make it.
    """
    coarse = rng.standard_normal([int(np.ceil(n * spacing / knots)) + 3 for n in shape])
    # as scipy's map_coordinates does it: what lies beyond the last knots repeats them
    spline = ndimage.spline_filter(np.pad(coarse, BEYOND, mode="edge"), 3, mode="nearest")[
        (slice(BEYOND, -BEYOND),) * 3
    ]
    along = [
        BSpline.design_matrix(1 + np.arange(n) * spacing / knots, np.arange(-2.0, count + 2), 3).toarray()
        for n, count in zip(shape, coarse.shape, strict=True)
    ]
    return (std * np.einsum("ai,bj,ck,ijk->abc", *along, spline, optimize=True)).astype(np.float32)
