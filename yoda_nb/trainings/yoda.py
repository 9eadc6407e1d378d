"""YODA at the budget that all systems share (seed 000)."""

from __future__ import annotations

from yoda_nb.nets import PRESETS
from yoda_nb.trainings.base import Training, base

TRAININGS = {"yoda": Training("YODA", base(PRESETS["micro"], views=(0, 1, 2)))}
