"""MaskGAN, a cycle GAN whose generators also tell where the body is: a rival of SKC-ISTA (3, Table 1).

Phan, Liao, Verjans and To (2023), arXiv 2307.16143, trained on pairs as SKC-ISTA has it: the distance to the pair is
added, weighed as the cycle (the seed gives no weight). Coarse masks are the volumes' own. No loss of identity, which
needs as many sources as targets; what attention keeps of an image with several channels is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import Down, ResBlock, Up
from yoda_nb.nets.discriminator import Discriminator
from yoda_nb.training.adversarial import weighed
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Nets, Player
from yoda_nb.training.pairs import least_squares

# of cycles, masks and shapes (the authors' code: 10, 0.5 and up to 0.5 to the critic's 1), over ten
WEIGHTS = {"pair": 1.0, "cycle": 1.0, "adversarial": 0.1, "mask": 0.05, "shape": 0.05}


@dataclass(frozen=True)
class MaskedConfig(Config):
    """What rebuilds a generator from its card."""

    channels: tuple[int, int] = (24, 32)  # at a half and a quarter of the sides
    res_blocks: int = 4
    contents: int = 4  # images that attention chooses from, beside the one that is given
    kind: ClassVar[str] = "maskgan"
    divisor: ClassVar[int] = 4

    def build(self) -> nn.Module:
        return Masked(self)


class Masked(nn.Module):
    """sum a_k c_k + a_0 x, attention a of softmax, contents c: slabs (N, 1 + n_sources, A, B) -> (N,out_slices,A,B).

    Of ``part`` "both" images (N,n_sources,A,B) -> the image and, as a last channel, a_0, which is 1 in the background.
    """

    def __init__(self, config: MaskedConfig):
        super().__init__()
        (outer, inner), self.config = config.channels, config
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.n_sources, outer, 3, padding=1),
            *(nn.ReLU(), Down(outer, inner), *(ResBlock(inner, inner) for _ in range(config.res_blocks))),
            *(Up(inner, outer), nn.ReLU()),
        )
        self.contents = _head(outer, config.contents * config.out_slices)
        self.attention = _head(outer, config.contents + 1)

    def forward(self, slabs: Tensor, times: Tensor | None = None, *, part: str = "") -> Tensor:
        images, out = slabs if part else slabs[:, 1:], self.config.out_slices
        h = self.trunk(images)
        contents = torch.tanh(self.contents(h)).unflatten(1, (out, -1))  # (N,out,K,A,B)
        attention = self.attention(h).softmax(1)[:, None]
        made = (attention[:, :, 1:] * contents).sum(2) + attention[:, :, 0] * images.mean(1, keepdim=True)
        return torch.cat([made, attention[:, :, 0]], 1) if part else made


def _head(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4 * out, 3, padding=1), nn.PixelShuffle(2))


def build(config: TrainConfig) -> dict[str, nn.Module]:
    n = config.net.n_sources
    to_a = replace(config.net, n_sources=1, out_slices=n).build()
    critics = {"critic_a": Discriminator(n, (16, 48)), "critic_b": Discriminator(1, (16, 48))}
    return {"net": config.net.build(), "to_a": to_a, **critics}


def generators_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Pairs, cycles, critics, masks ||a_0 - background|| and shapes ||a_0 of x - a_0 of what is made of x||."""
    a, b, inside = batch.source, batch.target, batch.weight
    made_b, far_a = _both(nets["net"], a)
    made_a, far_b = _both(nets["to_a"], b)
    again_a, far_ab = _both(nets["to_a"], made_b)
    again_b, far_ba = _both(nets["net"], made_a)
    background = (inside < 1).to(a)
    terms = {
        "pair": _apart(made_a, a, inside) + _apart(made_b, b, inside),
        "cycle": _apart(again_a, a, inside) + _apart(again_b, b, inside),
        "adversarial": least_squares(nets["critic_a"](made_a), True) + least_squares(nets["critic_b"](made_b), True),
        "mask": (far_a - background).abs().mean() + (far_b - background).abs().mean(),
        "shape": (far_a - far_ab).abs().mean() + (far_b - far_ba).abs().mean(),
    }
    return weighed(terms, WEIGHTS, config)


def critics_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        made_b, made_a = _both(nets["net"], batch.source)[0], _both(nets["to_a"], batch.target)[0]
    judged = (("critic_a", batch.source, made_a), ("critic_b", batch.target, made_b))
    losses = [least_squares(nets[k](real), True) + least_squares(nets[k](fake), False) for k, real, fake in judged]
    return sum(losses, torch.zeros(())) / 2


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The distance of the target alone."""
    return _apart(_both(nets["net"], batch.source)[0], batch.target, batch.weight)


def _both(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What a generator makes of images (N,C,A,B), and its background (N,1,A,B)."""
    both = net(images, part="both").float()
    return both[:, :-1], both[:, -1:]


def _apart(x: Tensor, y: Tensor, inside: Tensor) -> Tensor:
    return masked_mean((x - y).abs(), inside)


MASKGAN = Method(
    "maskgan",
    (Player(("critic_a", "critic_b"), critics_loss), Player(("net", "to_a"), generators_loss)),
    build,
    validation,
)
