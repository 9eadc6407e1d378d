"""The table of systems, and ``translate``, which runs any row of it on any volume."""

from yoda_nb.systems.base import Job, OnStep, Process, System
from yoda_nb.systems.run import prepare, subject_seed, trajectories, translate
from yoda_nb.systems.table import PROCESSES, SYSTEMS, describe_systems, get_system, parse_settings

__all__ = ["PROCESSES", "SYSTEMS", "Job", "OnStep", "Process", "System", "describe_systems", "get_system",
           "parse_settings", "prepare", "subject_seed", "trajectories", "translate"]  # fmt: skip
