"""YODA (Rassmann et al.): its claims and ablations. The method itself is ``yoda_nb.yoda``."""

from yoda_nb.yoda import NETS, SYSTEMS, TITLE, TRAININGS
from yoda_papers import SAMPLES, WEIGHTS

__all__ = ["NETS", "SAMPLES", "SYSTEMS", "TITLE", "TRAININGS", "WEIGHTS"]
