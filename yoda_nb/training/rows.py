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
N_PHANTOMS = 128  # that a row learns from
CURVE = (4, 12)  # times the budget, for the rows that decide verdicts
SEEDS = (1, 2)  # of their further trainings
MORE_SEEDS = tuple(range(1, 15))  # of those at CURVE[0] budgets that three and eight leave open
RATES = (7e-4, 2e-3, 6e-3)  # of their trials: that of all rows, a third of it and three times it
TRIAL = 4  # of a budget, one part
PATCHES = 2  # of a 3D net, in as many steps as the budget has for the slices that they hold


@dataclass(frozen=True)
class Training:
    """One row: how it is trained, on which phantoms. ``extra`` adds to the card what sampling needs."""

    title: str
    config: TrainConfig
    sources: tuple[str, ...] = ("T1w", "T2w")
    target: str = "FLAIR"
    phantoms: Mapping[str, object] = field(default_factory=dict)  # arguments of phantom_case
    count: int = N_PHANTOMS
    variant: bool = False  # only an ablation needs it
    chosen: bool = False  # by its contrasts, for systems without a model of their own
    bits: int = 16  # of a weight on disk
    extra: Callable[[Sequence[Volume]], Mapping[str, object]] = lambda volumes: {}


def base(net: Config, **changes: Any) -> TrainConfig:
    """The configuration that rows differ from: one seed, one budget, axial slices.

    No moving average of the weights: in so short a training it is of weights from its middle, and
    the learning rate, which ends near zero, averages instead (validation losses were 5 to 20 % lower).
    """
    each = (STEPS, BATCH) if net.counted == 1 else (BUDGET // (PATCHES * net.counted), PATCHES)
    settings: dict[str, Any] = {"steps": each[0], "batch_size": each[1], "lr": 2e-3, "ema": 0.0, "views": (AXIAL,)}
    return TrainConfig(net=net, **(settings | changes))


def at_budget(name: str, times: int = 1, seed: int = 0) -> str:
    """A row's training at so many budgets by a seed: a row's name."""
    return name + (f"-x{times}" if times > 1 else "") + (f"-seed{seed}" if seed else "")


def at_rate(name: str, rate: float) -> str:
    """A row's trial of a learning rate: a row's name."""
    return f"{name}-lr{rate:g}"


def deciding(
    rows: Mapping[str, Training], name: str, seeds: Sequence[int] = SEEDS, best: float | None = None
) -> dict[str, Training]:
    """What a row that decides verdicts is trained for besides: a learning curve, further seeds, trials of its rate.

    Each is a training of its own, whose learning rate rises and falls within its steps. ``seeds`` are those of
    CURVE[0] budgets, which ``best``, the rate of its best trial where that is not the row's own, gets too.
    """
    row, config = rows[name], rows[name].config
    found = {(n, 0): f"{n} budgets" for n in CURVE} | {(1, seed): f"seed {seed}" for seed in SEEDS}
    found |= {(CURVE[0], seed): f"{CURVE[0]} budgets, seed {seed}" for seed in seeds}
    made = {
        at_budget(name, n, seed): (told, replace(config, steps=n * config.steps, seed=seed))
        for (n, seed), told in found.items()
    }
    short = replace(config, steps=config.steps // TRIAL, warmup=config.warmup // TRIAL)
    made |= {at_rate(name, rate): (f"trial of the rate {rate:g}", replace(short, lr=rate)) for rate in RATES}
    if best:
        tuned = replace(config, steps=CURVE[0] * config.steps, lr=best)
        made[at_rate(at_budget(name, CURVE[0]), best)] = (f"{CURVE[0]} budgets at the rate {best:g}", tuned)
    return {
        key: replace(row, title=f"{row.title}, {told}", config=config, variant=True)
        for key, (told, config) in made.items()
    }
