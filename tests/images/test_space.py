"""Resampling, boxes and crops, against closed forms and inverses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from scipy.spatial.transform import Rotation

from yoda_nb.errors import InputError
from yoda_nb.images.space import crop, resample_like, roi_box, uncrop

SHAPE = (22, 26, 24)
AFFINE = np.array([[6.0, 0, 0, -60], [0, 6, 0, -80], [0, 0, 6, -65], [0, 0, 0, 1]])


def tilted(affine, degrees=(12, -7, 20)):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    return turn @ affine


def world(shape, affine):
    return apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


@pytest.mark.parametrize("order", [1, 3])
def test_a_linear_ramp_survives_resampling(order):
    """Linear functions of mm are reproduced exactly inside, on any pair of grids."""
    ramp = torch.from_numpy(world(SHAPE, AFFINE) @ [0.3, -0.2, 0.5]).float()[None]
    to_affine = tilted(np.diag([5.0, 5.5, 4.5, 1.0]), (3, 5, -4))
    to_affine[:3, 3] = [-20, -25, -20]
    got = resample_like(ramp, AFFINE, to_affine, (8, 8, 8), order=order)[0].numpy()
    want = world((8, 8, 8), to_affine) @ [0.3, -0.2, 0.5]
    np.testing.assert_allclose(got, want, atol=0.05 if order == 3 else 1e-4)


def test_downsampling_does_not_alias():
    stripes = torch.from_numpy((np.indices((24, 24, 24)).sum(0) % 2).astype(np.float32))[None]
    coarse = np.diag([2.0, 2, 2, 1])
    thinned = resample_like(stripes, np.eye(4), coarse, (12, 12, 12), order=3)
    assert thinned[0, 3:-3, 3:-3, 3:-3].sub(0.5).abs().max() < 0.05


def test_resampling_outside_the_view_fills_and_keeps_dtypes():
    labels = torch.arange(1, 28, dtype=torch.uint8).reshape(1, 3, 3, 3)
    shifted = np.eye(4)
    shifted[:3, 3] = [1, 0, -1]
    moved = resample_like(labels, np.eye(4), shifted, (3, 3, 3), order=0, fill=0)
    assert moved.dtype == torch.uint8
    assert moved[0, 0, 0].tolist() == [0, *labels[0, 1, 0, :2].tolist()]
    assert (moved[0, 2] == 0).all()
    shifted[:3, 3] = [0.45, 0.0, 0.0]  # not whole voxels: nearest, half a voxel beyond the centre
    mask = resample_like(labels > 0, np.eye(4), shifted, (4, 3, 3), order=0, fill=0)
    assert mask.dtype == torch.bool and mask[0, :3].all() and not mask[0, 3].any()
    far = np.eye(4)
    far[:3, 3] = 100
    assert (resample_like(labels.float(), np.eye(4), far, (2, 2, 2), order=1) == -1).all()


def test_roi_box_by_hand():
    mask = torch.zeros(1, 60, 60, 60, dtype=torch.bool)
    mask[0, 25:35, 30:40, 2:50] = True
    assert roi_box(mask) == (slice(5, 55), slice(20, 50), slice(0, 55))
    assert roi_box(mask[0].numpy(), (0, 2.1, 0)) == (slice(25, 35), slice(27, 43), slice(2, 50))
    sides = [s.stop - s.start for s in roi_box(mask, (1, 0, 5), multiple=8)]
    assert sides == [16, 16, 56]
    with pytest.raises(InputError, match="empty"):
        roi_box(mask & False)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_crop_and_uncrop_are_inverse(data):
    shape = data.draw(st.tuples(*[st.integers(1, 9)] * 3))
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[tuple(data.draw(st.integers(0, n - 1)) for n in shape)] = True
    margin = data.draw(st.tuples(*[st.floats(0, 4)] * 3))
    box = roi_box(mask, margin, multiple=data.draw(st.integers(1, 4)))
    x = torch.arange(2 * mask.numel(), dtype=torch.float32).reshape(2, *shape)
    back = uncrop(crop(x, box), box, shape)
    inside = uncrop(torch.ones_like(crop(mask, box)), box, shape, fill=0)
    assert inside[mask].all()
    assert torch.equal(back[:, inside], x[:, inside]) and (back[:, ~inside] == -1).all()
