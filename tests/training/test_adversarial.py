"""Adversarial losses against closed forms (SynDiff)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from yoda_nb.training.adversarial import critic_loss, discriminator_loss, generator_loss, gradient_penalty


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_adversarial_losses_are_cross_entropies():
    real, fake = noise(5, 1, 3, 3), noise(5, 1, 3, 3, seed=1)
    entropy = F.binary_cross_entropy_with_logits
    assert generator_loss(fake) == pytest.approx(entropy(fake, torch.ones_like(fake)).item(), rel=1e-5)
    whole = entropy(real, torch.ones_like(real)) + entropy(fake, torch.zeros_like(fake))
    assert discriminator_loss(real, fake) == pytest.approx(whole.item(), rel=1e-5)


def test_the_gradient_penalty_of_a_linear_critic_is_its_squared_weight():
    weight, real = noise(2, 8, 8), noise(6, 2, 8, 8, seed=1).requires_grad_()
    logits = (weight * real).sum((1, 2, 3))
    assert gradient_penalty(logits, real).item() == pytest.approx(weight.square().sum().item(), rel=1e-6)
    patches = F.conv2d(real, weight[None, :, :4, :4], stride=4)  # four logits an image, apart from each other
    assert gradient_penalty(patches, real).item() == pytest.approx(weight[:, :4, :4].square().sum().item(), rel=1e-6)


def test_a_critic_is_penalised_on_its_first_real_images_alone():
    class Mean(nn.Module):
        def forward(self, images, times):
            return 0 * images.mean((1, 2, 3)) + images[:, 0].sum((1, 2)) * times

    real, fake, times = noise(8, 1, 2, 2), noise(8, 1, 2, 2, seed=1), torch.arange(8)
    loss = critic_loss(Mean(), real, fake, 3.0, times=times)
    plain = critic_loss(Mean(), real, fake, 0.0, times=times)
    assert (loss - plain).item() == pytest.approx(3.0 * 4 * (0**2 + 1**2) / 2, rel=1e-5)  # 4 voxels, times 0 and 1
