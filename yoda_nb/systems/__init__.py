"""The table of systems, and ``translate``, which runs any row of it on any volume.

The module itself can be called: ``yoda_nb.systems()`` is the table of all systems.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from yoda_nb.diffusion.system import Job, OnStep, Process, Sampling, System
from yoda_nb.systems.models import find_model, is_shipped, load_model, shipped_models
from yoda_nb.systems.papers import SYSTEMS, TRAININGS
from yoda_nb.systems.run import Run, prepare, subject_seed, trajectories, translate
from yoda_nb.systems.table import describe_systems, get_system, parse_settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SYSTEMS",
    "TRAININGS",
    "Job",
    "OnStep",
    "Process",
    "Run",
    "Sampling",
    "System",
    "describe_systems",
    "find_model",
    "get_system",
    "is_shipped",
    "load_model",
    "parse_settings",
    "prepare",
    "shipped_models",
    "subject_seed",
    "trajectories",
    "translate",
]


class _Table(ModuleType):
    """A module that is also the question it answers."""

    def __call__(self) -> pd.DataFrame:
        """Every system, a row each: what it does, its paper, model, cost and state."""
        import pandas as pd

        return pd.DataFrame(describe_systems()).set_index("name")


sys.modules[__name__].__class__ = _Table
