"""MUNIT, translation by a content that domains share and a style that they do not: a rival of SynDiff (IV-B.4).

Huang, Liu, Belongie and Kautz (2018), arXiv 1804.04732. "net" takes the content of sources (domain A) and gives it a
style of targets (domain B), "to_a" the other way round; a style is a latent of normal numbers, so images are samples.
"""

from __future__ import annotations

from dataclasses import dataclass
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

STYLE = 8  # numbers of a style, as in the paper
# of images, contents, styles and critics [SynDiff IV-B.4], over ten
WEIGHTS = {"image": 1.0, "content": 0.1, "style": 0.1, "adversarial": 0.1}


@dataclass(frozen=True)
class MunitConfig(Config):
    """What rebuilds a translator from its card: a content encoder, and a decoder that is told a style."""

    channels: tuple[int, int] = (24, 32)  # at a half and a quarter of the sides
    res_blocks: int = 3
    latent: int = STYLE
    kind: ClassVar[str] = "munit"
    divisor: ClassVar[int] = 4

    def build(self) -> nn.Module:
        return StyledTranslator(self)


class StyledTranslator(nn.Module):
    """Content of one domain, style of the other: slabs (N, 1 + n_sources, A, B)[, latent (N,L)] -> (N,out_slices,A,B).

    Images are in (-1,1). Without a latent the style is the mean of all, zero. Of ``part`` "content" images
    (N,n_sources,A,B) -> contents (N,C,A/4,B/4), of "decode" contents and latents -> images.
    """

    def __init__(self, config: MunitConfig):
        super().__init__()
        (outer, inner), n, self.latent = config.channels, config.res_blocks, config.latent
        self.content = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.n_sources, outer, 3, padding=1),
            *(nn.ReLU(), Down(outer, inner), *(PlainBlock(inner) for _ in range(n))),
            nn.InstanceNorm2d(inner),  # a content is without a contrast of its own
        )
        self.styled = nn.ModuleList(StyledBlock(inner) for _ in range(n))
        self.told = nn.Sequential(nn.Linear(config.latent, 32), nn.ReLU(), nn.Linear(32, 4 * inner * n))
        self.out = nn.Sequential(
            *(Up(inner, outer), PlainBlock(outer), nn.ReLU()),
            *(nn.Conv2d(outer, 4 * config.out_slices, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()),
        )

    def _decode(self, h: Tensor, style: Tensor) -> Tensor:
        for block, told in zip(self.styled, self.told(style).chunk(len(self.styled), 1), strict=True):
            h = block(h, told)
        return self.out(h)

    def forward(
        self, slabs: Tensor, times: Tensor | None = None, *, latent: Tensor | None = None, part: str = ""
    ) -> Tensor:
        if part == "content":
            return self.content(slabs)
        style = slabs.new_zeros(len(slabs), self.latent) if latent is None else latent
        return self._decode(slabs if part == "decode" else self.content(slabs[:, 1:]), style)


class StyledBlock(nn.Module):
    """Two convolutions with a shortcut, each after adaptive instance normalisation (the paper's eq. 8)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = x
        for layer, part in zip(self.layers, told.chunk(2, 1), strict=True):
            scale, shift = part[..., None, None].chunk(2, 1)
            h = layer(F.relu(F.instance_norm(h) * (1 + scale) + shift))
        return x + h


class StyleEncoder(nn.Module):
    """Images (N,C,A,B) -> styles (N,L): strided convolutions, a mean over pixels, a linear layer."""

    def __init__(self, channels: int, style: int = STYLE, width: int = 24):
        super().__init__()
        layers = [nn.Conv2d(a, width, 4, stride=2, padding=1) for a in (channels, width, width)]
        self.layers = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
        self.out = nn.Linear(width, style)

    def forward(self, images: Tensor) -> Tensor:
        return self.out(self.layers(images).mean((2, 3)))


def build(config: TrainConfig) -> dict[str, nn.Module]:
    return {**translators(config), "style_a": StyleEncoder(config.net.n_sources), "style_b": StyleEncoder(1)}


def translated(nets: Nets, batch: Batch) -> tuple[Tensor, ...]:
    """Contents and random styles of both domains, and the images that they make in the other one.

    content_a, content_b, style_a, style_b, made_a (N,C,A,B), made_b (N,1,A,B).
    """
    content_a = nets["net"](background(batch.source, batch.source_weight), part="content")
    content_b = nets["to_a"](background(batch.target, batch.weight), part="content")
    style_a, style_b = batch.noise.chunk(2, 1)
    made_a = background(nets["to_a"](content_b, latent=style_a, part="decode"), batch.weight)
    made_b = background(nets["net"](content_a, latent=style_b, part="decode"), batch.source_weight)
    return content_a, content_b, style_a, style_b, made_a, made_b


def translators_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Images from their own content and style, contents and styles from translations, and critics (eq. 1-5)."""
    content_a, content_b, style_a, style_b, made_a, made_b = translated(nets, batch)
    image = _images_again(nets, batch, content_a, content_b)
    again_a, again_b = nets["to_a"](made_b, part="content"), nets["net"](made_a, part="content")
    content = F.l1_loss(again_a, content_a) + F.l1_loss(again_b, content_b)
    style = F.l1_loss(nets["style_a"](made_a), style_a) + F.l1_loss(nets["style_b"](made_b), style_b)
    doubt = generator_loss(nets["critic_a"](made_a)) + generator_loss(nets["critic_b"](made_b))
    terms = {"image": image, "content": content, "style": style, "adversarial": doubt}
    return weighed(terms, WEIGHTS, config)


def _images_again(nets: Nets, batch: Batch, content_a: Tensor, content_b: Tensor) -> Tensor:
    a, b = background(batch.source, batch.source_weight), background(batch.target, batch.weight)
    again_a = nets["to_a"](content_a, latent=nets["style_a"](a), part="decode")
    again_b = nets["net"](content_b, latent=nets["style_b"](b), part="decode")
    return masked_mean((again_a - a).abs(), batch.source_weight) + masked_mean((again_b - b).abs(), batch.weight)


def critics_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        *_, made_a, made_b = translated(nets, batch)
    return one_shot_critics(batch, nets, config, made_a, made_b)


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Images from their own content and style."""
    content_a, content_b, *_ = translated(nets, batch)
    return _images_again(nets, batch, content_a, content_b)


MUNIT = Method(
    "munit",
    (Player(CRITICS, critics_loss), Player(("net", "to_a", "style_a", "style_b"), translators_loss)),
    build,
    validation,
    lambda config: 2 * STYLE,
)
