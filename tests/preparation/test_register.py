"""Rigid registration against known motions: of phantoms, and as published for real patients."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scans_by_hand import STILL, apart, brain_points, rigid, scan

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import read_image, read_mask
from yoda_nb.preparation.brain import brain_mask
from yoda_nb.preparation.register import motion, moved, register

AXIAL, CORONAL = (1.2, 1.2, 3.0), (1.2, 3.0, 1.2)
MOTIONS = {
    "none": STILL,
    "small": rigid((4, -3, 2), (3, -5, 4)),
    "large": rigid((15, -15, 15), (15, -15, 15)),
    "other way": rigid((-15, 12, -10), (-12, 15, -15)),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_a_known_motion_is_found_through_thick_slices(name):
    truth, points = MOTIONS[name], brain_points()
    found = register(*scan("T2w", AXIAL, truth), *scan("T1w", CORONAL))
    assert apart(found.matrix, truth, points) < 0.3
    shift, turn = motion(truth, points.mean(axis=0))
    assert found.shift == pytest.approx(shift, abs=1) and found.rotation == pytest.approx(turn, abs=0.5)
    assert found.overlap > 0.95 and found.metric > 0.3
    np.testing.assert_allclose(found.matrix[:3, :3] @ found.matrix[:3, :3].T, np.eye(3), atol=1e-7)


def test_the_same_images_give_the_same_bytes_and_are_left_as_they_are():
    moving, fixed = scan("FLAIR", (3, 3, 4), MOTIONS["small"]), scan("T1w", (3, 3, 3))
    before = [x.copy() for x in (*moving, *fixed)]
    one, two = register(*moving, *fixed), register(*moving, *fixed)
    assert one.matrix.tobytes() == two.matrix.tobytes() and one.metric == two.metric
    for x, y in zip(before, (*moving, *fixed), strict=True):
        np.testing.assert_array_equal(x, y)


def test_only_the_region_counts_and_a_lost_origin_does_not():
    """Half of the moving head is another's; its header lies 300 mm away."""
    truth = rigid((3, 2, -4), (4, 4, -3))
    image, affine = scan("T2w", (2, 2, 2), truth)
    half = np.arange(len(image)) > len(image) // 2
    image[half] = np.roll(image, 9, axis=1)[half]
    lost = np.eye(4)
    lost[:3, 3] = (200, -200, 100)
    fixed, fixed_affine = scan("T1w", (2, 2, 2))
    region = (fixed > 0) & (np.arange(len(fixed)) < len(fixed) // 2 - 6)[:, None, None]
    found = register(image, lost @ affine, fixed, fixed_affine, region=region)
    points = apply_affine(fixed_affine, np.argwhere(region)[::31])
    assert apart(found.matrix, lost @ truth, points) < 0.5


def test_images_of_different_places_are_refused():
    fixed = scan("T1w", (3, 3, 3))
    part, affine = scan("T2w", (3, 3, 3))
    with pytest.raises(InputError, match=r"only \d+% of the head is in both images") as caught:
        register(part[24:34, 30:40, 28:38], affine @ _shift(24, 30, 28), *fixed)
    assert "\n" not in str(caught.value)


def _shift(*voxels):
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


PATIENTS = [("patient01", "study1"), ("patient01", "study2"), ("patient03", "study2"), ("patient03", "study1")]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.mark.parametrize(("patient", "study"), PATIENTS)
def test_published_transforms_of_patients(mirror, patient, study):
    """Median over the brain within 0.5 mm of the data set's affine transforms, which no rigid one can equal."""
    folder = next(mirror.rglob("longitudinal"))
    raw = folder / "raw" / patient
    brain, affine, _ = read_mask(folder / "coregistered" / patient / "brainmask.nii.gz")
    to_flair = itk(raw / f"{study}_FLAIR_to_common_space.txt")
    points = apply_affine(to_flair @ affine, np.argwhere(brain)[::211])
    flair, flair_affine, _ = read_image(raw / f"{study}_FLAIR.nii.gz")
    found, known = {}, {}
    for contrast in ("T1W", "T2W"):
        if (path := raw / f"{study}_{contrast}.nii.gz").exists():
            image, image_affine, _ = read_image(path)
            found[contrast] = register(image, image_affine, flair, flair_affine).matrix
            known[contrast] = itk(raw / f"{study}_{contrast}_intrastudy_to_FLAIR.txt")
            assert apart(found[contrast], known[contrast], points) < 0.5, contrast
    if len(found) == 2:  # T2w to T1w
        back = np.linalg.inv
        places = apply_affine(known["T1W"], points)
        # two published affines with scale and shear of half a percent each: 0.3 to 0.57 mm measured
        assert apart(found["T2W"] @ back(found["T1W"]), known["T2W"] @ back(known["T1W"]), places) < 0.6


@pytest.mark.parametrize(("patient", "study", "least"), [("patient01", "study1", 0.95), ("patient03", "study2", 0.88)])
def test_brains_of_patients_agree_with_the_data_sets_masks(mirror, patient, study, least):
    """Dice; the mask of patient 3, who has lost volume, leaves out the fluid around the brain that ours keeps."""
    folder = next(mirror.rglob("longitudinal"))
    raw = folder / "raw" / patient
    brain, affine, _ = read_mask(folder / "coregistered" / patient / "brainmask.nii.gz")
    to_scan = itk(raw / f"{study}_T1W_intrastudy_to_FLAIR.txt") @ itk(raw / f"{study}_FLAIR_to_common_space.txt")
    image, image_affine, _ = read_image(raw / f"{study}_T1W.nii.gz")
    known = moved(brain.astype(np.float32), to_scan @ affine, image_affine, image.shape, order=1) > 0.5
    found = brain_mask(image, image_affine)
    assert 2 * (found & known).sum() / (found.sum() + known.sum()) > least


def itk(path):
    """The matrix (4, 4), RAS, of an ITK transform file: an affine about a centre, in LPS."""
    lines = dict(line.split(": ") for line in path.read_text().splitlines() if ": " in line)
    numbers = np.array(lines["Parameters"].split(), float)
    centre = np.array(lines["FixedParameters"].split(), float)
    matrix = np.eye(4)
    matrix[:3, :3] = numbers[:9].reshape(3, 3)
    matrix[:3, 3] = numbers[9:] + centre - matrix[:3, :3] @ centre
    return LPS @ matrix @ LPS
