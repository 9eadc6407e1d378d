"""The models of the ablation studies (seed 000, IV-C, Tables IV-VI): one change each, one budget.

``train_ablations`` is the committed way to all of them. Every model sees the same phantoms and,
for one seed, the same slabs in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from yoda_nb.models import WEIGHTS
from yoda_nb.nets import PRESETS
from yoda_nb.nifti import InputError
from yoda_nb.recipes import VALIDATION_SEEDS, describe_phantoms, train_model, training_phantoms
from yoda_nb.train import TrainConfig

N_PHANTOMS = 128
SEEDS = (0, 1)
FOLDER = "ablations"  # below the shipped weights: never chosen unless named

_BASE = TrainConfig(net=PRESETS["micro"], steps=2500, batch_size=16, lr=2e-3, ema=0.998)
ABLATIONS: dict[str, TrainConfig] = {
    "base": _BASE,  # five slices, three views, v, linear: what the others differ from
    "single-slice": replace(_BASE, net=replace(_BASE.net, thickness=1)),  # Table IV
    "cosine": replace(_BASE, schedule="cosine"),  # Table V
    "eps": replace(_BASE, target="eps"),  # Table VI
    "x0": replace(_BASE, target="x0"),  # Table VI
    "regression-only": replace(_BASE, regression=True),  # III-B.4: T = 1
}


def model_name(name: str, seed: int) -> str:
    """What ``load_model`` calls an ablation's model; InputError for one that is not in the table."""
    if name not in ABLATIONS or seed not in SEEDS:
        raise InputError(f"There is no ablation {name!r} of seed {seed}: choose {', '.join(ABLATIONS)}; {SEEDS}.")
    return f"{FOLDER}/{name}-{seed}"


def train_ablations(names: Iterable[str] = (), *, out: Path, seeds: Iterable[int] = SEEDS,
                    weights: Path = WEIGHTS) -> list[dict]:  # fmt: skip
    """Train every ablation (or those named) of every seed; returns their cards.

    ``out`` holds the runs: a second call goes on where the first stopped, and what is finished is
    not trained again. Raises InputError for a name that is not in the table.
    """
    names = list(names) or list(ABLATIONS)
    todo = [(name, seed) for seed in seeds for name in names]
    for pair in todo:
        model_name(*pair)
    volumes = training_phantoms(N_PHANTOMS)
    validation = training_phantoms(8, first_seed=VALIDATION_SEEDS)
    return [
        train_model(
            weights / f"{model_name(name, seed)}.safetensors", replace(ABLATIONS[name], seed=seed), volumes,
            validation=validation, out=out / f"{name}-{seed}", data=describe_phantoms(N_PHANTOMS, ()),
            command=f"python docs/train_ablations.py --only {name}",
        )
        for name, seed in todo
    ]  # fmt: skip
