"""The four backbones of Koch at one budget, and variants: DiT of larger patches, ADM without Min-SNR.

Its widths are [C, 2C, 4C] with C = 128 and its DiT is DiT-L/16; here C = 12 and patches are of 4,
about as many to a slice. Patches of 8 show what patches do wrong; ADM with and without Min-SNR is trained for
several budgets and with several seeds, to show what the weight does to convergence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.denoising import MIN_SNR, REGRESSION
from yoda_nb.training.rows import STEPS, Training, base, deciding
from yoda_papers.backbones.continuous import CONTINUOUS, OPTIONS
from yoda_papers.backbones.slices import Slices
from yoda_papers.backbones.vit import DiTConfig, UViTConfig

TITLE = "backbones and samplers (Koch et al.)"
NETS = (UViTConfig, DiTConfig)
LOG_SNR: dict[str, Any] = {"norm": "rms", "time_scale": 25.0}  # log-SNR lies in -10 .. 10, their sinusoids in radians
PATCH = 8  # voxels, of the nets whose patches are to show
LONG = 4  # times the shared budget: is an artefact of patches one of short training?
LONGEST = 12  # times the budget, after which a sampler has more to gain than from 16 steps to 32
BUDGETS = {STEPS // 4: range(6), STEPS // 2: range(3)}  # of the trainings that judge Min-SNR: steps -> seeds
# gamma of the weight of v: eq. 7; none, which is the error of v as it is; and one that
# is never reached, so that the weight is SNR / (SNR + 1), which is what the authors' code does without Min-SNR
GAMMAS = {"adm": MIN_SNR, "adm-plain": 0.0, "adm-snr": 1e6}
TRAINED = ("adm", "adm-plain")  # those that are trained for the budgets
UNET = UNetConfig((12, 24, 48), (False, False, False), groups=4, noisy=False)
ADM = UNetConfig((12, 24, 48), (False, False, True), res_blocks=2, **LOG_SNR)
UVIT = UViTConfig((12, 24), width=48, **LOG_SNR)
DIT = DiTConfig(patch=4, width=64, time_scale=25.0)

# Sizes as Koch states them (3.2): counted in Table 2, never trained here. At which resolutions its ADM attends it
# leaves open: here at two of three, all voxels of a slice to each other, which is half of ADM's operations; in the
# authors' code at all three, each row of a slice by itself. So operations cannot be compared one by one.
PAPER = {
    "unet": UNetConfig((128, 256, 512), (False, False, False), groups=32, noisy=False, n_sources=1),
    "adm": UNetConfig((128, 256, 512), (False, True, True), res_blocks=2, embedding=512, n_sources=1, **LOG_SNR),
    "uvit": UViTConfig((128, 256), width=512, depth=16, ratio=4, embedding=512, n_sources=1, **LOG_SNR),
    "dit": DiTConfig(patch=16, width=1024, depth=24, heads=16, ratio=4, embedding=1024, n_sources=1),
}

# Table 2: millions of parameters, GFLOPs of a forward pass, batches of 16 a second on an A40
STATED = {
    "unet": {"parameters": 15, "gflops": 3, "rate": 14.14},
    "adm": {"parameters": 35, "gflops": 22, "rate": 5.65},
    "uvit": {"parameters": 125, "gflops": 120, "rate": 5.62},
    "dit": {"parameters": 558, "gflops": 46, "rate": 6.49},
}

_DIFFUSION: dict[str, Any] = {
    "method": CONTINUOUS,
    "options": (*OPTIONS, ("log_every", 100)),
    "schedule": "alpha-cosine",
    "prediction": "v",
}
_ADM = base(ADM, **_DIFFUSION)


def _weighted(gamma: float) -> TrainConfig:
    """ADM's training with another limit of the Min-SNR weight."""
    return replace(_ADM, options=tuple((k, gamma if k == "min_snr" else v) for k, v in _ADM.options))


TRAININGS = {
    "unet": Training("U-Net", base(UNET, method=REGRESSION, prediction="x0")),
    "adm": Training("ADM", _ADM),
    "uvit": Training("U-ViT", base(UVIT, **_DIFFUSION)),
    "dit": Training("DiT", base(DIT, **_DIFFUSION)),
    "dit-wavelet": Training("DiT of wavelet coefficients", base(replace(DIT, wavelet=True), **_DIFFUSION)),
    "adm-plain": Training("ADM without Min-SNR", _weighted(GAMMAS["adm-plain"]), variant=True),
}
TRAININGS |= deciding(TRAININGS, "unet", best=6e-3)


def of_budget(name: str, steps: int, seed: int) -> str:
    """The training of one of ``GAMMAS`` with its own number of steps and seed: a row's name."""
    return name if (steps, seed) == (STEPS, 0) else f"{name}-{steps}-{seed}"


def _shorter(name: str, steps: int, seed: int) -> Training:
    """A row with a learning rate that rises and falls within ``steps``: no beginning of a longer training."""
    config = _weighted(GAMMAS[name])
    config = replace(config, steps=steps, seed=seed, warmup=config.warmup * steps // STEPS)
    title = {"adm": "ADM", "adm-plain": "ADM without Min-SNR", "adm-snr": "ADM weighted by SNR"}[name]
    return Training(f"{title}, {steps} steps, seed {seed}", config, variant=True)


_DIT_8 = base(replace(DIT, patch=PATCH), **_DIFFUSION)
TRAININGS |= {
    "dit-8": Training("DiT, patches of 8", _DIT_8, variant=True),
    "dit-8-wavelet": Training(
        "DiT of wavelet coefficients, patches of 8",
        replace(_DIT_8, net=replace(DIT, patch=PATCH, wavelet=True)),
        variant=True,
    ),
    "dit-8-long": Training("DiT, patches of 8, trained longer", replace(_DIT_8, steps=LONG * STEPS), variant=True),
    "uvit-long": Training(
        "U-ViT, trained longer", base(UVIT, **_DIFFUSION, steps=LONGEST * STEPS), variant=True, bits=8
    ),
}
TRAININGS |= {
    of_budget(name, steps, seed): _shorter(name, steps, seed)
    for name in TRAINED
    for steps, seeds in BUDGETS.items()
    for seed in seeds
}

_UNET = System(
    "unet", "U-Net: axial slices in one regression step", "Koch, 3.2", Slices(), weights="systems/unet", views=(AXIAL,)
)
_SAMPLED = replace(
    _UNET,
    name="adm",
    summary="ADM, a U-Net with attention: axial slices from noise, 32 DDPM steps",
    reference="Koch, 3.2-3.3",
    weights="systems/adm",
    n_steps=32,
    clip=True,
)
SYSTEMS = (
    _UNET,
    _SAMPLED,
    replace(
        _SAMPLED,
        name="uvit",
        summary="U-ViT: a transformer inside a U-Net of wavelet coefficients",
        weights="systems/uvit",
    ),
    replace(_SAMPLED, name="dit", summary="DiT: a transformer of pixel patches", weights="systems/dit"),
    replace(
        _SAMPLED,
        name="dit-wavelet",
        summary="DiT of wavelet coefficients",
        reference="Koch, 4.1",
        weights="systems/dit-wavelet",
    ),
    replace(
        _SAMPLED,
        name="adm-plain",
        summary="ADM trained without the Min-SNR weight",
        reference="Koch, 3.3, eq. 7",
        weights="variants/adm-plain",
    ),
)
