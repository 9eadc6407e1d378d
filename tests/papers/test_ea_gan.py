"""Ea-GAN: edges against scipy's and a ramp, what its critics are shown, and its 3D net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from small_training import random

from yoda_nb.nets.base import n_parameters
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.pairs import as_volumes
from yoda_papers.ea_gan import AUTHORS, DEA_GAN, GEA_GAN, UNet3DConfig, distance, edges, volumes_and_edges

THICK = UNet3DConfig(channels=(4, 4), thickness=5, out_slices=5)


def test_the_authors_size_can_be_built():
    with torch.device("meta"):
        assert n_parameters(AUTHORS.build()) / 1e6 == pytest.approx(167.8, abs=0.1)


def test_edges_are_sobels_as_scipy_has_them():
    image = random(1, 7, 8, 9).clamp(-1, 1)
    padded = np.pad(image[0].double().numpy(), 2, constant_values=-1.0)
    parts = [ndimage.sobel(padded, axis)[2:-2, 2:-2, 2:-2] / 4 for axis in range(3)]
    expected = 2 * np.tanh(np.sqrt(sum(p**2 for p in parts))) - 1
    assert np.allclose(edges(image)[0].numpy(), expected, atol=1e-5)


def test_edges_of_a_ramp_are_its_slope_and_of_nothing_none():
    """Sobel smooths by (1,2,1) twice and takes a difference over two voxels: 16 * 2 * slope / 4."""
    ramp = 0.01 * torch.arange(9.0).expand(1, 9, 9, 9)
    assert torch.allclose(edges(ramp)[:, 2:-2, 2:-2, 2:-2], 2 * torch.tanh(torch.tensor(0.08)) - 1, atol=1e-6)
    flat = torch.full((1, 5, 5, 5), -1.0, requires_grad=True)
    edges(flat).sum().backward()
    assert torch.allclose(edges(flat), torch.tensor(-1.0), atol=1e-4) and flat.grad.isfinite().all()


def test_the_distance_is_of_voxels_and_edges():
    a, b = random(2, 5, 6, 6).clamp(-1, 1), random(2, 5, 6, 6, seed=1).clamp(-1, 1)
    weight = random(2, 5, 6, 6, seed=2).abs()
    parts = [np.average((x - y).abs(), weights=weight) for x, y in ((a, b), (edges(a), edges(b)))]
    assert distance(a, b, weight) == pytest.approx(parts[0] + parts[1] / 3, rel=1e-5)
    assert distance(a, a, weight) == 0


def test_only_one_critic_is_shown_edges():
    images, sources = random(2, 5, 6, 6), random(2, 10, 6, 6)
    plain, more = as_volumes(images, sources), volumes_and_edges(images, sources)
    assert plain.shape == (2, 3, 5, 6, 6) and torch.equal(more[:, :3], plain)
    assert torch.equal(plain[:, 1], sources[:, 5:]) and torch.equal(more[:, 3], edges(images))
    for method, channels in ((DEA_GAN, 4), (GEA_GAN, 3)):
        assert method.build(TrainConfig(net=THICK, method=method))["critic"].layers[0].in_channels == channels


@pytest.mark.parametrize("thickness", [5, 7, 15])
def test_a_patch_keeps_its_depth(thickness):
    net = UNet3DConfig(channels=(4, 4, 4), thickness=thickness, out_slices=thickness).build()
    assert net(random(2, 3 * thickness, 16, 24)).shape == (2, thickness, 16, 24)


def test_the_net_looks_along_the_third_axis_too():
    torch.manual_seed(0)
    net, slabs = THICK.build(), random(1, 15, 8, 8)
    other = slabs.clone()
    other[:, 5] += 1  # the first slice of the first source
    assert ((net(slabs) - net(other)).abs().amax((0, 2, 3)) > 0).all()
    other = slabs.clone()
    other[:, :5] = 9  # x_t
    assert torch.equal(net(slabs), net(other))
