"""SynDiff, its ablations and its baselines (seed 002). A step of unpaired training sees 16 slabs of each domain."""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.batches import TrainConfig
from yoda_nb.nets.adversarial import HalfUNetConfig, ResNetConfig
from yoda_nb.trainings.base import Training, base

# the paper: Adam (0.5, 0.9) at 1e-4 for 50 epochs of 2500 slices; a short run needs the larger rate of all rows
_COMMON = {"lr_end": 1e-4, "betas": (0.5, 0.9)}


def _fast(n_train: int, method: str = "syndiff", conditional: bool = True, **options: float) -> TrainConfig:
    """Adversarial diffusion in ``n_train`` = T/k steps."""
    net = HalfUNetConfig(time_scale=1000 / n_train, conditional=conditional)
    return base(net, method=method, schedule="syndiff", n_train=n_train, target="x0", unpaired=method == "syndiff",
                options=tuple(options.items()), **_COMMON)  # fmt: skip


def _one_shot(**options: float) -> TrainConfig:
    return base(ResNetConfig(), method="cyclegan", n_train=1, target="x0", unpaired=True,
                options=tuple(options.items()), **_COMMON)  # fmt: skip


_DDPM = base(HalfUNetConfig(latent=0), method="ddpm-unpaired", schedule="cosine", target="eps", unpaired=True,
             options=(("cycle", 1.0),), **_COMMON)  # fmt: skip

TRAININGS = {
    "syndiff": Training("SynDiff", _fast(4)),
    "syndiff-paired": Training("SynDiff for paired data", _fast(4, "syndiff-paired")),
    # the paper weighs cycle and adversarial terms 100 to 1: Adam does not see the common factor
    "cyclegan": Training("cycle GAN", _one_shot(cycle=1.0, adversarial=0.01)),
    "ddpm-unpaired": Training("DDPM with SynDiff's non-diffusive module", _DDPM),
}
_VARIANTS = {
    "projector-adversarial": Training("FLAIR slices: adversarial projector", _fast(4, "syndiff-paired", False)),
    "projector-l1": Training("FLAIR slices: l1 projector", _fast(4, "syndiff-paired", False, adversarial=0.0)),
    "projector-l1-1000": Training(
        "FLAIR slices: l1 projector, 1000 steps", _fast(1000, "syndiff-paired", False, adversarial=0.0)
    ),
    "syndiff-no-adversarial": Training("SynDiff without adversarial losses", _fast(4, adversarial=0.0)),
    "syndiff-no-cycle": Training("SynDiff without cycle consistency", _fast(4, cycle=0.0)),
    "syndiff-no-diffusive": Training("SynDiff's non-diffusive module alone", _one_shot()),
    "syndiff-2": Training("SynDiff, T/k = 2", _fast(2)),
    "syndiff-8": Training("SynDiff, T/k = 8", _fast(8)),
}
TRAININGS |= {name: replace(row, variant=True) for name, row in _VARIANTS.items()}
