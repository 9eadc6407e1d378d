"""Evidence and verdicts on SynDiff (seed 002)."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from yoda_nb.study.claims.syndiff import EFFECTS, SYNDIFF, slice_psnr
from yoda_nb.study.claims.verdicts import combined


def test_psnr_of_samples_and_their_slices_is_that_of_known_errors():
    mask = torch.ones(1, 8, 8, 3, dtype=torch.bool)
    mask[..., 2] = False
    mask[0, 0, 0, 2] = True  # too little of a brain to count as a slice
    error = torch.tensor([0.2, 0.02]).view(2, 1, 1, 1, 1)  # on [-1,1]: 0.1 and 0.01 on [0,1]
    whole, each = slice_psnr(torch.zeros(2, 1, 8, 8, 3) + error, torch.zeros(1, 8, 8, 3), mask)
    assert whole.tolist() == pytest.approx([20.0, 40.0], abs=1e-4)
    assert each.shape == (2, 2) and each[0].tolist() == pytest.approx([20.0, 20.0], abs=1e-4)


class Tables:
    """A study of made-up scores: SynDiff is 1 dB and 0.1 SSIM above every other."""

    def __init__(self, *samplers: str):
        rows = [
            (s, f"sub-{k}", 20.0 + (s == SYNDIFF) + 0.01 * k, 0.8 + 0.1 * (s == SYNDIFF))
            for s in samplers
            for k in range(6)
        ]
        self.scores = pd.DataFrame(rows, columns=["sampler", "subject", "psnr", "ssim"]).assign(reference="acquired")

    def table(self, name):
        return self.scores


def test_a_variant_without_a_model_leaves_a_verdict_open():
    parts = ["no adversarial loss", "no cycle loss", "no diffusive module"]
    assert combined(EFFECTS["S03"](Tables(SYNDIFF, *parts))) == "reproduced"
    effects = EFFECTS["S03"](Tables(SYNDIFF, *parts[:2]))
    assert combined(effects) == "inconclusive" and sum("no model" in e.name for e in effects) == 2
    assert combined(EFFECTS["S05"](Tables(SYNDIFF, "2 steps", "8 steps"))) == "not reproduced"
    assert combined(EFFECTS["S01"](Tables(SYNDIFF, "DDPM", "cycle GAN"))) == "reproduced"
