"""Adversarial losses on logits: non-saturating, with a gradient penalty [SynDiff eq. 11-12, 17-18].

The papers write D for a probability; here D(x) = sigmoid(logit). A discriminator of patches gives
several logits an image, and each counts as a judgement of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.training.parts import everywhere

if TYPE_CHECKING:
    from yoda_nb.training.batches import TrainConfig


def generator_loss(fake: Tensor) -> Tensor:
    """-log D(fake), averaged over logits of any shape [SynDiff eq. 11 and 17]."""
    return F.softplus(-fake.float()).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), each averaged over logits [SynDiff eq. 12 and 18]."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def gradient_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Mean over images of |d logit / d real|^2 [SynDiff eq. 12; R1 of Mescheder et al. 2018].

    logits (N,..) of real (N,C,A,B), which must require a gradient. Where an image has P logits, the
    squared norm of their sum's gradient is divided by P: exact for patches that do not overlap.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), real, create_graph=True)
    return everywhere(gradient).float().square().sum() / logits.numel()


def critic_loss(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor,
    eta: float,
    given: Tensor | None = None,
    times: Tensor | None = None,
    share: float = 0.25,
) -> Tensor:
    """Eq. 12 of SynDiff: images (N,C,A,B), beside them ``given`` (N,G,A,B) that the critic sees too.

    The penalty, with weight ``eta``, is taken on the first ``share`` of the images: a second
    derivative of all of them would double the cost of a step. The authors save by taking it in every
    tenth step instead, with 0.5, which is 0.05 a step.
    """
    few = max(1, int(share * len(real)))
    loss = discriminator_loss(_judge(critic, real, given, times), _judge(critic, fake, given, times))
    if not eta:
        return loss
    watched = real[:few].detach().requires_grad_()
    head = [None if x is None else x[:few] for x in (given, times)]
    return loss + eta * gradient_penalty(_judge(critic, watched, *head), watched)


def weighed(terms: Mapping[str, Tensor], defaults: Mapping[str, float], config: TrainConfig) -> Tensor:
    """The sum of a loss's terms, each by the option of its name, else by its default weight."""
    each = (float(config.option(name, defaults[name])) * term for name, term in terms.items())
    return sum(each, torch.zeros(()))


def _judge(critic: nn.Module, images: Tensor, given: Tensor | None, times: Tensor | None) -> Tensor:
    return critic(images if given is None else torch.cat([images, given], 1), times)
