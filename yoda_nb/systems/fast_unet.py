"""A light U-Net in one step against a DDPM in 50 (seed 003), from T2w alone."""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.systems.base import System

AXIAL = (2,)
_UNET = System(
    "fast-unet", "light 4-level U-Net, one regression step, T2w to FLAIR", "seed 003, abstract", seed="003",
    weights="systems/fast-unet", views=AXIAL,
)  # fmt: skip
_DDPM = System(
    "ddpm-50", "DDPM of the same U-Net, 50 DDIM steps, T2w to FLAIR", "seed 003, abstract", seed="003",
    weights="systems/ddpm-50", views=AXIAL, n_steps=50, sigma="zero", clip=True,
)  # fmt: skip
ROWS = (
    _UNET,
    _DDPM,
    replace(_UNET, name="fast-unet-ff", summary="light 4-level U-Net, T2w to fat fraction",
            weights="systems/fast-unet-ff"),
    replace(_DDPM, name="ddpm-50-ff", summary="DDPM, 50 DDIM steps, T2w to fat fraction", weights="systems/ddpm-ff"),
)  # fmt: skip
