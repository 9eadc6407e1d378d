"""Resampling, boxes and crops, against closed forms and inverses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads_by_hand import AFFINE, SHAPE, tilted, world
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine
from volumes_by_hand import blob_volume

from yoda_nb.errors import InputError
from yoda_nb.images.space import LARGEST, check_size, crop, isotropic_grid, resample_like, roi_box, uncrop
from yoda_nb.images.volumes import conform


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


# --- grids that are made


def test_an_isotropic_grid_covers_the_field_of_view():
    affine, shape = isotropic_grid(tilted(AFFINE), SHAPE, 7.0)
    assert np.array_equal(affine[:3, :3], 7 * np.eye(3))
    corners = apply_affine(tilted(AFFINE), np.array(list(np.ndindex(2, 2, 2))) * SHAPE - 0.5)
    places = apply_affine(np.linalg.inv(affine), corners)
    assert (places > -0.51).all() and (places < np.array(shape) - 0.49).all()
    assert isotropic_grid(AFFINE, SHAPE, 6.0)[0] is AFFINE


@pytest.mark.parametrize(
    ("size", "spacing", "shape", "says"),
    [
        (3.0, 0.05, (64, 64, 64), "voxels of 0.05 mm over 192 x 192 x 192 mm would be 3840 x 3840 x 3840 voxels"),
        (10.0, 0.5, (64, 64, 64), "1280 x 1280 x 1280"),
        (1.0, 1e-30, (64, 64, 64), "check the voxel sizes"),
        (1e30, 1.0, (64, 64, 64), "check the voxel sizes"),
    ],
)
def test_a_grid_that_is_too_large_is_refused_before_it_is_made(size, spacing, shape, says, monkeypatch):
    def never(*_, **__):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr(np, "full", never)
    monkeypatch.setattr(np, "ones", never)
    with pytest.raises(InputError, match=says) as said:
        isotropic_grid(np.diag([size, size, size, 1.0]), shape, spacing)
    assert f"above the limit of {LARGEST:.2g}" in str(said.value) and "choose larger voxels" in str(said.value)


@pytest.mark.parametrize("spacing", [0, -1.0, float("nan"), float("inf"), -float("inf")])
def test_a_spacing_that_is_none_is_refused(spacing):
    with pytest.raises(InputError, match="is not a voxel size"):
        isotropic_grid(AFFINE, SHAPE, spacing)
    with pytest.raises(InputError, match="is not a voxel size"):
        conform(blob_volume(), spacing)


def test_a_volume_is_not_conformed_to_voxels_that_fill_the_memory():
    with pytest.raises(InputError, match="voxels of 0.02 mm over 36 x 42 x 30 mm would be 1800 x 2100 x 1500"):
        conform(blob_volume(), 0.02)


def test_the_limit_itself_will_do():
    check_size((512, 512, 512), "this")
    for shape in ((513, 512, 512), (np.nan, 1, 1), (np.inf, 1, 1)):
        with pytest.raises(InputError, match="this would be .* voxels"):
            check_size(shape, "this")
