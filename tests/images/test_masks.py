"""What a file that stands for a mask means, and when something is said of it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.masks import as_mask, millilitres
from yoda_nb.images.nifti import read_mask
from yoda_nb.preparation.load import load_volume

SHAPE = (32, 36, 30)
AFFINE = np.diag([5.0, 5, 5, 1])
PLACE = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
BALL = (PLACE**2).sum(-1) < 11.5**2
SOFT = ndimage.gaussian_filter(BALL.astype(np.float64), 2.0)
SHARP = ndimage.gaussian_filter(BALL.astype(np.float64), 0.7)
SPLINE = ndimage.shift(BALL.astype(np.float64), (0.3, 0.2, 0.1), order=3)
TEXTURE = 60 + 20 * np.sin(PLACE[..., 0]) + 7 * PLACE[..., 1]
TISSUES = 1 + (PLACE[..., 2] > 0) + (PLACE[..., 1] > 4)
REGIONS = 2 + np.digitize(np.hypot(PLACE[..., 0], PLACE[..., 1]), np.linspace(1, 11.3, 29))  # as SynthSeg's
CUT = SOFT > 0.5
EDGE = np.abs(np.sqrt((PLACE**2).sum(-1)) - 11.5) < 1.5

MASKS = {  # values, the mask that they are, what is said
    "0 and 1": (BALL, BALL, ""),
    "0 and 255": (255 * BALL, BALL, ""),
    "-1 and 1": (2.0 * BALL - 1, BALL, ""),
    "nothing": (0.0 * BALL, 0 * BALL, ""),
    "scaled by a slope": (0.9999999 * BALL, BALL, ""),
    "a probability": (SOFT, CUT, "cut at 0.5"),
    "a probability of 8 bits": (np.round(255 * SHARP), SHARP > 0.5, "cut at 127.5"),
    "a probability in per cent": (np.round(100 * SHARP), SHARP > 0.505, "cut at 50"),
    "a probability in per cent with a fraction": (100 * np.where(SHARP > 0.01, SHARP, 0), SHARP > 0.5, "cut at 50"),
    "resampled by a spline": (SPLINE, SPLINE > 0.5, "cut at 0.5"),
    "resampled by a spline, in 8 bits": (np.round(255 * SPLINE).clip(0, 255), SPLINE > 0.5, "cut at 127.5"),
    "resampled by a spline, of 255": (255 * SPLINE, None, "cut at"),
    "three labels": (TISSUES * BALL, BALL, "3 labels"),
    "many labels": (REGIONS * BALL, BALL, " labels: all above 0"),
    "a stripped image": (TEXTURE.clip(3) * BALL, BALL, "values of an image"),
    "a stripped image of whole numbers": (np.round(20 * TEXTURE.clip(3)) * BALL, BALL, "all above 0"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_what_a_mask_means(kind):
    values, mask, says = MASKS[kind]
    found, said = as_mask(values.astype(np.float32))
    assert found.dtype == bool, said
    if mask is None:  # the cut is near a half
        assert 0.98 < found.sum() / BALL.sum() < 1.02 and not (found ^ BALL)[~EDGE].any(), (said, found.sum())
    else:
        assert np.array_equal(found, mask), (said, found.sum(), np.sum(mask))
    assert (says in said) if says else said == ""


def test_many_labels_are_many():
    assert len(np.unique(REGIONS[BALL])) >= 24, "else the case above shows nothing"


def test_fractions_that_do_not_change_the_mask_are_not_worth_a_word():
    values = np.where(BALL, 1.0, 0.0)
    values[BALL & (PLACE[..., 0] > 0)] = 0.99
    assert as_mask(values)[1] == ""


def test_a_soft_mask_is_cut_and_said_to_be_with_its_file(tmp_path):
    image = np.where(BALL, TEXTURE.clip(3), 0).astype(np.float32)
    nib.save(nib.Nifti1Image(image, AFFINE), tmp_path / "t1.nii.gz")
    volumes = {}
    for kind in ("0 and 1", "a probability", "resampled by a spline"):
        nib.save(nib.Nifti1Image(MASKS[kind][0].astype(np.float32), AFFINE), tmp_path / "mask.nii.gz")
        if kind == "0 and 1":
            volume = load_volume({"T1w": tmp_path / "t1.nii.gz"}, mask=tmp_path / "mask.nii.gz")
        else:
            with pytest.warns(Doubt, match="mask.nii.gz holds fractions.*cut at 0.5"):
                volume = load_volume({"T1w": tmp_path / "t1.nii.gz"}, mask=tmp_path / "mask.nii.gz")
        assert [said for said in volume.doubts if "fractions" in said] == list(volume.doubts)
        volumes[kind] = millilitres(volume.mask[0].numpy(), AFFINE)
    assert np.allclose(list(volumes.values()), volumes["0 and 1"], rtol=0.1), volumes


def test_a_mask_that_is_empty_is_refused(tmp_path):
    nib.save(nib.Nifti1Image((0 * BALL).astype(np.uint8), AFFINE), tmp_path / "mask.nii")
    with pytest.raises(InputError, match="mask.nii is empty"):
        read_mask(tmp_path / "mask.nii")
