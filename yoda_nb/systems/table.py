"""The table of systems: one file a family, one row a system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

from yoda_nb.diffusion import SIGMAS
from yoda_nb.systems import fast_unet, selfrdb, yoda
from yoda_nb.systems.base import Job, Process, System
from yoda_nb.systems.vp import vp
from yoda_nb.volumes import InputError

SYSTEMS: dict[str, System] = {row.name: row for family in (yoda, selfrdb, fast_unet) for row in family.ROWS}
PROCESSES: dict[str, Callable[[Job], Process]] = {"vp": vp, "recursive": selfrdb.recursive}
FIXED = ("name", "summary", "reference", "seed", "weights", "process")  # of a row: not to be overridden


def get_system(name: str, **overrides) -> System:
    """A row of the table with fields replaced; InputError for unknown names or values."""
    if name not in SYSTEMS:
        raise InputError(f"System {name!r} is unknown: choose one of {', '.join(SYSTEMS)}.")
    known = {f.name for f in fields(System)} - set(FIXED)
    if unknown := sorted(set(overrides) - known):
        raise InputError(f"{name} has no setting {', '.join(unknown)}: choose among {', '.join(sorted(known))}.")
    system = replace(SYSTEMS[name], **overrides)
    if (
        system.sigma not in SIGMAS or system.combine not in ("rms", "mean")
        or system.n_ex < 1 or not 0 <= system.noise < float("inf")
    ):  # fmt: skip
        raise InputError(
            f"{name} takes sigma {' | '.join(SIGMAS)}, combine rms | mean, n_ex of at least 1 and "
            f"noise of at least 0, got {system.sigma}, {system.combine}, {system.n_ex} and {system.noise}."
        )
    if not system.views or set(system.views) - {0, 1, 2}:
        raise InputError(f"{name} looks along views 0, 1 and 2 (sagittal, coronal, axial), got {system.views}.")
    if min(system.corrections, system.slice_size) < 0 or system.recursions < 1:
        raise InputError(f"{name} takes corrections and slice_size of at least 0 and recursions of at least 1.")
    return system
