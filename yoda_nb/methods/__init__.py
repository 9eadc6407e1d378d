"""Training methods by name: each is one file here and one line in METHODS."""

from __future__ import annotations

from yoda_nb.methods.base import Method, Player
from yoda_nb.methods.bridge import BRIDGE
from yoda_nb.methods.continuous import CONTINUOUS
from yoda_nb.methods.cyclegan import CYCLEGAN
from yoda_nb.methods.denoising import DIFFUSION, REGRESSION
from yoda_nb.methods.selfrdb import SELFRDB
from yoda_nb.methods.syndiff import DDPM_UNPAIRED, PAIRED, SYNDIFF

__all__ = ["METHODS", "Method", "Player"]

METHODS: dict[str, Method] = {
    "bridge": BRIDGE,
    "continuous": CONTINUOUS,
    "cyclegan": CYCLEGAN,
    "ddpm-unpaired": DDPM_UNPAIRED,
    "diffusion": DIFFUSION,
    "regression": REGRESSION,
    "selfrdb": SELFRDB,
    "syndiff": SYNDIFF,
    "syndiff-paired": PAIRED,
}
