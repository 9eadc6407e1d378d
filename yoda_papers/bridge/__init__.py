"""Slice-consistent Brownian bridges and their competitors Palette, MaskGAN and RevGAN (SKC-ISTA).

The phantoms of ``STYLED`` have their targets from one of two scanners, which no source tells: that is what
style keys are for. The two rows that train on them take four times the budget, for only a net that has
learned to translate shows whether it knows which scanner is meant. The rows for the common table train
on the phantoms and the budget of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.images.styles import BINS, histogram, pack
from yoda_nb.images.volumes import Volume, required
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.training.rows import Training, base, deciding
from yoda_papers.bridge.maskgan import MASKGAN, MaskedConfig
from yoda_papers.bridge.method import BRIDGE
from yoda_papers.bridge.process import Aligned
from yoda_papers.bridge.revgan import REVGAN, RevConfig

TITLE = "Brownian bridge (Choo et al. 2024)"
NETS = (MaskedConfig, RevConfig)
NET = UNetConfig(channels=(16, 32, 48, 48))
_PURE = replace(NET, thickness=3, out_slices=3)  # N = 1 neighbour on each side (2.2)
_KEYED = replace(_PURE, style_bins=BINS)
# of the sources T1w and T2w the bridge ends in T2w; both are seen beside x_t
_BRIDGE: dict[str, Any] = {
    "method": BRIDGE,
    "schedule": "brownian",
    "prediction": "x_t - x0",
    "options": (("prior", 1), ("ends", "open")),
}
STYLED: dict[str, Any] = {"look": "either", "style": 0.15}  # arguments of phantom_case
_LONG = 4000  # steps
_FOREIGN_SEEDS = range(990_000, 990_004)


def style_histograms(volumes: Sequence[Volume]) -> dict[str, dict]:
    """What a card keeps for style keys: the targets' histograms, their average, another scanner's."""
    found = torch.stack([histogram(required(v, "target"), v.mask) for v in volumes])
    first = volumes[0]
    others = [
        phantom_case(seed, protocol="b", target=first.contrast, spacing=first.spacing[0], shape=first.shape)
        for seed in _FOREIGN_SEEDS
    ]
    foreign = torch.stack([histogram(required(v, "target"), v.mask) for v in others])
    return {
        "styles": {
            "average": pack(found.mean(0)),
            "foreign": pack(foreign.mean(0)),
            "training": [pack(each) for each in found],
        }
    }


# the row of the common table was trained on the closed path, which the paper prints
_CLOSED = _BRIDGE | {"options": (("prior", 1),)}
_KEYED_BRIDGE = Training("Brownian bridge with style keys", base(_KEYED, **_CLOSED), extra=style_histograms)
_OF_TWO_SCANNERS: dict[str, Any] = {"phantoms": STYLED, "variant": True}

_ONE_SHOT: dict[str, Any] = {"n_train": 1, "prediction": "x0", "betas": (0.5, 0.999)}

TRAININGS = {
    "bbdm": _KEYED_BRIDGE,
    "palette": Training("Palette, a conditional DDPM", base(NET, prediction="eps")),
    "maskgan": Training("MaskGAN", base(MaskedConfig(), method=MASKGAN, **_ONE_SHOT), bits=8),
    "revgan": Training("RevGAN", base(RevConfig(), method=REVGAN, **_ONE_SHOT), bits=8),
    "bbdm-styles": replace(_KEYED_BRIDGE, config=base(_KEYED, **_BRIDGE, steps=_LONG), **_OF_TWO_SCANNERS),
    "bbdm-pure-styles": Training("Brownian bridge", base(_PURE, **_BRIDGE, steps=_LONG), **_OF_TWO_SCANNERS),
}
TRAININGS |= deciding(TRAININGS, "bbdm", best=6e-3)

SYSTEMS = (
    System(
        "bbdm",
        "deterministic Brownian bridge from T2w: average style key, slices that agree (ISTA)",
        "SKC-ISTA, 2.1-2.3",
        Aligned(),
        weights="systems/bbdm",
        views=(AXIAL,),
        n_steps=8,
        clip=True,
    ),
    System(
        "palette",
        "slice by slice from noise: a conditional DDPM",
        "Saharia et al. 2022; competitor of SKC-ISTA",
        VP(),
        weights="systems/palette",
        views=(AXIAL,),
        n_steps=50,
        clip=True,
    ),
    System(
        "maskgan",
        "cycle GAN whose generators tell where the brain is, trained on pairs",
        "Phan et al. 2023, arXiv 2307.16143; competitor of SKC-ISTA",
        VP(),
        weights="systems/maskgan",
        views=(AXIAL,),
    ),
    System(
        "revgan",
        "one 3D net that translates both ways, trained against critics of pairs",
        "van der Ouderaa and Worrall 2019, arXiv 1902.02729; competitor of SKC-ISTA",
        VP(),
        weights="systems/revgan",
        views=(AXIAL,),
    ),
)
