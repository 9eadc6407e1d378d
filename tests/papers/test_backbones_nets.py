"""The nets of Koch: the wavelet, the transformers, their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yoda_nb.nets.base import n_parameters
from yoda_papers.backbones import PAPER
from yoda_papers.backbones.vit import DiTConfig, UViTConfig, positions, run_tokens, transformer
from yoda_papers.backbones.wavelet import decompose, reconstruct

# published taps of the 9/7 pair, from the middle outwards, the low one with a gain of sqrt(2)
LOW = (0.852698679009, 0.377402855613, -0.110624404418, -0.023849465020, 0.037828455507)


HIGH = (0.788485616406, -0.418092273222, -0.040689417609, 0.064538882629)


@pytest.mark.parametrize("shape", [(2, 3, 24, 16), (1, 1, 2, 2), (1, 2, 6, 10)])
def test_the_wavelet_is_undone_exactly(shape):
    x = torch.randn(shape, dtype=torch.float64)
    bands = decompose(x)
    assert bands.shape == (shape[0], 4 * shape[1], shape[2] // 2, shape[3] // 2)
    torch.testing.assert_close(reconstruct(bands), x, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="even"):
        decompose(torch.zeros(1, 1, 5, 4))


def test_the_wavelet_has_the_published_filters():
    impulses = torch.eye(32, dtype=torch.float64).view(32, 1, 1, 32).expand(-1, -1, 2, -1)
    low, detail, _, _ = decompose(impulses)[:, :, 0].unbind(1)  # (32 places, 16 coefficients)
    rows = 2**0.5  # a constant along A passes its low band with this gain
    for k, tap in enumerate(LOW):
        assert low[16 + k, 8] == pytest.approx(rows * tap) and low[16 - k, 8] == pytest.approx(rows * tap)
    for k, tap in enumerate(HIGH):
        assert detail[17 + k, 8] == pytest.approx(rows * tap) and detail[17 - k, 8] == pytest.approx(rows * tap)
    assert low[10:12, 8].abs().max() < 1e-12 and detail[12:14, 8].abs().max() < 1e-12


def test_details_of_straight_lines_vanish_and_noise_keeps_its_variance():
    ramp = torch.arange(16.0, dtype=torch.float64).expand(1, 1, 8, 16)
    low, *details = decompose(ramp)[0]
    torch.testing.assert_close(low[:, 2:-2], 2 * ramp[0, 0, :4, 4:-4:2], rtol=0, atol=1e-9)
    assert all(d[:, 2:-2].abs().max() < 1e-9 for d in details)
    noise = torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert decompose(noise).var(dim=(0, 2, 3)).sub(1).abs().max() < 0.2


@pytest.mark.parametrize("wavelet", [False, True])
def test_a_dit_starts_as_the_identity_of_tokens_and_predicts_zero(wavelet):
    blocks = transformer(16, 3, 4, 8, 2.0)
    tokens, embedding = torch.randn(2, 9, 16), torch.randn(2, 8)
    for block in blocks:
        torch.testing.assert_close(block(tokens, embedding), tokens)
    net = DiTConfig(width=16, depth=2, embedding=8, wavelet=wavelet).build()
    assert net(torch.randn(2, 3, 16, 24), torch.tensor([1.0, -1.0])).abs().max() == 0


def test_tokens_know_their_place():
    grid = positions(5, 6, 16).view(5, 6, 16)
    assert grid.flatten(0, 1).unique(dim=0).shape[0] == 30
    torch.testing.assert_close(grid[0, :, 8:], grid[4, :, 8:])  # columns do not depend on the row
    torch.testing.assert_close(positions(5, 6, 16).view(5, 6, 16)[2, 3], positions(9, 8, 16).view(9, 8, 16)[4, 4])
    h = torch.randn(1, 16, 5, 6)
    moved = run_tokens(transformer(16, 1, 4, 8, 2.0), h, torch.zeros(1, 8)) - h
    torch.testing.assert_close(moved[0].permute(1, 2, 0), grid)


def test_patches_of_coefficients_need_an_even_side():
    with pytest.raises(ValueError, match="even"):
        DiTConfig(patch=3, wavelet=True).build()


def test_paper_sizes_are_near_its_table_2():
    millions = {}
    for name, config in PAPER.items():
        with torch.device("meta"):
            millions[name] = n_parameters(config.build()) / 1e6
    stated = {"unet": 15, "adm": 35, "uvit": 125, "dit": 558}
    assert all(abs(millions[name] / stated[name] - 1) < 0.25 for name in stated)
    assert abs(millions["dit"] / 558 - 1) < 0.01  # its blocks are stated in full


def test_a_uvit_sees_all_of_a_slice():
    net = UViTConfig((8, 8), width=16, depth=1, embedding=8).build()
    nn.init.normal_(net.middle[0].modulate[-1].weight)
    x = torch.randn(1, 3, 32, 32, requires_grad=True)
    net(x, torch.tensor([0.5]))[0, 0, 0, 0].backward()
    assert x.grad[0, 0, -1, -1].abs() > 0
