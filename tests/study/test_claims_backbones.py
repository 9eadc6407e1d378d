"""Evidence on the backbones (seed 001): patterns of patches, schedules that jump."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yoda_nb.diffusion.process import time_pairs, vp_step
from yoda_nb.diffusion.schedules import LOG_SNR_LIMIT, schedule
from yoda_nb.study.claims.backbones.tables import SWAPS, excess, line_power


def test_a_pattern_of_four_voxels_stands_out_at_a_quarter_and_noise_nowhere():
    noise = torch.randn(1, 48, 56, 20, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(noise, dtype=torch.bool)
    frequency, power = line_power(0.5 * noise, mask)
    assert frequency[16] == 0.25 and frequency[-1] == 0.5
    assert power.mean() == pytest.approx(0.25, rel=0.05)
    assert np.abs(excess(power)[1:-1]).max() < 1
    patches = noise + (torch.arange(48).view(1, 48, 1, 1) % 4 == 0)
    raised = excess(line_power(patches, mask)[1])
    assert raised[16] > 3 and np.abs(raised[6:13]).max() < 1


@pytest.mark.parametrize("name", [name for name, settings in SWAPS.items() if "jump_to" in settings])
def test_a_jump_skips_only_steps_at_the_limit(name):
    """There a step leaves x as it is, whatever the net says, so the sampler is that of all the steps."""
    noise, jump_to = schedule(name), SWAPS[name]["jump_to"]
    x, other = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    for t, s in time_pairs(1000, 20)[:-1]:
        if s >= jump_to:
            torch.testing.assert_close(vp_step(x, other, t, s, other, schedule=noise), x)
    assert noise.log_snr(jump_to) == pytest.approx(-LOG_SNR_LIMIT)
