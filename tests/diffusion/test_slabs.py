"""Slabs and slices: an exact pair of inverses, on arrays small enough to check by eye."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yoda_nb.diffusion.slabs import average_slabs, from_slices, gather_slabs, middle, to_slabs

SIDES = st.integers(1, 7)
THICKNESSES = st.sampled_from([1, 3, 5, 7, 11])


def test_slabs_of_four_slices():
    volume = torch.tensor([10, 20, 30, 40]).view(1, 4, 1, 1)
    slabs = to_slabs(volume, axis=0, thickness=3)
    assert slabs.shape == (4, 3, 1, 1)
    assert slabs.flatten(1).tolist() == [
        [10, 10, 20],  # the first slice repeats beyond the edge
        [10, 20, 30],
        [20, 30, 40],
        [30, 40, 40],
    ]


def test_slices_of_one_channel_are_adjacent():
    volume = torch.tensor([[1, 2, 3], [-1, -2, -3]]).view(2, 1, 1, 3)
    assert to_slabs(volume, axis=2, thickness=3).flatten(1).tolist() == [
        [1, 1, 2, -1, -1, -2],
        [1, 2, 3, -1, -2, -3],
        [2, 3, 3, -2, -3, -3],
    ]


def test_views_keep_the_order_of_the_other_axes():
    volume = torch.arange(24).view(1, 2, 3, 4)  # value = 12 d + 4 h + w
    assert to_slabs(volume, 0, 1)[1, 0].tolist() == [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]
    assert to_slabs(volume, 1, 1)[2, 0].tolist() == [[8, 9, 10, 11], [20, 21, 22, 23]]
    assert to_slabs(volume, 2, 1)[3, 0].tolist() == [[3, 7, 11], [15, 19, 23]]


def test_more_slices_than_the_volume_has():
    volume = torch.tensor([1, 2]).view(1, 2, 1, 1)
    assert to_slabs(volume, 0, 7).flatten(1).tolist() == [[1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2, 2]]


@settings(deadline=None, max_examples=60)
@given(SIDES, SIDES, SIDES, st.integers(1, 3), st.integers(0, 2), THICKNESSES)
def test_round_trip_is_exact(d, h, w, channels, axis, thickness):
    volume = torch.randn((channels, d, h, w), generator=torch.Generator().manual_seed(0))
    before = volume.clone()
    slabs = to_slabs(volume, axis, thickness)
    sides = [n for i, n in enumerate((d, h, w)) if i != axis]
    assert slabs.shape == (volume.shape[1 + axis], channels * thickness, *sides)
    for c in range(channels):
        back = from_slices(middle(slabs, c, thickness), axis)
        assert torch.equal(back, volume[c : c + 1])
    assert torch.equal(volume, before)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, SIDES, st.integers(0, 2), THICKNESSES, st.data())
def test_gathering_is_cutting_only_what_is_needed(d, h, w, axis, thickness, data):
    volume = torch.randn((2, d, h, w), generator=torch.Generator().manual_seed(0))
    n = volume.shape[1 + axis]
    centres = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    some = gather_slabs(volume, axis, torch.tensor(centres), thickness)
    assert torch.equal(some, to_slabs(volume, axis, thickness)[centres])


def test_dtype_stays():
    mask = torch.ones((1, 3, 3, 3), dtype=torch.bool)
    assert to_slabs(mask, 1, 3).dtype == torch.bool


@pytest.mark.parametrize("thickness", [0, 2, 4, -1])
def test_a_slab_needs_a_middle(thickness):
    with pytest.raises(ValueError, match=f"odd, got {thickness}"):
        to_slabs(torch.zeros(1, 4, 4, 4), 0, thickness)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, SIDES, st.integers(0, 2), THICKNESSES)
def test_averaging_a_volumes_own_slabs_gives_it_back(d, h, w, axis, thickness):
    volume = torch.randn((1, d, h, w), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    n = volume.shape[1 + axis]
    slabs = to_slabs(volume, axis, thickness)
    assert torch.allclose(from_slices(average_slabs(slabs, torch.arange(n), n), axis), volume)


def test_each_slice_is_the_mean_of_what_its_slabs_say_of_it():
    slabs = torch.tensor([[1.0, 2, 3], [10, 20, 30]])[:, :, None, None]  # around the slices 1 and 2 of five
    assert average_slabs(slabs, torch.tensor([1, 2]), 5).flatten().tolist() == [1, (2 + 10) / 2, (3 + 20) / 2, 30, 0]
    assert average_slabs(slabs, torch.tensor([0, 4]), 5).flatten().tolist() == [2, 3, 0, 10, 20]  # ends are left out
