"""The models of the ablation studies [YODA IV-C, Tables IV-VI]: one change each, one budget.

``train_ablations`` is the committed way to all of them. Every model sees the same phantoms and,
for one seed, the same slabs in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.devices import find_device
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.recipes import VALIDATION_SEEDS, describe_phantoms, each_trained, train_model, training_phantoms
from yoda_nb.yoda import PRESETS
from yoda_papers import WEIGHTS

N_PHANTOMS = 128
SEEDS = (0, 1, 2)
FINE = 1.5  # mm, a cube of 96 mm
KSPACE = 0.5  # of rows and columns, as an image interpolated to twice its matrix
LOOK = ("sigma", "spacing", "kspace", "hidden")
FOLDER = "ablations"  # below the shipped weights: never chosen unless named


@dataclass(frozen=True)
class Ablation:
    """One row: how it is trained, on phantoms of which look, with which seeds: three where models are compared."""

    config: TrainConfig
    sigma: float = 0.04  # of the acquisition, [0,1] scale
    seeds: tuple[int, ...] = SEEDS
    spacing: float = 3.0  # mm; a grid of 64 voxels a side, so finer ones hold the middle of the head
    kspace: float = 1.0  # share of k-space that was acquired, the rest filled with zeros

    hidden: float = 0.0  # probability that a lesion has the opposite contrast in the target
    planned: tuple[int, ...] = ()  # seeds that nobody has trained yet, so no verdict rests on them

    @property
    def look(self) -> tuple[tuple[str, Any], ...]:
        """Arguments of ``phantom_case``."""
        return tuple((name, getattr(self, name)) for name in LOOK)


FIFTEEN = tuple(range(15))  # seeds where trainings of one design differ by as much as the designs
LONG = 10  # times the slabs of all others, in as many steps

_BASE = TrainConfig(net=PRESETS["micro"], steps=2500, batch_size=16, lr=2e-3, ema=0.998)
_LONG = replace(_BASE, batch_size=LONG * _BASE.batch_size)
ABLATIONS = {
    "base": Ablation(_BASE, seeds=FIFTEEN),  # five slices, three views, v, linear: what the others differ from
    "single-slice": Ablation(replace(_BASE, net=replace(_BASE.net, thickness=1))),  # Table IV
    "cosine": Ablation(replace(_BASE, schedule="cosine"), seeds=FIFTEEN),  # Table V
    "eps": Ablation(replace(_BASE, prediction="eps")),  # Table VI
    "x0": Ablation(replace(_BASE, prediction="x0")),  # Table VI
    "regression-only": Ablation(replace(_BASE, regression=True)),  # III-B.4: T = 1
    "base-long": Ablation(_LONG, planned=SEEDS),
    "x0-long": Ablation(replace(_LONG, prediction="x0"), planned=SEEDS),
    "regression-only-long": Ablation(replace(_LONG, regression=True), planned=SEEDS),
    "low-noise": Ablation(_BASE, sigma=0.02, seeds=(0,)),  # quieter and noisier acquisitions (IV-A)
    "high-noise": Ablation(_BASE, sigma=0.06, seeds=(0,)),
    "fine": Ablation(_BASE, spacing=FINE, seeds=FIFTEEN),  # Table IV where neighbouring slices are alike
    "fine-single-slice": Ablation(replace(_BASE, net=replace(_BASE.net, thickness=1)), spacing=FINE, seeds=FIFTEEN),
    "correlated": Ablation(_BASE, seeds=(0,), kspace=KSPACE),  # V: noise that white noise does not imitate
    "hidden": Ablation(_LONG, hidden=0.5, seeds=(0,), planned=(0,)),  # I and V: what the sources cannot tell
    "fine-long": Ablation(_LONG, spacing=FINE, seeds=(0,)),  # IV-A: lesions
}


def model_name(name: str, seed: int) -> str:
    """What ``load_model`` calls an ablation's model; InputError for one that is not in the table."""
    if name not in ABLATIONS or seed not in ABLATIONS[name].seeds:
        raise InputError(f"There is no ablation {name!r} of seed {seed}: choose among {', '.join(ABLATIONS)}.")
    return f"{FOLDER}/{name}-{seed}"


def chosen(names: Iterable[str] = (), seeds: Iterable[int] = ()) -> list[tuple[str, int]]:
    """The trainings of these rows with these seeds, all by default; InputError for what is not in the table."""
    names, seeds = list(names) or list(ABLATIONS), set(seeds)
    if unknown := set(names) - set(ABLATIONS):
        raise InputError(f"There is no ablation {sorted(unknown)[0]!r}: choose among {', '.join(ABLATIONS)}.")
    found = [(name, seed) for name in names for seed in ABLATIONS[name].seeds if not seeds or seed in seeds]
    if absent := seeds - {seed for _, seed in found}:
        raise InputError(f"There is no seed {min(absent)} of {', '.join(names)}: leave it out.")
    return sorted(found, key=lambda row: row[1])


def train_ablations(
    names: Iterable[str] = (),
    *,
    out: Path,
    seeds: Iterable[int] = (),
    weights: Path = WEIGHTS,
    device: str | None = None,
    jobs: int = 1,
) -> list[dict]:
    """Train every ablation (or those named) with these seeds or all of each, ``jobs`` at a time; returns their cards.

    ``out`` holds the runs: a second call goes on where the first stopped, and what is finished is
    not trained again. Raises InputError for a name that is not in the table.
    """
    find_device(device)
    todo = chosen(names, seeds)
    return each_trained(partial(_train, out=out, weights=weights, device=device), todo, jobs)


def _train(name: str, seed: int, *, out: Path, weights: Path, device: str | None) -> dict:
    row = ABLATIONS[name]
    volumes, validation = _phantoms(row.look)
    share = f", {row.kspace:g} of k-space" if row.kspace < 1 else ""
    either = f", {row.hidden:g} of lesions of opposite contrast" if row.hidden else ""
    data = f"{describe_phantoms(N_PHANTOMS, ())}, noise {row.sigma:g}{share}{either}"
    return train_model(
        weights / f"{model_name(name, seed)}.safetensors",
        replace(row.config, seed=seed),
        volumes,
        validation=validation,
        out=out / f"{name}-{seed}",
        data=data,
        device=device,
        command=f"yoda-nb rebuild ablations --only {name} --seeds {seed}",
    )


@lru_cache(maxsize=2)
def _phantoms(look: tuple[tuple[str, Any], ...]) -> tuple[list[Volume], list[Volume]]:
    """What all rows of one look train on and are validated with; each of several processes makes its own."""
    how = dict(look)
    return training_phantoms(N_PHANTOMS, **how), training_phantoms(8, first_seed=VALIDATION_SEEDS, **how)
