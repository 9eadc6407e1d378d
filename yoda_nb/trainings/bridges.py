"""Slice-consistent Brownian bridges and their competitor Palette (seed 004).

The phantoms called "styled" vary the target's look from subject to subject, which is what style
keys are for; the rows for the common table train on the phantoms of all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from yoda_nb.nets import UNetConfig
from yoda_nb.phantom import phantom_case
from yoda_nb.styles import BINS, histogram, pack
from yoda_nb.trainings.base import Training, base
from yoda_nb.volumes import Volume

NET = UNetConfig(channels=(16, 32, 48, 48))
_PURE = replace(NET, thickness=3, out_slices=3)  # N = 1 neighbour on each side (2.2)
_KEYED = replace(_PURE, style_bins=BINS)
# of the sources T1w and T2w the bridge ends in T2w; both are seen beside x_t
_BRIDGE = {"method": "bridge", "schedule": "brownian", "target": "x_t - x0", "options": (("prior", 1),)}
STYLED = {"style": 1.0}
_FOREIGN_SEEDS = range(990_000, 990_004)


def style_histograms(volumes: Sequence[Volume]) -> dict[str, dict]:
    """What a card keeps for style keys: the targets' histograms, their average, another scanner's."""
    found = torch.stack([histogram(v.target, v.mask) for v in volumes])
    first = volumes[0]
    others = [phantom_case(seed, protocol="b", target=first.contrast, spacing=first.spacing[0], shape=first.shape)
              for seed in _FOREIGN_SEEDS]  # fmt: skip
    foreign = torch.stack([histogram(v.target, v.mask) for v in others])
    return {"styles": {"average": pack(found.mean(0)), "foreign": pack(foreign.mean(0)),
                       "training": [pack(each) for each in found]}}  # fmt: skip


_KEYED_BRIDGE = Training("Brownian bridge with style keys", base(_KEYED, **_BRIDGE), extra=style_histograms)

TRAININGS = {
    "bbdm": _KEYED_BRIDGE,
    "palette": Training("Palette, a conditional DDPM", base(NET, target="eps")),
    "bbdm-styles": replace(_KEYED_BRIDGE, phantoms=STYLED, variant=True),
    "bbdm-pure-styles": Training("Brownian bridge", base(_PURE, **_BRIDGE), phantoms=STYLED, variant=True),
}
