"""The committed way to each shipped model: phantoms in, weights and card out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from tqdm.auto import tqdm

from yoda_nb.models import describe_machine, save_model
from yoda_nb.phantom import phantom_case
from yoda_nb.train import TrainConfig, fit
from yoda_nb.volumes import Volume

TRAIN_SEEDS = 100_000  # training seeds start here: the manifest's subjects are all below
VALIDATION_SEEDS = 900_000


def training_phantoms(
    n: int,
    *,
    anatomies: Sequence[Path] = (),
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    spacing: float = 3.0,
    shape: tuple[int, int, int] = (64, 64, 64),
    first_seed: int = TRAIN_SEEDS,
    workers: int = 1,
) -> list[Volume]:
    """``n`` phantoms of new deformations; a third from MNI152, the rest from the label maps.

    Without label maps all come from MNI152. Only what training needs is kept of each.
    """
    make = partial(_training_phantom, anatomies=tuple(anatomies), sources=sources, target=target,
                   spacing=spacing, shape=shape)  # fmt: skip
    # seeds of one anatomy follow one another, so that each worker reads few label maps
    seeds = sorted(range(first_seed, first_seed + n), key=lambda seed: _anatomy_of(seed, len(anatomies)))
    progress = partial(tqdm, total=n, desc="phantoms", mininterval=5)
    if workers == 1:
        return list(progress(map(make, seeds)))
    with ProcessPoolExecutor(workers) as pool:
        return list(progress(pool.map(make, seeds, chunksize=max(1, n // (4 * workers)))))


def _anatomy_of(seed: int, n_maps: int) -> int:
    """-1 for MNI152, else the index of a label map."""
    return -1 if n_maps == 0 or seed % 3 == 0 else (seed // 3 * 2 + seed % 3) % n_maps


def _training_phantom(seed: int, *, anatomies, **settings) -> Volume:
    index = _anatomy_of(seed, len(anatomies))
    v = phantom_case(seed, anatomy=None if index < 0 else anatomies[index], **settings)
    return replace(v, clean=None, labels=None, lesions=None)


def train_on_phantoms(
    path: Path,
    config: TrainConfig,
    *,
    out: Path,
    n: int = 384,
    anatomies: Sequence[Path] = (),
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    spacing: float = 3.0,
    shape: tuple[int, int, int] = (64, 64, 64),
    device: str | None = None,
    workers: int = 1,
    command: str = "",
) -> None:
    """Train on phantoms and write the model to ``path``; ``out`` holds the run, which resumes."""
    settings = {"sources": sources, "target": target, "spacing": spacing, "shape": shape, "workers": workers}
    volumes = training_phantoms(n, anatomies=anatomies, **settings)
    validation = training_phantoms(12, anatomies=anatomies, first_seed=VALIDATION_SEEDS, **settings)
    begun, log = time.time(), []
    net = fit(volumes, config, out=out, validation=validation, device=device, on_log=log.append)
    card = model_card(
        config, sources=sources, target=target, spacing=spacing, command=command,
        data=f"{n} phantoms made from seeds {TRAIN_SEEDS} on: "
        + (f"one third MNI152, two thirds {len(anatomies)} label maps "
           f"({', '.join(Path(a).name for a in anatomies)})" if anatomies else "MNI152"),
        seconds=round(time.time() - begun), log=log,
    )  # fmt: skip
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        save_model(net, path, config=config.net, card=card)


def model_card(
    config: TrainConfig, *, sources, target, spacing, data, seconds, log, command
) -> dict:
    """What a reader must know of a model before use."""
    return {
        "title": f"YODA denoiser, {'+'.join(sources)} to {target}, {spacing:g} mm",
        "sources": list(sources),
        "target": target,
        "spacing_mm": spacing,
        "schedule": config.schedule,
        "n_train": config.n_train,
        "prediction": config.target,
        "intended_use": "Research and teaching; not for diagnosis.",
        "limits": "Trained on simulated contrasts at 3 T: real scanners differ, and what the "
        "simulation lacks (tumours, surgery, motion, other ages) is not translated faithfully.",
        "licence": "Apache-2.0",
        "training": {
            "data": data,
            "command": command,
            "seed": config.seed,
            "steps": config.steps,
            "batch_size": config.batch_size,
            "slabs_seen": config.steps * config.batch_size,
            "window": config.window,
            "lr": config.lr,
            "ema": config.ema,
            "last_log": log[-1] if log else {},
            "seconds": seconds,
            "machine": describe_machine(),
            "torch": torch.__version__,
        },
    }
