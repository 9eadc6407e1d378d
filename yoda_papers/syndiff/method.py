"""Adversarial diffusion of SynDiff, for paired data or, with a non-diffusive module, for unpaired data.

Domain B is the target, domain A all sources together. Each domain has a diffusive generator that
predicts x0, and a critic of single steps (x_{t-k}, x_t). ``options``: "cycle_theta", "adversarial_theta"
and "eta_theta" are the diffusive module's lambda_1, lambda_2 (eq. 22 and 23, varied in Tab. VIII) and
weight of the gradient penalty; those of the other module end in "_phi". "cycle", "adversarial" and "eta"
set both at once, 0 for the ablations of Tab. VI and VII. "critic_blocks" is the depth of all critics. Until
"pretrained", a share of all steps, the non-diffusive module trains alone (Tab. IX); from "frozen" on it rests (Tab. X).
Time t = 0 .. n_train - 1 is the paper's (t + 1) k, so T/k is ``n_train``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.process import add_noise, prediction_target
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.errors import InputError
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.training.adversarial import critic_loss, generator_loss
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Player
from yoda_papers.syndiff.cyclegan import (
    CRITICS,
    background,
    critic_widths,
    estimates,
    idle,
    one_shot_critics,
    one_shot_loss,
    one_shot_nets,
    weight,
)
from yoda_papers.syndiff.nets import HalfUNetConfig

Nets = Mapping[str, nn.Module]
NET = {"a": "net_a", "b": "net"}  # diffusive generators
STEP_CRITICS = {"a": "steps_a", "b": "steps_b"}


def projected(x_t: Tensor, x0: Tensor, times: Tensor, noise: Tensor, path: Schedule) -> Tensor:
    """x_{t-k} drawn from q(. | x_t, x0), images (N,C,A,B), times (N,) [SynDiff eq. 13-15].

    The paper prints the weight of x_t with sqrt(alpha-bar_t); Bayes' rule gives sqrt(alpha_t).
    """
    share = F.pad(path.alpha_bar.to(times.device), (1, 0), value=1.0)  # 1 is the clean image
    ab_t, ab_s = share[times + 1], share[times]
    gamma, left = 1 - ab_t / ab_s, 1 - ab_t  # of this step; of all steps up to t
    weights = ab_s.sqrt() * gamma / left, (ab_t / ab_s).sqrt() * (1 - ab_s) / left, (gamma * (1 - ab_s) / left).sqrt()
    parts = (w.to(x_t.dtype).view(-1, 1, 1, 1) * part for w, part in zip(weights, (x0, x_t, noise), strict=True))
    return sum(parts, torch.zeros(()))


@dataclass(frozen=True)
class Step:
    """One domain's part in a step of training; images (N,C,A,B)."""

    x0: Tensor
    weight: Tensor
    x_t: Tensor
    made: Tensor  # x0 as the diffusive generator sees it
    real: Tensor  # x_{t-k} of the true image
    fake: Tensor  # x_{t-k} of ``made``


def diffuse(nets: Nets, batch: Batch, config: TrainConfig, domain: str, given: Tensor) -> Step:
    """Noise a domain's images and take the generator's step back, guided by images ``given`` (eq. 19-20)."""
    clean, inside = (batch.target, batch.weight) if domain == "b" else (batch.source, batch.source_weight)
    x0, path = background(clean, inside), _path(config, clean.device)
    eps, first, second, latent = _noise(batch, config, domain)
    x_t = add_noise(x0, eps, path.alpha_bar.to(x0)[batch.times].view(-1, 1, 1, 1))
    made = background(nets[NET[domain]](torch.cat([x_t, given], 1), batch.times, latent=latent), inside)
    real, fake = (projected(x_t, x, batch.times, n, path) for x, n in ((x0, first), (made, second)))
    return Step(x0, inside, x_t, made, real, fake)


def diffusive_loss(nets: Nets, step: Step, times: Tensor, config: TrainConfig, domain: str) -> Tensor:
    """One diffusive generator's absolute error (eq. 22) and adversarial term (eq. 11), weighted."""
    cycle, adversarial = (weight(config, name, "theta") for name in ("cycle", "adversarial"))
    loss = cycle * masked_mean((step.made - step.x0).abs(), step.weight)
    if adversarial:
        logits = nets[STEP_CRITICS[domain]](torch.cat([step.fake, step.x_t], 1), times)
        loss = loss + adversarial * generator_loss(logits)
    return loss


def step_critic(nets: Nets, step: Step, times: Tensor, config: TrainConfig, domain: str) -> Tensor:
    """One critic of steps (eq. 12)."""
    eta = weight(config, "eta", "theta")
    return critic_loss(nets[STEP_CRITICS[domain]], step.real, step.fake, eta, given=step.x_t, times=times)


def _guides(nets: Nets, batch: Batch) -> dict[str, Tensor]:
    """What guides each domain's diffusion: the other's images, made from its own (eq. 16)."""
    y_a, y_b = estimates(nets, batch)
    return {"b": y_a, "a": y_b}


