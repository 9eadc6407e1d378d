"""Views averaged, and slices with known gains made to agree again."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from seeded import rng

from yoda_nb.diffusion.coherence import aggregate_views, homogenise_slices, slice_inconsistency
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.nets.monai_unet import MonaiUNetConfig


@pytest.mark.parametrize("views", [(0, 1, 2), (2, 0)])
def test_aggregation_is_the_mean_of_the_single_views(views):
    torch.manual_seed(0)
    config = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=1, thickness=3)
    net = config.build().eval()
    with torch.no_grad():
        net.out[-1].conv.weight.normal_(std=0.1)
    x, source = torch.randn((2, 1, 8, 6, 9), generator=rng())
    wrap = dict(thickness=3, divisor=2, half=False)
    singles = [volume_denoiser(net, source, schedule(), views=(v,), **wrap)(x, 999, 0) for v in views]
    denoise = volume_denoiser(net, source, schedule(), views=views, **wrap)
    together = aggregate_views(denoise, len(views))(x, 999, 1)
    assert torch.allclose(together, torch.stack(singles).mean(0), atol=1e-6)
    assert not torch.allclose(singles[0], singles[1], atol=1e-3)


def test_aggregation_runs_every_view_once_whatever_the_step():
    calls = []
    denoise = aggregate_views(lambda x, t, i: calls.append((t, i)) or x)
    assert torch.allclose(denoise(torch.ones(1), 7, 5), torch.ones(1))
    assert calls == [(7, 0), (7, 1), (7, 2)]


# --- slices with gains of their own


@pytest.fixture(scope="module")
def world():
    """Smooth tissue on [-1,1] in a ball, and the same with a gain of its own for each slice."""
    noise = torch.rand((20, 22, 24), generator=rng()).numpy()
    smooth = torch.from_numpy(ndimage.gaussian_filter(noise, 3.0)).float()
    truth = 0.5 + 1.5 * (smooth - smooth.mean()) / (smooth.max() - smooth.min())  # on [0,1], nearly
    truth = truth.clamp(0.1, 0.9)[None] * 2 - 1
    grid = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in truth.shape[1:]), indexing="ij"))
    mask = (grid.square().sum(0) < 0.9)[None]
    return torch.where(mask, truth, -1.0), mask


def with_gains(truth: torch.Tensor, mask: torch.Tensor, axis: int, spread: float) -> torch.Tensor:
    n = truth.shape[1 + axis]
    gain = torch.exp(spread * torch.randn(n, generator=rng(1))).view([-1 if a == axis else 1 for a in range(3)])
    return torch.where(mask, ((truth + 1) / 2 * gain).clamp(0, 1) * 2 - 1, truth)


def rms(a, b, mask) -> float:
    return float((a - b)[mask].square().mean().sqrt())


def test_inconsistency_by_hand():
    x = torch.tensor([0.0, 1.0, 1.0, 3.0]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    mask = torch.ones_like(x, dtype=torch.bool)
    assert slice_inconsistency(x, mask, 0) == pytest.approx(1.0)  # jumps 1, 0, 2
    assert slice_inconsistency(x.movedim(1, 2), mask.movedim(1, 2), 1) == pytest.approx(1.0)
    assert slice_inconsistency(2 * x + 5, mask, 0) == pytest.approx(2.0)


@pytest.mark.parametrize("spread", [0.03, 0.1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_homogenising_takes_known_gains_away(world, axis, spread):
    truth, mask = world
    broken = with_gains(truth, mask, axis, spread)
    fixed = homogenise_slices(broken, mask, axis)
    before, after, own = (slice_inconsistency(x, mask, axis) for x in (broken, fixed, truth))
    assert after < before
    assert (after - own) < 0.6 * (before - own)
    assert rms(fixed, truth, mask) < rms(broken, truth, mask)


def test_homogenising_leaves_a_coherent_volume_nearly_alone(world):
    """Neighbours differ by anatomy, which a strong correction would flatten."""
    truth, mask = world
    assert rms(homogenise_slices(truth, mask, 2), truth, mask) < 0.015


def test_homogenising_changes_nothing_outside_and_no_input(world):
    truth, mask = world
    broken = with_gains(truth, mask, 2, 0.05)
    broken[~mask] = 0.123
    kept, kept_mask = broken.clone(), mask.clone()
    fixed = homogenise_slices(broken, mask, 2, steps=20)
    assert (fixed[~mask] == 0.123).all() and fixed.dtype == broken.dtype
    assert torch.equal(broken, kept) and torch.equal(mask, kept_mask)
    assert not fixed.requires_grad


@torch.no_grad()
def test_homogenising_works_where_gradients_are_off(world):
    truth, mask = world
    broken = with_gains(truth, mask, 0, 0.05)
    assert not torch.equal(homogenise_slices(broken, mask, 0, steps=3), broken)


def test_a_single_slice_has_no_neighbour_to_agree_with(world):
    truth, mask = (a[:, :, :, 10:11] for a in world)
    assert torch.equal(homogenise_slices(truth, mask, 2), truth)
