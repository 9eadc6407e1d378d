"""Explorers: images, planes and curves moved by hand, live in notebooks and in exported pages.

``volumes``, ``tradeoff``, ``trajectory``, ``expa``, ``noise``, ``styles``, ``systems`` and ``live`` each return an
``Explorer``: call its ``show(alt=...)`` in a notebook, or ``save(path, alt=...)`` to write a page.
"""

from yoda_nb.explorers.core import Explorer
from yoda_nb.explorers.curves import expa, noise
from yoda_nb.explorers.pictures import tradeoff, trajectory, volumes
from yoda_nb.explorers.record import record_trajectory
from yoda_nb.explorers.runner import live
from yoda_nb.explorers.styles import styles
from yoda_nb.explorers.systems import systems

__all__ = ["Explorer", "expa", "live", "noise", "record_trajectory", "styles", "systems", "tradeoff", "trajectory",
           "volumes"]  # fmt: skip