def _unpaired_critics(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    loss = idle(nets, (*CRITICS, *STEP_CRITICS.values()))
    with torch.no_grad():
        guides = _guides(nets, batch)
        steps = {d: diffuse(nets, batch, config, d, y) for d, y in guides.items()}
    if phi := weight(config, "adversarial", "phi"):  # eq. 24
        loss = loss + phi * one_shot_critics(batch, nets, config, guides["b"], guides["a"])
    if theta := weight(config, "adversarial", "theta"):
        loss = loss + theta * sum(step_critic(nets, step, batch.times, config, d) for d, step in steps.items())
    return loss


def _unpaired_generators(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """SynDiff, eq. 23."""
    guides = _guides(nets, batch)
    return one_shot_loss(nets, batch, config, guides["b"], guides["a"]) + sum(
        diffusive_loss(nets, diffuse(nets, batch, config, d, y), batch.times, config, d) for d, y in guides.items()
    )


def _paired_critic(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    if not weight(config, "adversarial", "theta"):
        return idle(nets, (STEP_CRITICS["b"],))
    with torch.no_grad():
        step = diffuse(nets, batch, config, "b", batch.source)
    return step_critic(nets, step, batch.times, config, "b")


def _paired_generator(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    return diffusive_loss(nets, diffuse(nets, batch, config, "b", batch.source), batch.times, config, "b")


def _denoiser_critics(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        y_a, y_b = estimates(nets, batch)
    return one_shot_critics(batch, nets, config, y_a, y_b)


def _denoiser_generators(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The unpaired DDPM of SynDiff (IV-B.7): a plain diffusion loss on made sources."""
    y_a, y_b = estimates(nets, batch)
    return one_shot_loss(nets, batch, config, y_a, y_b) + _denoising(nets, batch, config, y_a)


def _denoising(nets: Nets, batch: Batch, config: TrainConfig, given: Tensor) -> Tensor:
    """Squared error of what the net predicts of the noised target."""
    ab = _path(config, batch.target.device).alpha_bar.to(batch.target)[batch.times].view(-1, 1, 1, 1)
    x0 = background(batch.target, batch.weight)
    output = nets["net"](torch.cat([add_noise(x0, batch.eps, ab), given], 1), batch.times).float()
    return masked_mean((output - prediction_target(x0, batch.eps, ab, config.prediction)).square(), batch.weight)


def _validate_unpaired(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    step = diffuse(nets, batch, config, "b", estimates(nets, batch)[0])
    return masked_mean((step.made - step.x0).abs(), step.weight)


def _validate_paired(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    step = diffuse(nets, batch, config, "b", batch.source)
    return masked_mean((step.made - step.x0).abs(), step.weight)


def _validate_denoiser(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    return _denoising(nets, batch, config, estimates(nets, batch)[0])


def _resting(config: TrainConfig, step: int) -> tuple[str, ...]:
    """The nets of the module that does not train in this step."""
    share = step / config.steps
    if share < float(config.option("pretrained", 0.0)):
        return (*NET.values(), *STEP_CRITICS.values())
    return ("to_a", "to_b", *CRITICS) if share >= float(config.option("frozen", 1.0)) else ()


def _step_critic_net(channels: int, config: TrainConfig) -> Discriminator:
    return Discriminator(2 * channels, critic_widths(config), time=True, time_scale=_net(config).time_scale)


def _net(config: TrainConfig) -> HalfUNetConfig:
    """The configuration of a diffusive generator, the one kind of net with all that these methods ask for."""
    if not isinstance(config.net, HalfUNetConfig):
        raise InputError(f"The method {config.method.name} trains a {HalfUNetConfig.kind}, got a {config.net.kind}.")
    return config.net


def _build_paired(config: TrainConfig) -> dict[str, nn.Module]:
    return {"net": config.net.build(), "steps_b": _step_critic_net(1, config)}


def _build_unpaired(config: TrainConfig) -> dict[str, nn.Module]:
    n = config.net.n_sources
    # x_t of n contrasts and one guide are as many channels as x_t of one and n guides
    return {
        **_build_paired(config),
        "net_a": replace(config.net, out_slices=n).build(),
        "steps_a": _step_critic_net(n, config),
        **one_shot_nets(config),
    }


def _build_denoiser(config: TrainConfig) -> dict[str, nn.Module]:
    return {"net": config.net.build(), **one_shot_nets(config)}


def _path(config: TrainConfig, device: torch.device) -> Schedule:
    return _on_device(config.schedule, config.n_train, device)


@cache
def _on_device(name: str, n_train: int, device: torch.device) -> Schedule:
    path = schedule(name, n_train)
    return replace(path, alpha_bar=path.alpha_bar.to(device))


def _numbers(config: TrainConfig, contrasts: int) -> int:
    """Normal numbers that a slab of a domain needs: three images and a latent."""
    return 3 * contrasts * config.window**2 + _net(config).latent


def _noise(batch: Batch, config: TrainConfig, domain: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of one domain's slabs: eps and the noise of two steps (N,C,A,B), latent (N,L); the same for all players."""
    images, first = (batch.target, 0) if domain == "b" else (batch.source, _numbers(config, 1))
    own = batch.noise[:, first : first + _numbers(config, images.shape[1])]
    size = images[0].numel()
    eps, one, two = (own[:, k * size : (k + 1) * size].reshape(images.shape) for k in range(3))
    return eps, one, two, own[:, 3 * size :]


SYNDIFF = Method(
    "syndiff",
    (
        Player((*CRITICS, *STEP_CRITICS.values()), _unpaired_critics),
        Player((*NET.values(), "to_a", "to_b"), _unpaired_generators),
    ),
    _build_unpaired,
    _validate_unpaired,
    lambda config: _numbers(config, 1) + _numbers(config, config.net.n_sources),
    _resting,
)
PAIRED = Method(
    "syndiff-paired",
    (Player((STEP_CRITICS["b"],), _paired_critic), Player(("net",), _paired_generator)),
    _build_paired,
    _validate_paired,
    lambda config: _numbers(config, 1),
)
DDPM_UNPAIRED = Method(
    "ddpm-unpaired",
    (Player(CRITICS, _denoiser_critics), Player(("net", "to_a", "to_b"), _denoiser_generators)),
    _build_denoiser,
    _validate_denoiser,
)
