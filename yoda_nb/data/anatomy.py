"""Anatomy as tissue fractions: the MNI152 maps that nilearn ships, or any FreeSurfer-coded label map."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

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


def tissue_fractions(path: str | None, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """CSF, GM and WM fractions (3,D,H,W) in [0,1], blurred for a voxel size in mm to come, and
    their affine to mm from the middle of the brain. ``path`` None is the MNI152 average.

    Raises InputError for a file that is no label map.
    """
    file = Path(path) if path else None
    return _tissue_fractions(path, spacing, file.stat().st_mtime_ns if file and file.exists() else 0)


@lru_cache(maxsize=24)
def _tissue_fractions(path: str | None, spacing: float, modified: int) -> tuple[np.ndarray, np.ndarray]:
    fractions, affine = _mni152() if path is None else _label_map(path)
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


def _label_map(path: str) -> tuple[np.ndarray, np.ndarray]:
    """FreeSurfer-coded map -> fractions; a code we do not know takes its nearest known neighbour."""
    image, affine, _ = read_image(path)
    codes = np.rint(image).astype(int)
    brain = (codes > 0) & ((codes < EXTRACEREBRAL) | (codes >= 1000))
    if not np.isin(codes, list(FREESURFER)).any():
        raise InputError(f"{path} holds no FreeSurfer tissue code: give a label map such as aseg.mgz.")
    parenchyma = brain & ~np.isin(codes, CSF_OUTSIDE)
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    # the maps' outer CSF fills the skull and the neck: keep what a brain mask would
    brain &= ndimage.distance_transform_edt(~parenchyma, sampling=voxel) <= 4.0
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    codes, brain = codes[box], brain[box]
    origin = np.eye(4)
    origin[:3, 3] = [s.start for s in box]
    unknown = brain & ~np.isin(codes, list(FREESURFER))
    nearest = ndimage.distance_transform_edt(~brain | unknown, return_distances=False, return_indices=True)
    codes = np.where(unknown, codes[tuple(nearest)], codes)
    table = np.zeros((max(codes.max(), max(FREESURFER)) + 1, 3), np.float32)
    table[list(FREESURFER)] = list(FREESURFER.values())
    fractions = np.moveaxis(table[np.where(brain, codes, 0)], -1, 0)
    return _centred(fractions, affine @ origin)


def _centred(fractions: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move the middle of the brain's box to the origin of the mm space."""
    box = ndimage.find_objects((fractions[1:].sum(0) > 0.5).astype(np.uint8))[0]
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
        raise InputError("The phantom's field of view holds no brain: enlarge shape or spacing.")
    largest = np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    return ndimage.binary_fill_holes(pieces == largest)
