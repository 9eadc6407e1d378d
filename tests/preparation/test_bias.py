"""N4 against a known field."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine
from scans_by_hand import MIDDLE, scan

from yoda_nb.errors import InputError
from yoda_nb.preparation.bias import correct_bias


def shaded(size=(2, 2, 3)):
    """(image with a field, affine, brain, the field)."""
    image, affine = scan("T1w", size)
    mm = apply_affine(affine, np.moveaxis(np.indices(image.shape), 0, -1)) - MIDDLE
    field = np.exp(0.25 * np.sin(mm[..., 0] / 60) - 0.004 * mm[..., 2] + 0.1 * np.cos(mm[..., 1] / 50))
    return (image * field).astype(np.float32), affine, image > 0, field


def test_a_known_field_is_found_on_the_whole_grid():
    image, affine, brain, truth = shaded()
    corrected, field = correct_bias(image, affine, brain)
    assert corrected.dtype == field.dtype == np.float32 and field.shape == image.shape
    assert np.isfinite(field).all() and field.min() > 0
    np.testing.assert_allclose(corrected * field, image, rtol=1e-4)
    np.testing.assert_allclose(np.log(field[brain]).mean(), 0, atol=1e-3)
    left = np.log(field / truth)[brain]
    assert left.std() < 0.3 * np.log(truth[brain]).std()


def test_the_same_image_gives_the_same_bytes():
    image, affine, brain, _ = shaded((3, 3, 3))
    one, two = correct_bias(image, affine, brain), correct_bias(image, affine, brain)
    assert one[0].tobytes() == two[0].tobytes() and one[1].tobytes() == two[1].tobytes()


def test_nothing_to_fit_is_refused():
    image, affine, brain, _ = shaded((6, 6, 6))
    with pytest.raises(InputError, match="positive voxels"):
        correct_bias(image, affine, ~brain & (image > 0))
    with pytest.raises(InputError, match="shape"):
        correct_bias(image, affine, brain[1:])
