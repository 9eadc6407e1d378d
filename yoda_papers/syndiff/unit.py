"""UNIT, two autoencoders whose codes are one space: a rival of SynDiff (IV-B.3).

Liu, Breuel and Kautz (2017), arXiv 1703.00848. "net" encodes sources (domain A) and decodes targets (domain B), "to_a"
the other way round. Codes are normal around what the encoder gives; that the two spaces are one follows from the
losses, as in the authors' later code, where no layer is shared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.nets.base import Config
from yoda_nb.nets.blocks import Down, Up
from yoda_nb.training.adversarial import generator_loss, weighed
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.denoising import masked_mean
from yoda_nb.training.method import Method, Nets, Player
from yoda_papers.syndiff.cyclegan import CRITICS, background, one_shot_critics, translators
from yoda_papers.syndiff.nets import PlainBlock

CODE = 16  # channels of a code, which lies at a quarter of the sides: as many numbers as a slice
# of reconstructions, cycles and critics [SynDiff IV-B.3], and of codes' squares (the authors' code), over ten
WEIGHTS = {"reconstruction": 1.0, "cycle": 1.0, "adversarial": 0.1, "code": 0.001}


@dataclass(frozen=True)
class UnitConfig(Config):
    """What rebuilds a translator from its card: residual blocks on both sides of the code."""

    channels: tuple[int, int] = (24, 32)  # at a half and a quarter of the sides
    res_blocks: int = 3
    kind: ClassVar[str] = "unit"
    divisor: ClassVar[int] = 4

    def build(self) -> nn.Module:
        return Translator(self)


class Translator(nn.Module):
    """Code of one domain, image of the other: slabs (N, 1 + n_sources, A, B) -> (N,out_slices,A,B), in (-1,1).

    Of ``part`` "encode" images (N,n_sources,A,B) -> codes (N,CODE,A/4,B/4), of "decode" codes -> images.
    """

    def __init__(self, config: UnitConfig):
        super().__init__()
        (outer, inner), n = config.channels, config.res_blocks
        self.encode = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.n_sources, outer, 3, padding=1),
            *(nn.ReLU(), Down(outer, inner), *(PlainBlock(inner) for _ in range(n))),
            nn.Conv2d(inner, CODE, 1),
        )
        self.decode = nn.Sequential(
            nn.Conv2d(CODE, inner, 1),
            *(*(PlainBlock(inner) for _ in range(n)), Up(inner, outer), PlainBlock(outer), nn.ReLU()),
            *(nn.Conv2d(outer, 4 * config.out_slices, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()),
        )

    def forward(self, slabs: Tensor, times: Tensor | None = None, *, part: str = "") -> Tensor:
        if part:
            return {"encode": self.encode, "decode": self.decode}[part](slabs)
        return self.decode(self.encode(slabs[:, 1:]))


def noises(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Noise (N,CODE,A/4,B/4) of the codes of sources and targets, and of the two of translated images."""
    size = batch.target[0].numel()
    parts = (batch.noise[:, k * size : (k + 1) * size].reshape(batch.target.shape) for k in range(4))
    a, b, ab, ba = (F.pixel_unshuffle(part, 4) for part in parts)
    return a, b, ab, ba


def translated(nets: Nets, batch: Batch) -> tuple[Tensor, ...]:
    """Images of both domains, their codes, and translations: a, b, code_a, code_b, made_a, made_b."""
    noise_a, noise_b, *_ = noises(batch)
    a, b = background(batch.source, batch.source_weight), background(batch.target, batch.weight)
    code_a, code_b = nets["net"](a, part="encode"), nets["to_a"](b, part="encode")
    made_a = background(nets["to_a"](code_b + noise_b, part="decode"), batch.weight)
    made_b = background(nets["net"](code_a + noise_a, part="decode"), batch.source_weight)
    return a, b, code_a, code_b, made_a, made_b


def translators_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Each domain's image from its own code, from its translation's code, and both critics (eq. 3-10)."""
    to_b, to_a = nets["net"], nets["to_a"]
    a, b, code_a, code_b, made_a, made_b = translated(nets, batch)
    noise_a, noise_b, noise_ab, noise_ba = noises(batch)
    code_ab, code_ba = to_a(made_b, part="encode"), to_b(made_a, part="encode")
    near_a = (to_a(code, part="decode") for code in (code_a + noise_a, code_ab + noise_ab))
    near_b = (to_b(code, part="decode") for code in (code_b + noise_b, code_ba + noise_ba))
    own, cycle = (
        masked_mean((at_a - a).abs(), batch.source_weight) + masked_mean((at_b - b).abs(), batch.weight)
        for at_a, at_b in zip(near_a, near_b, strict=True)
    )
    doubt = generator_loss(nets["critic_a"](made_a)) + generator_loss(nets["critic_b"](made_b))
    codes = sum((code.square().mean() for code in (code_a, code_b, code_ab, code_ba)), torch.zeros(()))
    terms = {"reconstruction": own, "cycle": cycle, "adversarial": doubt, "code": codes}
    return weighed(terms, WEIGHTS, config)


def critics_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        *_, made_a, made_b = translated(nets, batch)
    return one_shot_critics(batch, nets, config, made_a, made_b)


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The loss without critics."""
    without = tuple((name, value) for name, value in config.options if name != "adversarial")
    return translators_loss(nets, batch, replace(config, options=(*without, ("adversarial", 0.0))))


UNIT = Method(
    "unit",
    (Player(CRITICS, critics_loss), Player(("net", "to_a"), translators_loss)),
    translators,
    validation,
    lambda config: 4 * config.window**2,
)
