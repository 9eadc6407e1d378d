"""The trainings behind the table of systems: one file a family, one command for any row.

Every row sees the same phantoms (unless it says otherwise) and as many slabs of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from yoda_nb.models import WEIGHTS
from yoda_nb.nifti import InputError
from yoda_nb.recipes import VALIDATION_SEEDS, describe_phantoms, train_model, training_phantoms
from yoda_nb.trainings import backbones, bridges, fast_unet, selfrdb, syndiff, yoda
from yoda_nb.trainings.base import BUDGET, Training
from yoda_nb.volumes import Volume

__all__ = ["BUDGET", "TRAININGS", "Training", "model_name", "train_systems"]

N_PHANTOMS = 128
FOLDERS = {False: "systems", True: "variants"}  # below the shipped weights: never chosen unless named
FAMILIES = (yoda, selfrdb, fast_unet, bridges, backbones, syndiff)
TRAININGS: dict[str, Training] = {name: row for family in FAMILIES for name, row in family.TRAININGS.items()}


def model_name(name: str) -> str:
    """What ``load_model`` calls a row's model; InputError for one that is not in the table."""
    if name not in TRAININGS:
        raise InputError(f"There is no training {name!r}: choose among {', '.join(TRAININGS)}.")
    return f"{FOLDERS[TRAININGS[name].variant]}/{name}"


def train_systems(names: Iterable[str] = (), *, out: Path, weights: Path = WEIGHTS,
                  device: str | None = None) -> list[dict]:  # fmt: skip
    """Train every row (or those named); returns their cards. A stopped run goes on where it was."""
    names = list(names) or list(TRAININGS)
    models = {name: model_name(name) for name in names}
    return [_train(name, weights / f"{model}.safetensors", out / name, device) for name, model in models.items()]


def _train(name: str, path: Path, out: Path, device: str | None) -> dict:
    row = TRAININGS[name]
    key = (row.sources, row.target, tuple(sorted(row.phantoms.items())))
    volumes, validation = _phantoms(*key)
    options = "".join(f", {k} {v}" for k, v in sorted(row.phantoms.items()))
    return train_model(
        path, row.config, volumes, validation=validation, out=out, title=row.title,
        data=describe_phantoms(N_PHANTOMS, ()) + options, extra=row.extra(volumes), device=device,
        command=f"python docs/train_systems.py --only {name}",
    )  # fmt: skip


@cache
def _phantoms(sources, target, options) -> tuple[list[Volume], list[Volume]]:
    """What rows of the same data train on and are validated with."""
    make = {"sources": sources, "target": target, **dict(options)}
    return training_phantoms(N_PHANTOMS, **make), training_phantoms(8, first_seed=VALIDATION_SEEDS, **make)
