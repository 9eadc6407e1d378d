"""SynDiff and the unpaired systems that it is compared with (seed 002): one axial slice at a time.

Sampling is the variance-preserving process on few large steps: the posterior step is eq. 14-15, and the
random latents are drawn anew for every batch of slices.
"""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.systems.base import System

_SYNDIFF = System(
    "syndiff", "adversarial diffusion in 4 steps, trained on unpaired data", "seed 002, III-B, eq. 8-24", seed="002",
    weights="systems/syndiff", views=(2,), n_steps=4,
)  # fmt: skip
ROWS = (
    _SYNDIFF,
    replace(_SYNDIFF, name="syndiff-paired", summary="adversarial diffusion in 4 steps, trained on paired data",
            reference="seed 002, VI; competitor of seed 000", weights="systems/syndiff-paired"),
    replace(_SYNDIFF, name="cyclegan", summary="one-shot cycle-consistent GAN, trained on unpaired data",
            reference="seed 002, IV-B.2", weights="systems/cyclegan", n_steps=1),
    replace(_SYNDIFF, name="ddpm-unpaired", summary="DDPM with SynDiff's non-diffusive module, unpaired data",
            reference="seed 002, IV-B.7", weights="systems/ddpm-unpaired", n_steps=1000, clip=True),
)  # fmt: skip
