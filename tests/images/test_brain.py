"""Where the brain is: in a stripped image, inside a head, and in a real one."""

from __future__ import annotations

import numpy as np
import torch
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from yoda_nb.images.brain import brain_mask
from yoda_nb.images.space import resample_like
from yoda_nb.images.volumes import load_volume

SHAPE = (22, 26, 24)
AFFINE = np.array([[6.0, 0, 0, -60], [0, 6, 0, -80], [0, 0, 6, -65], [0, 0, 0, 1]])


def tilted(affine, degrees=(12, -7, 20)):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return turn @ affine


def world(shape, affine):
    return apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


def head(shape=SHAPE, affine=AFFINE, seed=0):
    """A brain-sized ball of smooth texture in exact zeros, and the ball."""
    mm = world(shape, affine) - apply_affine(affine, (np.array(shape) - 1) / 2)
    ball = (mm**2).sum(-1) < 58**2
    texture = 100 + 40 * np.sin(mm[..., 0] / 25) + 30 * np.cos(mm[..., 1] / 30) + mm[..., 2] / 3
    return np.where(ball, texture, 0).astype(np.float32), ball


def test_a_stripped_brain_is_its_own_mask():
    data, ball = head()
    data[10, 12, 11] = 0  # a hole
    data[0, 0, 0] = 5  # a speck
    np.testing.assert_array_equal(brain_mask(data, AFFINE), ball)


def test_a_brain_inside_a_head_is_found_again():
    """MNI152 brain in a bright scalp, air noise everywhere, nodding and shifted; twice the same."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from scipy.ndimage import binary_dilation

    template = load_mni152_template(resolution=4)
    brain = load_mni152_brain_mask(resolution=4).get_fdata() > 0.5
    data = np.pad(template.get_fdata(dtype=np.float32), 8)
    brain = np.pad(brain, 8)
    skull = binary_dilation(brain, iterations=2)
    scalp = binary_dilation(skull, iterations=2) & ~skull
    data = np.where(brain, data, 0.9 * scalp) + 0.0
    noise = np.random.default_rng(1).normal(scale=0.03, size=(2, *data.shape))
    data = np.hypot(data + noise[0], noise[1]).astype(np.float32)
    affine = tilted(template.affine, (10, 3, -5))
    affine[:3, 3] += [15, 10, -25]
    found = brain_mask(data, affine)
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.93
    np.testing.assert_array_equal(found, brain_mask(data, affine))


def test_a_real_head(mirror):
    path = next(mirror.rglob("avg152T1.nii.gz"))
    volume = load_volume({"T1w": path})
    from nilearn.datasets import load_mni152_brain_mask

    known = load_mni152_brain_mask(resolution=2)  # the same space
    known = resample_like(
        torch.from_numpy(known.get_fdata() > 0.5)[None], known.affine, volume.affine, volume.shape, order=0, fill=0
    )
    overlap = 2 * (known & volume.mask).sum() / (known.sum() + volume.mask.sum())
    assert overlap > 0.9
