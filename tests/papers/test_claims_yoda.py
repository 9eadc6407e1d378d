"""Evidence on YODA (YODA) against closed forms: power of noise, a straight line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger.evidence import Study
from yoda_papers.yoda import averages, samplers, slices


@pytest.fixture(scope="module")
def small():
    return phantom_case(3, spacing=6.0, shape=(32, 32, 32))


def test_white_noise_has_the_same_power_everywhere():
    mask = torch.ones(1, 32, 32, 32, dtype=torch.bool)
    x = 0.3 * torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    frequency, power = averages.radial_power(x, mask)
    assert frequency[-1] < 0.5 and power[3:] == pytest.approx(0.09, rel=0.2)  # the first rings hold few waves


def test_a_wave_has_its_power_in_its_ring():
    mask = torch.ones(1, 32, 32, 32, dtype=torch.bool)
    wave = torch.cos(2 * torch.pi * 0.25 * torch.arange(32)).view(1, 32, 1, 1).expand(1, 32, 32, 32)
    frequency, power = averages.radial_power(wave, mask)
    assert abs(frequency[power.argmax()] - 0.25) < 0.03


def test_the_line_finds_a_target_that_is_one(small):
    weights = torch.tensor([0.3, 0.5]).view(2, 1, 1, 1)
    target = ((weights * (small.source + 1) / 2).sum(0, keepdim=True) + 0.1) * 2 - 1
    line = samplers._line(replace(small, target=target))
    assert torch.allclose(line[small.mask], ((target + 1) / 2)[small.mask], atol=1e-5)


def test_slices_of_uneven_gain_keep_what_is_in_them(small):
    flat = replace(small, source=torch.where(small.mask, 0.0, -1.0).expand(2, -1, -1, -1).clone())
    made = slices.uneven(flat, 0.05, torch.Generator().manual_seed(0))
    inside = small.mask[0]
    gains = [[1 + made.source[c, ..., k][inside[..., k]] for k in range(32) if inside[..., k].any()] for c in range(2)]
    assert all(len(x.unique()) == 1 for each in gains for x in each), "one gain for each slice"
    first, second = (torch.stack([x[0] for x in each]) for each in gains)
    assert 0.02 < first.std() < 0.09 and not torch.allclose(first, second), "each source has its own"
    assert (made.source[:, ~inside] == -1).all() and made.target is small.target


def test_the_table_of_gains_has_every_gain_before_and_after(small):
    table = Study("tiny", own=(small,)).table("gains")
    assert list(table.image.unique()) == ["as made", "homogenised"] and len(table) == 2 * len(slices.SLICE_GAINS)
    jumps = table.pivot(index="gain", columns="image", values="inconsistency")
    assert (jumps.homogenised < jumps["as made"])[0.1] and jumps["as made"].is_monotonic_increasing
