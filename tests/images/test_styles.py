"""Style keys: histograms of images, their distances, and what a card keeps of them (SKC-ISTA)."""

from __future__ import annotations

import pytest
import torch
from seeded import normal

from yoda_nb.errors import InputError
from yoda_nb.images.styles import SCALE, histogram, nearest, pack, style_key, unpack


def test_the_key_of_a_known_image():
    image = torch.full((1, 2, 2, 2), -1.0)
    image[0, 0, 0] = torch.tensor([-0.6, 0.9])
    image[0, 0, 1] = 1.0  # the end of the range belongs to the last bin
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[0, 0] = True
    shares = histogram(image, mask, bins=4)
    torch.testing.assert_close(shares, torch.tensor([0.25, 0, 0, 0.75]))
    key = style_key(shares) / torch.tensor([SCALE, 1, SCALE**2]).view(3, 1)
    torch.testing.assert_close(key[1], torch.tensor([0.25, 0.25, 0.25, 1.0]))
    torch.testing.assert_close(key[2], torch.tensor([0, -0.25, 0, 0.75]))
    with pytest.raises(InputError, match="at least one voxel"):
        histogram(image, torch.zeros_like(mask))


def test_the_average_of_keys_is_the_key_of_the_average():
    a, b = (torch.softmax(normal(16, seed=k), 0) for k in (0, 1))
    torch.testing.assert_close((style_key(a) + style_key(b)) / 2, style_key((a + b) / 2))


def test_the_nearest_histogram_is_that_of_least_shift():
    shares = torch.eye(8)[3]
    assert nearest(shares, torch.eye(8)[[0, 2, 7]]) == 1


def test_histograms_survive_a_card():
    shares = torch.softmax(2 * normal(5, 128), 1).float()
    torch.testing.assert_close(unpack([pack(each) for each in shares]), shares, atol=3e-4, rtol=0)
