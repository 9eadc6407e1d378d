"""YODA: 2.5D diffusion and regression (YODA). The net, the samplers, and the row of the table of systems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import ODE, VP
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.rows import MORE_SEEDS, Training, base, deciding

TITLE = "YODA (Rassmann et al. 2026)"
NETS = ()
PRESETS = {
    # ablations: many trainings at equal budget, 1.4 MB each as fp16
    "micro": MonaiUNetConfig((16, 32, 48, 48), (False, False, False, True), 1, 16, 16),
    # two CPU cores, 3 mm
    "tiny": MonaiUNetConfig(),
    # one GPU, 1 mm
    "small": MonaiUNetConfig((48, 96, 128, 192), (False, False, False, True), 1, 32, 16),
    # YODA, III-D: 128/128/256/256/512 channels, 0/0/1/1/2 heads, one block a level as in the authors' code: 53.5 M
    "paper": MonaiUNetConfig((128, 128, 256, 256, 512), (False, False, True, True, True), 1, 256, 32),
    # that of Table I, twice as wide: 213.9 M
    "paper-large": MonaiUNetConfig((256, 256, 512, 512, 1024), (False, False, True, True, True), 1, 512, 32),
}
# what the paper says of its training [YODA III-D], and how to say it; None: nothing that a number could be
PAPER: Mapping[str, tuple[Any, str]] = {
    "batch_size": (96, "96, and 24 for Gold Atlas"),
    "lr": (1e-4, "0.0001"),
    "lr_end": (1e-4, "0.0001, constant"),
    "warmup": (0, "none is named"),
    "ema": (0.999, "0.999"),
    "window": (None, "whole slices of the region of interest"),
    "flip": (False, "no mirror images"),
    "augment": (0.0, "no random gain or gamma"),
    "structure": (0.0, "squared error alone"),
    "lesions": (0.0, "lesions count as all else"),
}
TRAININGS = {"yoda": Training("YODA", base(PRESETS["micro"], views=(0, 1, 2)))}
TRAININGS |= deciding(TRAININGS, "yoda", MORE_SEEDS, best=6e-3)

_DIFFUSION = System(
    "yoda-diffusion",
    "one sample: orthogonal denoising, truncated",
    "YODA, III-B.1-2, Alg. 2",
    VP(jump_to=250),
    n_steps=50,
    times="quadratic",
)
_REGRESSION = System(
    "yoda-regression", "the first x0, averaged over three views", "YODA, III-B.4-5", VP(), aggregate=True
)
SYSTEMS = (
    _REGRESSION,
    _DIFFUSION,
    replace(_DIFFUSION, name="yoda-expa", summary="RMS of N_Ex samples", reference="YODA, III-B.3, eq. 8", n_ex=10),
    replace(
        _DIFFUSION,
        name="yoda-ddim",
        summary="deterministic steps from T to 0",
        reference="YODA, IV-A (DDIM)",
        sampling=VP(sigma="zero"),
        n_steps=32,
    ),
    replace(
        _DIFFUSION,
        name="yoda-heun",
        summary="deterministic, Heun's method of second order: two evaluations a step but the last",
        reference="Karras et al. 2022, arXiv 2206.00364, Alg. 1",
        sampling=ODE("heun"),
        n_steps=16,
    ),
    replace(
        _DIFFUSION,
        name="yoda-dpmpp",
        summary="deterministic, DPM-Solver++(2M) of second order: one evaluation a step",
        reference="Lu et al. 2022, arXiv 2211.01095, Alg. 2",
        sampling=ODE("dpmpp"),
        n_steps=16,
    ),
    replace(
        _REGRESSION,
        name="yoda-noised",
        summary="regression plus Rician noise",
        reference="YODA, IV-A, eq. 1",
        noise=0.04,
    ),
)
