"""The samplers of seed 000."""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.systems.base import System

_DIFFUSION = System(
    "yoda-diffusion", "one sample: orthogonal denoising, truncated", "seed 000, III-B.1-2, Alg. 2",
    n_steps=50, jump_to=250, times="quadratic",
)  # fmt: skip
_REGRESSION = System(
    "yoda-regression", "the first x0, averaged over three views", "seed 000, III-B.4-5", aggregate=True
)
ROWS = (
    _REGRESSION,
    _DIFFUSION,
    replace(_DIFFUSION, name="yoda-expa", summary="RMS of N_Ex samples",
            reference="seed 000, III-B.3, eq. 8", n_ex=10),
    replace(_DIFFUSION, name="yoda-ddim", summary="deterministic steps from T to 0",
            reference="seed 000, IV-A (DDIM)", n_steps=32, jump_to=None, sigma="zero"),
    replace(_REGRESSION, name="yoda-noised", summary="regression plus Rician noise",
            reference="seed 000, IV-A, eq. 1", noise=0.04),
)  # fmt: skip
