"""Evidence on slice-consistent bridges (seed 004)."""

from __future__ import annotations

import torch

from yoda_nb.study.claims.bridge import residual, slice_means, unevenness


def test_a_change_of_style_leaves_no_residual_and_an_uneven_slice_does():
    truth = torch.rand((1, 6, 6, 8), generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[:, 0] = False
    styled = 2 * ((truth + 1) / 2) ** 1.7 - 1
    assert float(residual(styled, truth, mask).abs().max()) < 1e-6
    uneven = styled.clone()
    uneven[..., ::2] += 0.1
    even, rest = (residual(image, truth, mask) for image in (styled, uneven))
    assert unevenness(even, mask) < 1e-6 < 0.015 < unevenness(rest, mask) < 0.03  # about half of 0.05
    assert list(slice_means(rest, mask).slice) == list(range(8))
    assert (rest[~mask] == 0).all()
