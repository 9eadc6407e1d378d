"""Explorers: images, planes and curves moved by hand, live in notebooks and in exported pages.

``volumes``, ``planes``, ``tradeoff``, ``trajectory``, ``expa``, ``noise``, ``styles``, ``systems`` and ``live`` each
return an ``Explorer``: call its ``show(alt=...)`` in a notebook, or ``save(path, alt=...)`` to write a page.
"""

from yoda_nb.figures.explorers.curves import expa, noise
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.figures.explorers.pictures import tradeoff, trajectory, volumes
from yoda_nb.figures.explorers.planes import planes
from yoda_nb.figures.explorers.record import record_trajectory
from yoda_nb.figures.explorers.runner import live
from yoda_nb.figures.explorers.styles import styles
from yoda_nb.figures.explorers.systems import systems

__all__ = [
    "Explorer",
    "expa",
    "live",
    "noise",
    "planes",
    "record_trajectory",
    "styles",
    "systems",
    "tradeoff",
    "trajectory",
    "volumes",
]
