"""Training on a diffusion bridge from a target to a source: the net tells x_t - x0 [SKC-ISTA 2.1-2.2]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Player
from yoda_papers.bridge.path import brownian, trained_ends


def prior_slabs(batch: Batch, config: TrainConfig) -> Tensor:
    """Slabs (N,S,A,B) of the source that the bridge ends in, y: option "prior" is its index."""
    first = int(config.option("prior", 0)) * config.net.thickness
    return batch.source[:, first : first + config.net.thickness]


def bridge_loss(nets: Mapping[str, nn.Module], batch: Batch, config: TrainConfig) -> Tensor:
    """Mask-weighted mean squared error of m_t (y - x0) + sqrt(delta_t) eps = x_t - x0 [SKC-ISTA eq. 2-3].

    Over all slices of the slab, with the style key where the net takes one. The weight c_eps,t of
    the equations is left out, as the authors' code does: every time then weighs alike. Option "ends"
    chooses the path (``brownian``).
    """
    path = brownian(config.n_train, ends=trained_ends(dict(config.options)))
    a, b, std = (values.to(batch.target)[batch.times].view(-1, 1, 1, 1) for values in (path.a, path.b, path.std))
    x_t = a * batch.target + b * prior_slabs(batch, config) + std * batch.eps  # eq. 1
    style = {"style": batch.keys} if batch.keys.numel() else {}
    output = nets["net"](torch.cat([x_t, batch.source], 1), batch.times, **style).float()
    return masked_mean((output - (x_t - batch.target)).square(), batch.weight)


BRIDGE = Method("bridge", (Player(("net",), bridge_loss),))
