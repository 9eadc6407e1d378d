"""ALDM, diffusion of a compressed volume: a rival of YODA (III-E) and SKC-ISTA (3).

Kim and Park (2024), arXiv 2311.00265: a 3D autoencoder with a codebook, blocks that turn the sources' codes into
target-like ones (SPADE), and a diffusion of the target's code beside those. Patches of a volume are thick slabs, as in
``ea_gan``. Where this differs from the authors' code: one target needs no switch among normalisations; the stages are
trained at once, each on what the others give at the time, with no gradient between diffusion and autoencoder; codes
lie on a sphere (Yu et al. 2022, arXiv 2110.04627), which gives each of their channels the variance that diffusion
expects; no perceptual loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.process import add_noise, time_pairs, to_x0, vp_step
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.nets.base import PatchConfig
from yoda_nb.nets.blocks import TimeEmbedding, zeroed
from yoda_nb.nets.discriminator import Discriminator3D
from yoda_nb.training.adversarial import discriminator_loss, generator_loss
from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.method import Method, Nets, Player
from yoda_nb.training.pairs import absolute, patch_weight
from yoda_nb.training.rows import Training, base, deciding

TITLE = "ALDM (Kim and Park 2024)"
T, NOISE = 1000, schedule("linear", 1000)  # of the diffusion of codes
FACTOR = 4  # of the sides: a code is so many times smaller
COMMIT, ADVERSARIAL = 0.25, 0.01  # beside the distances of images


@dataclass(frozen=True)
class LatentConfig(PatchConfig):
    """What rebuilds the nets from their card."""

    channels: tuple[int, int] = (12, 24)  # of the autoencoder: at a half and a quarter of the sides
    code: int = 4  # channels of a code, at most FACTOR
    codes: int = 256  # vectors in the codebook
    width: int = 32  # of the translation of codes and of their denoiser
    blocks: int = 3
    steps: int = 25  # of DDIM, within one call
    kind: ClassVar[str] = "aldm"
    divisor: ClassVar[int] = FACTOR

    def build(self) -> nn.Module:
        return LatentDiffusion(self)


class LatentDiffusion(nn.Module):
    """A patch from noise, by diffusion of its code: slabs (N, (1 + n_sources) * S, A, B) -> (N,S,A,B), in (-1,1).

    x_t is the noise that DDIM starts from: the same voxel, the same noise in every patch that holds it. Parts, of
    codes z (N,C,s,a,b), a quarter of the sides: "encode" images (N,S,A,B) -> z, "decode" z -> images, "quantise" z ->
    the nearest vectors of the codebook, "translate" sources (N,n_sources * S,A,B) -> z like the target's, "denoise"
    noised and translated z (N,2C,s,a,b) with times (N,) -> the noise.
    """

    def __init__(self, config: LatentConfig):
        super().__init__()
        c, (outer, inner), self.config = config, config.channels, config
        self.encoder = nn.Sequential(
            *(nn.Conv3d(1, outer, 4, stride=2, padding=1), nn.SiLU()),
            *(nn.Conv3d(outer, inner, 4, stride=2, padding=1), nn.SiLU()),
            nn.Conv3d(inner, c.code, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            *(nn.Conv3d(c.code, inner, 3, padding=1), nn.SiLU()),
            *(nn.ConvTranspose3d(inner, outer, 4, stride=2, padding=1), nn.SiLU()),
            *(nn.ConvTranspose3d(outer, outer, 4, stride=2, padding=1), nn.SiLU()),
            nn.Conv3d(outer, 1, 3, padding=1),
        )
        self.codebook = nn.Parameter(torch.randn(c.codes, c.code))
        self.translator = Spade(c.n_sources * c.code, c.code, c.width)
        self.denoiser = CodeDenoiser(2 * c.code, c.code, c.width, c.blocks)

    def forward(self, slabs: Tensor, times: Tensor | None = None, *, part: str = "") -> Tensor:
        if part == "denoise":
            assert times is not None
            return self.denoiser(slabs, times)
        if part:
            return {"encode": self._encode, "decode": self._decode, "quantise": self._near, "translate": self._like}[
                part
            ](slabs)
        depth = self.config.thickness
        z, given = code_noise(slabs[:, :depth], self.config.code), self._like(slabs[:, depth:])
        for t, s in time_pairs(T, self.config.steps):
            told = self.denoiser(torch.cat([z, given], 1), z.new_full((len(z),), float(t)))
            z = vp_step(z, to_x0(z, told, NOISE.at(t), "eps"), t, s, torch.zeros_like(z), schedule=NOISE, sigma="zero")
        return self._decode(self._near(on_sphere(z)))

    def _encode(self, images: Tensor) -> Tensor:
        lack = -images.shape[1] % FACTOR
        return on_sphere(self.encoder(F.pad(images[:, None], (0, 0, 0, 0, 0, lack), mode="replicate")))

    def _decode(self, z: Tensor) -> Tensor:
        return torch.tanh(self.decoder(z))[:, 0, : self.config.thickness]

    def _like(self, sources: Tensor) -> Tensor:
        each = sources.unflatten(1, (-1, self.config.thickness)).unbind(1)  # n_sources of (N,S,A,B)
        return on_sphere(self.translator(torch.cat([self._encode(images) for images in each], 1)))

    def _near(self, z: Tensor) -> Tensor:
        book = on_sphere(self.codebook)
        nearest = torch.einsum("ncdhw,kc->nkdhw", z, book).argmax(1)  # on a sphere the nearest has the largest product
        return book[nearest].movedim(-1, 1)


class Spade(nn.Module):
    """Codes (N,n,..) of sources -> (N,out,..): residual blocks whose normalised values the codes scale and shift."""

    def __init__(self, channels: int, out: int, width: int, blocks: int = 2):
        super().__init__()
        self.first, self.out = nn.Conv3d(channels, width, 3, padding=1), nn.Conv3d(width, out, 1)
        self.norm = nn.InstanceNorm3d(width)
        self.told = nn.ModuleList(nn.Conv3d(channels, 2 * width, 3, padding=1) for _ in range(blocks))
        self.mixed = nn.ModuleList(zeroed(nn.Conv3d(width, width, 3, padding=1)) for _ in range(blocks))

    def forward(self, codes: Tensor) -> Tensor:
        h = self.first(codes)
        for told, mixed in zip(self.told, self.mixed, strict=True):
            scale, shift = told(codes).chunk(2, 1)
            h = h + mixed(F.silu(self.norm(h) * (1 + scale) + shift))
        return self.out(h)


class CodeDenoiser(nn.Module):
    """Noise of codes: (N,n,..), times (N,) -> (N,out,..); zero at first."""

    def __init__(self, channels: int, out: int, width: int, blocks: int):
        super().__init__()
        self.time, self.first = TimeEmbedding(width), nn.Conv3d(channels, width, 3, padding=1)
        self.into = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), nn.Conv3d(width, width, 3, padding=1))
            for _ in range(blocks)
        )
        self.biases = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.onto = nn.ModuleList(zeroed(nn.Conv3d(width, width, 3, padding=1)) for _ in range(blocks))
        self.out = nn.Sequential(nn.GroupNorm(4, width), nn.SiLU(), zeroed(nn.Conv3d(width, out, 3, padding=1)))

    def forward(self, codes: Tensor, times: Tensor) -> Tensor:
        h, embedding = self.first(codes), F.silu(self.time(times))
        for into, bias, onto in zip(self.into, self.biases, self.onto, strict=True):
            h = h + onto(F.silu(into(h) + bias(embedding)[:, :, None, None, None]))
        return self.out(h)


def on_sphere(z: Tensor) -> Tensor:
    """Vectors along axis 1, each of the length that gives its numbers a mean square of 1."""
    return F.normalize(z, dim=1) * z.shape[1] ** 0.5


def code_noise(noise: Tensor, channels: int) -> Tensor:
    """Of noise of voxels (N,S,A,B) that of a code (N,C,s,a,b): C of the voxels that a code stands for."""
    return torch.stack([noise[:, ::FACTOR, ::FACTOR, k::FACTOR] for k in range(channels)], 1)


def build(config: TrainConfig) -> dict[str, nn.Module]:
    return {"net": config.net.build(), "critic": Discriminator3D(1)}


def first_stage(nets: Nets, batch: Batch) -> tuple[Tensor, ...]:
    """Codes of targets and those made of sources, the quantised ones, and images of these: z_b, z_a, q_b, q_a, b, a."""
    net = nets["net"]
    z_b, z_a = net(batch.target, part="encode"), net(batch.source, part="translate")
    q_b, q_a = net(z_b, part="quantise"), net(z_a, part="quantise")
    # straight through: what the decoder asks of the quantised code is asked of the code
    own, made = (net(z + (q - z).detach(), part="decode") for z, q in ((z_b, q_b), (z_a, q_a)))
    return z_b, z_a, q_b, q_a, own, made


def net_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """Images of both codes, codes near the codebook, the critic's doubt, and the noise of the target's code."""
    z_b, z_a, q_b, q_a, own, made = first_stage(nets, batch)
    weight = patch_weight(batch.target, batch.weight, config)
    loss = absolute(own, batch.target, weight) + absolute(made, batch.target, weight)
    for z, q in ((z_b, q_b), (z_a, q_a)):
        loss = loss + (q - z.detach()).square().mean() + COMMIT * (z - q.detach()).square().mean()
    doubt = sum((generator_loss(nets["critic"](x[:, None])) for x in (own, made)), torch.zeros(()))
    return loss + float(config.option("adversarial", ADVERSARIAL)) * doubt + _noise_loss(nets, batch, z_b, z_a)


def _noise_loss(nets: Nets, batch: Batch, z_b: Tensor, z_a: Tensor) -> Tensor:
    times, eps = (batch.fractions * T).long(), code_noise(batch.eps, z_b.shape[1])
    ab = NOISE.alpha_bar.to(z_b)[times].view(-1, 1, 1, 1, 1)
    noised = torch.cat([add_noise(z_b.detach(), eps, ab), z_a.detach()], 1)
    return (nets["net"](noised, times, part="denoise").float() - eps).square().mean()


def critic_loss(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    with torch.no_grad():
        *_, own, made = first_stage(nets, batch)
    real = nets["critic"](batch.target[:, None])
    return sum((discriminator_loss(real, nets["critic"](x[:, None])) for x in (own, made)), torch.zeros(())) / 2


def validation(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
    """The distance of what is made of the translated code, and the noise's squared error."""
    z_b, z_a, *_, made = first_stage(nets, batch)
    weight = patch_weight(batch.target, batch.weight, config)
    return absolute(made, batch.target, weight) + _noise_loss(nets, batch, z_b, z_a)


ALDM = Method("aldm", (Player(("critic",), critic_loss), Player(("net",), net_loss)), build, validation)
NETS = (LatentConfig,)
TRAININGS = {
    "aldm": Training("ALDM", base(LatentConfig(), method=ALDM, n_train=1, prediction="x0", betas=(0.5, 0.9)), bits=8)
}
TRAININGS |= deciding(TRAININGS, "aldm", best=7e-4)
SYSTEMS = (
    System(
        "aldm",
        "3D latent diffusion, 25 DDIM steps of a code, guided by the sources' codes",
        "Kim and Park 2024, arXiv 2311.00265; competitor of YODA and SKC-ISTA",
        VP(),
        weights="systems/aldm",
        views=(AXIAL,),
    ),
)
