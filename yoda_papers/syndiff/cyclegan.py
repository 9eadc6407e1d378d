"""Two one-shot generators that undo each other: the cycle GAN and SynDiff's non-diffusive module (SynDiff).

Domain B is the target, one contrast; domain A all sources together, of other subjects. ``options`` are
read by ``weight``: "cycle_phi" and "adversarial_phi" are this module's weights of eq. 22 and 23, "eta_phi"
that of the gradient penalty of its critics, "critic_blocks" their depth, "spectral" whether they are normalised.
What lies outside the mask is background, -1, for generators and critics alike, as it is when sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from yoda_nb.nets.base import Config
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.training.adversarial import critic_loss, generator_loss
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Player
from yoda_papers.syndiff.attention import spectral
from yoda_papers.syndiff.nets import ResNetConfig

Nets = Mapping[str, nn.Module]
CRITICS = ("critic_a", "critic_b")
# What SynDiff prints (IV-B.1): lambda_1 = 0.5, lambda_2 = 1, of both modules. It gives no value of eta: 0.02 is
# this project's; the authors' code takes 0.05 a step (``adversarial.critic_loss``) for critics of steps, 0 for others.
DEFAULTS = {"cycle": 0.5, "adversarial": 1.0, "eta": 0.02}
CRITIC_WIDTHS = (16, 48, 64)  # of the blocks of a critic


def weight(config: TrainConfig, name: str, module: str) -> float:
    """Weight of a term in the non-diffusive ("phi") or diffusive module ("theta"): of the term alone for both."""
    return float(config.option(f"{name}_{module}", config.option(name, DEFAULTS[name])))


def critic_widths(config: TrainConfig) -> tuple[int, ...]:
    """Widths of a critic's "critic_blocks", two by default."""
    return CRITIC_WIDTHS[: int(config.option("critic_blocks", 2))]


def background(images: Tensor, inside: Tensor) -> Tensor:
    """Images (N,C,A,B) with -1 outside the mask, where the batch's weight ``inside`` (N,1,A,B) is below 1."""
    return torch.where(inside >= 1, images.float(), -1.0)


def one_shot_nets(config: TrainConfig, net: Config | None = None) -> dict[str, nn.Module]:
    """Generators of both directions and their critics, by default G_phi of the paper [SynDiff III-B.2]."""
    n, widths, to_b = config.net.n_sources, critic_widths(config), net or ResNetConfig(n_sources=config.net.n_sources)
    generators = {"to_a": replace(to_b, n_sources=1, out_slices=n).build(), "to_b": to_b.build()}
    critics: dict[str, nn.Module] = {"critic_a": Discriminator(n, widths), "critic_b": Discriminator(1, widths)}
    if config.option("spectral", False):
        critics = {name: spectral(critic) for name, critic in critics.items()}
    return {**generators, **critics}


def translators(config: TrainConfig) -> dict[str, nn.Module]:
    """Both generators of a configuration's own kind, "net" the one that is kept, and their critics."""
    nets = one_shot_nets(config, config.net)
    nets["net"] = nets.pop("to_b")
    return nets


def estimates(nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
    """SynDiff, eq. 16: sources made of the targets (N,C,A,B), targets made of the sources (N,1,A,B)."""
    return _to_a(nets, batch.target, batch.weight), _to_b(nets, batch.source, batch.source_weight)


def one_shot_loss(nets: Nets, batch: Batch, config: TrainConfig, y_a: Tensor, y_b: Tensor) -> Tensor:
    """Both generators' adversarial (eq. 17) and cycle-consistency terms (eq. 21-22), weighted."""
    cycle, adversarial = (weight(config, name, "phi") for name in ("cycle", "adversarial"))
    loss = y_a.new_zeros(())
    if cycle:
        loss = loss + cycle * cycle_loss(nets, batch, y_a, y_b)
    if adversarial:
        loss = loss + adversarial * (generator_loss(nets["critic_a"](y_a)) + generator_loss(nets["critic_b"](y_b)))
    return loss


def cycle_loss(nets: Nets, batch: Batch, y_a: Tensor, y_b: Tensor) -> Tensor:
    """Mean absolute difference of images from their way there and back [SynDiff eq. 21-22]."""
    back_b, back_a = _to_b(nets, y_a, batch.weight), _to_a(nets, y_b, batch.source_weight)
    return masked_mean((back_b - batch.target).abs(), batch.weight) + masked_mean(
        (back_a - batch.source).abs(), batch.source_weight
    )


def one_shot_critics(batch: Batch, nets: Nets, config: TrainConfig, y_a: Tensor, y_b: Tensor) -> Tensor:
    """Both critics' losses [SynDiff eq. 18] with a gradient penalty, which the paper keeps to eq. 12.

    The paper's text gives these critics the input image as well; unpaired, no real pair exists, so
    here they see single images.
    """
    eta = weight(config, "eta", "phi")
    return critic_loss(nets["critic_a"], background(batch.source, batch.source_weight), y_a, eta) + critic_loss(
        nets["critic_b"], background(batch.target, batch.weight), y_b, eta
    )


def idle(nets: Nets, names: tuple[str, ...]) -> Tensor:
    """A loss of zero for players without a task."""
    return sum((0.0 * p.sum() for name in names for p in nets[name].parameters()), torch.zeros(()))


def _to_a(nets: Nets, target: Tensor, inside: Tensor) -> Tensor:
    return background(nets["to_a"](_slabs(target)), inside)


def _to_b(nets: Nets, source: Tensor, inside: Tensor) -> Tensor:
    return background(nets["to_b" if "to_b" in nets else "net"](_slabs(source)), inside)


def _slabs(images: Tensor) -> Tensor:
    """Images where a net expects x_t before them: one-shot nets do not look at it."""
    return torch.cat([images[:, :1], images], 1)


def _build(config: TrainConfig) -> dict[str, nn.Module]:
    nets = one_shot_nets(config, config.net)
    del nets["to_b"]
    return {"net": config.net.build(), **nets}


def _critics(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        y_a, y_b = estimates(nets, batch)
    return one_shot_critics(batch, nets, config, y_a, y_b)


def _generators(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    return one_shot_loss(nets, batch, config, *estimates(nets, batch))


def _validate(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    return cycle_loss(nets, batch, *estimates(nets, batch))


CYCLEGAN = Method("cyclegan", (Player(CRITICS, _critics), Player(("net", "to_a"), _generators)), _build, _validate)
