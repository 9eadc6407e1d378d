"""Evidence on YODA (seed 000) against closed forms: power of noise, a straight line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.data.phantom import phantom_case
from yoda_nb.study.claims.yoda import averages, samplers


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
