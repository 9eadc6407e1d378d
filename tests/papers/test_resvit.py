"""ResViT's blocks by their steps, and how far each part sees."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_training import random
from torch import nn
from torch.nn import functional as F

from yoda_nb.nets.base import n_parameters
from yoda_papers.resvit import AUTHORS, ResViTConfig

SMALL = ResViTConfig(channels=(4, 6, 8), inner=(8, 8), width=8, depth=1, heads=2)


def test_a_block_is_the_transformers_answer_beside_what_it_was_given():
    """Aggregated residual transformer by its steps: down, tokens with positions, up, concatenate, compress, residual."""
    torch.manual_seed(0)
    net = SMALL.build().eval()
    block = net.aggregated["1"]
    nn.init.normal_(block.positions)
    nn.init.normal_(block.mix[2].weight, std=0.1)
    h = random(2, 8, 8, 12)
    with torch.no_grad():
        patches = block.embed(block.down(h))
        assert patches.shape == (2, 8, 2, 3), "a token for each four by four positions"
        places = F.interpolate(block.positions, (2, 3), mode="bilinear", align_corners=False)
        tokens = torch.stack([(patches + places)[:, :, i, j] for i in range(2) for j in range(3)], 1)
        context = net.transformer(tokens)
        grid = torch.stack([context[:, 3 * i : 3 * i + 3] for i in range(2)], 1).permute(0, 3, 1, 2)
        weight = block.compress.weight[..., 0, 0]
        joined = torch.cat([block.up(grid), h], 1)
        squeezed = torch.einsum("oc,ncab->noab", weight, joined) + block.compress.bias[:, None, None]
        expected = squeezed + block.mix[2](torch.relu(block.mix[0](squeezed)))
        assert torch.allclose(block(h, net.transformer), expected, atol=1e-5)


def test_two_of_nine_blocks_share_one_transformer():
    config_ = ResViTConfig()
    net = config_.build()
    assert list(net.aggregated) == ["1", "6"] and list(net.blocks) == [str(k) for k in range(1, 10)]
    fewer = replace(config_, transformers=(1,)).build()
    lost = n_parameters(net) - n_parameters(fewer)
    assert lost == n_parameters(net.aggregated["6"]) and lost > 0
    assert not any("transformer" in name for name, _ in net.aggregated.named_parameters())


def test_a_transformer_sees_the_whole_slice_and_convolutions_do_not():
    """What changes in one corner reaches the other by way of tokens alone."""
    torch.manual_seed(0)
    with_, without = SMALL.build().eval(), replace(SMALL, transformers=(), blocks=1).build().eval()
    slabs = random(1, 3, 96, 96)
    other = slabs.clone()
    other[..., :4, :4] += 1
    with torch.no_grad():
        far = [(net(slabs) - net(other))[..., -8:, -8:].abs().max() for net in (with_, without)]
    assert far[0] > 0 and far[1] == 0


def test_the_authors_size_can_be_built():
    with torch.device("meta"):
        assert n_parameters(AUTHORS.build()) / 1e6 == pytest.approx(121.9, abs=0.1)
