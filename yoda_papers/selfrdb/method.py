"""SelfRDB: a bridge with a soft prior, an adversarial projector, and a net that takes its own estimate.

Arslan, Kabas, Dalmaz, Ozbey and Cukur (2024), arXiv 2405.06789. One of the sources is the bridge's
end (option "prior", its channel); the net sees all of them beside x_t.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.bridges import Bridge
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.training.adversarial import discriminator_loss, generator_loss, gradient_penalty
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Nets, Player
from yoda_papers.selfrdb.path import soft_prior

# The authors' code halves an l1 norm that is summed over voxels, which leaves the adversary about
# this share of an l1 mean over a slice of our windows.
ADVERSARIAL = 1e-3
RECURSION = 0.5  # share of slices that are shown an estimate of their own
PENALTY, PENALTY_SHARE = 0.5, 0.1  # weight, and the share of batches that pay it


def build(config: TrainConfig) -> dict[str, nn.Module]:
    critic = Discriminator(2, channels=(16, 32, 32), time=True)  # of (x_s, x_t)
    return {"net": config.net.build(), "discriminator": critic}


def prior_of(batch: Batch, config: TrainConfig) -> Tensor:
    """The source slices (N,1,A,B) that the bridge ends in."""
    at = int(config.option("prior", 0))
    return batch.source[:, at : at + 1]


def weights_at(path: Bridge, times: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a, b and std (N,1,1,1) of the bridge at times (N,), where -1 is the target itself."""
    clean = (1.0, 0.0, 0.0)
    rows = (torch.cat([w, w.new_tensor([end])]) for w, end in zip((path.a, path.b, path.std), clean, strict=True))
    a, b, std = (w.to(like)[times].view(-1, 1, 1, 1) for w in rows)  # index -1 is the last, the clean one
    return a, b, std


def noisy(x0: Tensor, y: Tensor, eps: Tensor, times: Tensor, path: Bridge) -> Tensor:
    """x_t = a_t x0 + b_t y + std_t eps (N,1,A,B) for times (N,)."""
    a, b, std = weights_at(path, times, x0)
    return a * x0 + b * y + std * eps


def earlier(x: Tensor, x0: Tensor, y: Tensor, eps: Tensor, times: Tensor, path: Bridge) -> Tensor:
    """A draw of q(x_{t-1} | x_t, x0, y), a time of its own for each image: ``bridge_step`` on batches."""
    (a_t, b_t, std_t), (a_s, b_s, std_s) = (weights_at(path, t, x) for t in (times, times - 1))
    kept = a_t / a_s * std_s.square() / std_t.square()  # of what x_t holds beyond its mean
    std = std_s * (1 - kept * a_t / a_s).clamp(min=0).sqrt()
    return a_s * x0 + b_s * y + kept * (x - a_t * x0 - b_t * y) + std * eps


def estimate(nets: Nets, x: Tensor, batch: Batch, config: TrainConfig) -> Tensor:
    """x0 (N,1,A,B) from x_t, where a share of the slices is given the net's own first estimate."""
    slabs, previous = torch.cat([x, batch.source], 1), torch.zeros_like(x)
    chosen = batch.fractions < config.option("recursion", RECURSION)
    if chosen.any():
        with torch.no_grad():
            previous[chosen] = nets["net"](slabs[chosen], batch.times[chosen]).to(previous)
    return nets["net"](slabs, batch.times, previous=previous).float()


def _path(config: TrainConfig) -> Bridge:
    return soft_prior(config.n_train)


def _pair(batch: Batch, config: TrainConfig) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, the prior, and noise for x_{t-1}: another slice's, as a batch holds one draw for each."""
    y = prior_of(batch, config)
    return noisy(batch.target, y, batch.eps, batch.times, _path(config)), y, batch.eps.roll(1, 0)


def critic_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Tell x_{t-1} drawn with the true x0 from x_{t-1} drawn with the net's, both given x_t."""
    x, y, eps = _pair(batch, config)
    with torch.no_grad():
        found = estimate(nets, x, batch, config)
        real, fake = (
            torch.cat([earlier(x, x0, y, eps, batch.times, _path(config)), x], 1) for x0 in (batch.target, found)
        )
    penalised = bool(batch.fractions[0] < PENALTY_SHARE)
    logits = nets["discriminator"](real.requires_grad_(penalised), batch.times)
    loss = discriminator_loss(logits, nets["discriminator"](fake, batch.times))
    return loss + PENALTY * gradient_penalty(logits, real) if penalised else loss


def net_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """l1 to the true x0, and the adversary's loss."""
    x, y, eps = _pair(batch, config)
    found = estimate(nets, x, batch, config)
    fake = torch.cat([earlier(x, found, y, eps.roll(1, 0), batch.times, _path(config)), x], 1)
    adversarial = generator_loss(nets["discriminator"](fake, batch.times))
    return _distance(found, batch) + config.option("adversarial", ADVERSARIAL) * adversarial


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The l1 distance alone."""
    return _distance(estimate(nets, _pair(batch, config)[0], batch, config), batch)


def _distance(found: Tensor, batch: Batch) -> Tensor:
    return masked_mean(F.l1_loss(found, batch.target, reduction="none"), batch.weight)


SELFRDB = Method("selfrdb", (Player(("discriminator",), critic_loss), Player(("net",), net_loss)), build, validation)
