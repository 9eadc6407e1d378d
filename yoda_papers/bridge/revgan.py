"""RevGAN, one 3D net that translates both ways, its core run backwards: a rival of SKC-ISTA (3, Table 1).

Van der Ouderaa and Worrall (2019), arXiv 1902.02729, the paired 3D model. Patches of a volume are thick slabs, as in
``ea_gan``. The core can be undone exactly; that activations could therefore be forgotten and made again, which saves
memory, is not used here. No instance norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.nets.base import PatchConfig
from yoda_nb.nets.blocks import zeroed
from yoda_nb.nets.discriminator import Discriminator3D
from yoda_nb.training.adversarial import discriminator_loss, generator_loss
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.method import Method, Nets, Player
from yoda_nb.training.pairs import absolute, as_volumes, patch_weight

ADVERSARIAL = 0.01  # to the distance's 1 (the authors: 1 to 100)


@dataclass(frozen=True)
class RevConfig(PatchConfig):
    """What rebuilds a generator from its card."""

    channels: int = 8  # at whole sides, twice as many in the core
    depth: int = 6  # blocks of the core
    kind: ClassVar[str] = "revgan"
    divisor: ClassVar[int] = 2

    def build(self) -> nn.Module:
        return Reversible(self)


class Reversible(nn.Module):
    """Encoder, reversible core, decoder: slabs (N, (1 + n_sources) * S, A, B) -> (N,S,A,B), in (-1,1).

    Of ``part`` "back" targets (N,S,A,B) -> sources (N,n_sources * S,A,B), through the core's inverse.
    """

    def __init__(self, config: RevConfig):
        super().__init__()
        self.config, n, width = config, config.n_sources, config.channels
        self.encode_a, self.encode_b = _encoder(n, width), _encoder(1, width)
        self.core = nn.ModuleList(Coupling(2 * width) for _ in range(config.depth))
        self.decode_b, self.decode_a = _decoder(width, 1), _decoder(width, n)

    def forward(self, slabs: Tensor, times: Tensor | None = None, *, part: str = "") -> Tensor:
        depth = self.config.thickness
        back, encode, decode = part == "back", self.encode_a, self.decode_b
        if back:
            encode, decode = self.encode_b, self.decode_a
        h = (slabs if back else slabs[:, depth:]).unflatten(1, (-1, depth))  # (N,C,S,A,B)
        h = encode(F.pad(h, (0, 0, 0, 0, 0, depth % 2), mode="replicate"))
        for block in list(self.core)[:: -1 if back else 1]:
            h = block(h, back)
        return torch.tanh(decode(h))[:, :, :depth].flatten(1, 2)


class Coupling(nn.Module):
    """y_1 = x_1 + F(x_2), y_2 = x_2 + G(y_1) on halves of the channels (the paper's eq. 3), and back."""

    def __init__(self, channels: int):
        super().__init__()
        self.f, self.g = _branch(channels // 2), _branch(channels // 2)

    def forward(self, x: Tensor, back: bool = False) -> Tensor:
        one, two = x.chunk(2, 1)
        if back:
            two = two - self.g(one)
            return torch.cat([one - self.f(two), two], 1)
        one = one + self.f(two)
        return torch.cat([one, two + self.g(one)], 1)


def _branch(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, channels, 3, padding=1), nn.ReLU(), zeroed(nn.Conv3d(channels, channels, 3, padding=1))
    )


def _encoder(channels: int, width: int) -> nn.Sequential:
    first, second = nn.Conv3d(channels, width, 5, padding=2), nn.Conv3d(width, 2 * width, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def _decoder(width: int, channels: int) -> nn.Sequential:
    grow = nn.ConvTranspose3d(2 * width, width, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(grow, nn.ReLU(), nn.Conv3d(width, channels, 5, padding=2))


def build(config: TrainConfig) -> dict[str, nn.Module]:
    channels = config.net.n_sources + 1  # each critic sees both
    return {"net": config.net.build(), "critic_a": Discriminator3D(channels), "critic_b": Discriminator3D(channels)}


def generator(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The distances of both directions, and both critics' doubt."""
    made_a, made_b = _made(nets, batch)
    weight, n = patch_weight(batch.target, batch.weight, config), config.net.n_sources
    loss = absolute(made_b, batch.target, weight) + absolute(made_a, batch.source, weight.repeat(1, n, 1, 1))
    _, false_a, false_b = _pairs(batch, made_a, made_b)
    doubt = generator_loss(nets["critic_a"](false_a)) + generator_loss(nets["critic_b"](false_b))
    return loss + float(config.option("adversarial", ADVERSARIAL)) * doubt


def critics(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        made = _made(nets, batch)
    real, false_a, false_b = _pairs(batch, *made)
    losses = (discriminator_loss(nets[k](real), nets[k](x)) for k, x in (("critic_a", false_a), ("critic_b", false_b)))
    return sum(losses, torch.zeros(())) / 2


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The distance of the target alone."""
    return absolute(_made(nets, batch)[1], batch.target, patch_weight(batch.target, batch.weight, config))


def _made(nets: Nets, batch: Batch) -> tuple[Tensor, Tensor]:
    slabs = torch.cat([torch.zeros_like(batch.target), batch.source], 1)
    return nets["net"](batch.target, part="back").float(), nets["net"](slabs, batch.times).float()


def _pairs(batch: Batch, made_a: Tensor, made_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs as volumes (N,C+1,S,A,B): acquired, with sources made, with targets made."""
    a, b = batch.source, batch.target
    return as_volumes(b, a), as_volumes(b, made_a), as_volumes(made_b, a)


REVGAN = Method("revgan", (Player(("critic_a", "critic_b"), critics), Player(("net",), generator)), build, validation)
