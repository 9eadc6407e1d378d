"""What a training of the table of systems is, and the budget that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config
from yoda_nb.training.batches import TrainConfig

STEPS, BATCH = 1000, 16  # of 48 x 48 voxels: 16,000 slabs, whatever the method
BUDGET = STEPS * BATCH
CURVE = (4, 12)  # times the budget, for the rows with a learning curve
PATCHES = 2  # of a 3D net, in as many steps as the budget has for the slices that they hold


@dataclass(frozen=True)
class Training:
    """One row: how it is trained, on which phantoms. ``extra`` adds to the card what sampling needs."""

    title: str
    config: TrainConfig
    sources: tuple[str, ...] = ("T1w", "T2w")
    target: str = "FLAIR"
    phantoms: Mapping[str, object] = field(default_factory=dict)  # arguments of phantom_case
    variant: bool = False  # only an ablation needs it
    bits: int = 16  # of a weight on disk
    planned: bool = False  # nobody has trained it yet, so no verdict rests on it
    extra: Callable[[Sequence[Volume]], Mapping[str, object]] = lambda volumes: {}


def base(net: Config, **changes: Any) -> TrainConfig:
    """The configuration that rows differ from: one seed, one budget, axial slices.

    No moving average of the weights: in so short a training it is of weights from its middle, and
    the learning rate, which ends near zero, averages instead (validation losses were 5 to 20 % lower).
    """
    each = (STEPS, BATCH) if net.counted == 1 else (BUDGET // (PATCHES * net.counted), PATCHES)
    settings: dict[str, Any] = {"steps": each[0], "batch_size": each[1], "lr": 2e-3, "ema": 0.0, "views": (AXIAL,)}
    return TrainConfig(net=net, **(settings | changes))


def at_budget(name: str, times: int) -> str:
    """A row's training at so many budgets: a row's name."""
    return name if times == 1 else f"{name}-x{times}"


def longer(rows: Mapping[str, Training], name: str) -> dict[str, Training]:
    """The larger budgets of a row's learning curve, each a training whose learning rate rises and falls within it."""
    row = rows[name]
    return {
        at_budget(name, n): replace(
            row, title=f"{row.title}, {n} budgets", config=replace(row.config, steps=n * row.config.steps), variant=True
        )
        for n in CURVE
    }
