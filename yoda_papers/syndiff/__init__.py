"""SynDiff, its ablations and its baselines (SynDiff).

A step of unpaired training sees 16 slabs of each domain. Sampling is the variance-preserving process
on few large steps, one axial slice at a time: the posterior step is eq. 14-15, and the random latents
are drawn anew for every batch of slices.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.nets.base import Config
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.method import Method
from yoda_nb.training.rows import STEPS, Training, base, deciding
from yoda_papers.syndiff.attention import AttentionUNetConfig, AttentiveResNetConfig
from yoda_papers.syndiff.cyclegan import CYCLEGAN, DEFAULTS
from yoda_papers.syndiff.method import DDPM_UNPAIRED, PAIRED, SYNDIFF
from yoda_papers.syndiff.munit import MUNIT, MunitConfig
from yoda_papers.syndiff.nets import BoundedUNetConfig, HalfUNetConfig, ResNetConfig
from yoda_papers.syndiff.unit import UNIT, UnitConfig
from yoda_papers.syndiff.unit_ddpm import UNIT_DDPM, Parallel

TITLE = "SynDiff (Özbey et al. 2023)"
NETS = (
    *(HalfUNetConfig, BoundedUNetConfig, ResNetConfig),
    *(AttentionUNetConfig, AttentiveResNetConfig, UnitConfig, MunitConfig),
)

# the paper: Adam (0.5, 0.9) at 1e-4 for 50 epochs of 2500 slices; a short run needs the larger rate of all rows
_COMMON = {"lr_end": 1e-4, "betas": (0.5, 0.9)}
LONG, LONG_BATCH = 2000, 100  # updates and slabs of each: 12.5 times the budget of all rows
RATE = 4e-4
ETA_PHI = 0.0  # the penalty of one-shot critics: eq. 18 has none, and the authors' code neither


def _fast(n_train: int, method: Method = SYNDIFF, conditional: bool = True, **options: float) -> TrainConfig:
    """Adversarial diffusion in ``n_train`` = T/k steps."""
    net = HalfUNetConfig(time_scale=1000 / n_train, conditional=conditional)
    return base(
        net,
        method=method,
        schedule="syndiff",
        n_train=n_train,
        prediction="x0",
        unpaired=method is SYNDIFF,
        options=tuple(options.items()),
        **_COMMON,
    )


def _one_shot(net: Config, method: Method = CYCLEGAN, **options: float) -> TrainConfig:
    return base(
        net, method=method, n_train=1, prediction="x0", unpaired=True, options=tuple(options.items()), **_COMMON
    )


_DDPM = base(
    HalfUNetConfig(latent=0),
    method=DDPM_UNPAIRED,
    schedule="cosine",
    prediction="eps",
    unpaired=True,
    options=(("cycle", 1.0),),
    **_COMMON,
)

TRAININGS = {
    "syndiff": Training("SynDiff", _fast(4)),
    "syndiff-paired": Training("SynDiff for paired data", _fast(4, PAIRED)),
    # the paper weighs cycle and adversarial terms 100 to 1: Adam does not see the common factor
    "cyclegan": Training("cycle GAN", _one_shot(ResNetConfig(), cycle=1.0, adversarial=0.01)),
    "attgan": Training("AttGAN", _one_shot(AttentionUNetConfig(), cycle=1.0, adversarial=0.01), bits=8),
    "sagan": Training("SAGAN", _one_shot(AttentiveResNetConfig(), cycle=1.0, adversarial=0.01, spectral=True), bits=8),
    "unit": Training("UNIT", _one_shot(UnitConfig(), UNIT), bits=8),
    "munit": Training("MUNIT", _one_shot(MunitConfig(), MUNIT), bits=8),
    "unit-ddpm": Training("UNIT-DDPM", replace(_DDPM, method=UNIT_DDPM), bits=8),
    "ddpm-unpaired": Training("DDPM with SynDiff's non-diffusive module", _DDPM),
}
_VARIANTS = {
    "projector-adversarial": Training("FLAIR slices: adversarial projector", _fast(4, PAIRED, False)),
    "projector-l1": Training("FLAIR slices: l1 projector", _fast(4, PAIRED, False, adversarial=0.0)),
    "projector-l1-1000": Training(
        "FLAIR slices: l1 projector, 1000 steps", _fast(1000, PAIRED, False, adversarial=0.0)
    ),
    "syndiff-no-adversarial": Training("SynDiff without adversarial losses", _fast(4, adversarial=0.0)),
    "syndiff-no-cycle": Training("SynDiff without cycle consistency", _fast(4, cycle=0.0)),
    "syndiff-no-diffusive": Training("SynDiff's non-diffusive module alone", _one_shot(ResNetConfig())),
    "syndiff-2": Training("SynDiff, T/k = 2", _fast(2)),
    "syndiff-8": Training("SynDiff, T/k = 8", _fast(8)),
}
# Tab. VIII: half and twice each weight; "phi" is the non-diffusive module, "theta" the diffusive one
SWEPT = {
    f"syndiff-{term}-{module}-{times:g}": Training(
        f"SynDiff, {times:g} times the {term} weight of {module}",
        replace(_fast(4), options=((f"{term}_{module}", times * DEFAULTS[term]),)),
    )
    for term in ("cycle", "adversarial")
    for module in ("phi", "theta")
    for times in (0.5, 2.0)
}
# Tab. IX: as many steps of the non-diffusive module alone, before
SWEPT |= {
    f"syndiff-pretrained-{name}": Training(
        f"SynDiff, non-diffusive module pretrained, then {name}",
        replace(_fast(4, pretrained=0.5, frozen=frozen), steps=2 * STEPS),
    )
    for name, frozen in (("frozen", 0.5), ("trained", 1.0))
}
# Tab. X: the non-diffusive module is trained for 5, 10 and 25 of 50 epochs
SWEPT |= {
    f"syndiff-frozen-{share:g}": Training(
        f"SynDiff, non-diffusive module frozen from {share:g} on", _fast(4, frozen=share)
    )
    for share in (0.1, 0.2, 0.5)
}
_VARIANTS |= SWEPT


def _long(row: Training, **more: Any) -> Training:
    """A row with 12.5 times the slabs at a rate near the paper's, and its nets and critics nearer the authors'.

    That is LONG updates where the paper makes 125,000, so the rate is RATE in place of 1e-4, and falls to it: in
    100 updates of a cycle GAN, critics at RATE told real from made and those at 1e-4 did not. The diffusive
    generators end in a tanh, critics have three blocks, and penalties weigh what the authors' do.
    """
    config = row.config
    net = config.net
    if isinstance(net, HalfUNetConfig) and config.prediction == "x0":  # a net that tells noise has no bounds
        net = BoundedUNetConfig(**vars(net))
    options = (*config.options, ("eta_phi", ETA_PHI), ("eta_theta", 0.05), ("critic_blocks", 3))
    settings = {"steps": LONG, "batch_size": LONG_BATCH, "lr": RATE} | more
    return Training(f"{row.title}, 12.5 times as long", replace(config, net=net, options=options, **settings))


_LONG_ROWS = ("syndiff", "cyclegan", "ddpm-unpaired", "syndiff-2", "syndiff-8")
_LONG_PROJECTORS = ("projector-adversarial", "projector-l1", "projector-l1-1000")
_ROWS = TRAININGS | _VARIANTS
_VARIANTS |= {f"{name}-long": _long(_ROWS[name]) for name in _LONG_ROWS}
# one generator and one critic: more of the slabs' worth goes into updates
_VARIANTS |= {
    f"{name}-long": _long(_ROWS[name], steps=2 * LONG, batch_size=LONG_BATCH // 2) for name in _LONG_PROJECTORS
}
TRAININGS |= {name: replace(row, variant=True) for name, row in _VARIANTS.items()}
TRAININGS |= deciding(TRAININGS, "syndiff-paired", best=6e-3)

_SYNDIFF = System(
    "syndiff",
    "adversarial diffusion in 4 steps, trained on unpaired data",
    "SynDiff, III-B, eq. 8-24",
    VP(),
    weights="systems/syndiff",
    views=(AXIAL,),
    n_steps=4,
)
_ONE_SHOT = replace(_SYNDIFF, n_steps=1)
SYSTEMS = (
    _SYNDIFF,
    replace(
        _SYNDIFF,
        name="syndiff-paired",
        summary="adversarial diffusion in 4 steps, trained on paired data",
        reference="SynDiff, VI; competitor of YODA",
        weights="systems/syndiff-paired",
    ),
    *(
        replace(_ONE_SHOT, name=name, summary=summary, reference=f"SynDiff, IV-B.{part}", weights=f"systems/{name}")
        for part, name, summary in (
            (2, "cyclegan", "one-shot cycle-consistent GAN, trained on unpaired data"),
            (3, "unit", "two autoencoders with one space of codes, trained on unpaired data"),
            (4, "munit", "shared contents and random styles, trained on unpaired data"),
            (5, "attgan", "cycle GAN whose U-Nets weigh their skips, trained on unpaired data"),
            (6, "sagan", "cycle GAN with self-attention, trained on unpaired data"),
        )
    ),
    replace(
        _SYNDIFF,
        name="ddpm-unpaired",
        summary="DDPM with SynDiff's non-diffusive module, unpaired data",
        reference="SynDiff, IV-B.7",
        weights="systems/ddpm-unpaired",
        n_steps=1000,
        clip=True,
    ),
    replace(
        _SYNDIFF,
        name="unit-ddpm",
        summary="two diffusions, each guided by the other's noisy images, unpaired data",
        reference="SynDiff, IV-B.8",
        sampling=Parallel(),
        weights="systems/unit-ddpm",
        n_steps=1000,
        clip=True,
    ),
)
