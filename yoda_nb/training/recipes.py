"""The committed way to each model: phantoms or a manifest's cases in, weights and card out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from yoda_nb.data.mapped import MappedPack, open_packs
from yoda_nb.data.packs import ENDING, read_about, write_pack
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256
from yoda_nb.images.space import roi_box
from yoda_nb.images.volumes import Volume, crop_volume
from yoda_nb.nets.models import describe_machine, save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.store import VERSIONS
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.checkpoints import LOG, read_log
from yoda_nb.training.denoising import REGRESSION
from yoda_nb.training.loop import fit
from yoda_nb.training.processes import in_workers

TRAIN_SEEDS = 100_000  # training seeds start here: the manifest's subjects are all below
VALIDATION_SEEDS = 900_000
ROOM = (176, 208, 176)  # mm, of a phantom of any scanner
SILENT = 600.0  # s without one more phantom, which takes seconds, after which workers count as hung


def training_phantoms(
    n: int,
    *,
    anatomies: Sequence[Path] = (),
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    spacing: float = 3.0,
    shape: tuple[int, int, int] | None = None,
    sigma: float = 0.04,
    first_seed: int = TRAIN_SEEDS,
    workers: int = 1,
    **options,
) -> list[Volume]:
    """``n`` phantoms of new deformations; a third from MNI152, the rest from the label maps.

    Without label maps all come from MNI152. Only what training needs is kept of each; further
    ``options`` are of ``phantom_case``.
    """
    make = partial(
        _training_phantom,
        anatomies=tuple(anatomies),
        sources=sources,
        target=target,
        spacing=spacing,
        shape=shape,
        sigma=sigma,
        **options,
    )
    # seeds of one anatomy follow one another, so that each worker reads few label maps
    seeds = sorted(range(first_seed, first_seed + n), key=lambda seed: _anatomy_of(seed, len(anatomies)))
    return list(_phantoms_of(make, seeds, workers))


def kept_phantoms(
    cases: Sequence[tuple[int, Path | None]],
    keep: Path,
    *,
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    spacing: float = 1.0,
    workers: int = 1,
    mapped: bool | None = None,
) -> list[Volume | MappedPack]:
    """Phantoms of any scanner for each (seed, anatomy), cut to the brain, made once and kept as packs.

    A kept one is made again if its label map or the version of the simulator has changed. ``mapped`` ones stay on disk
    (``open_packs``).
    """
    make = partial(_kept_phantom, keep=keep, sources=sources, target=target, spacing=spacing)
    keep.mkdir(parents=True, exist_ok=True)
    return open_packs(list(_phantoms_of(make, cases, workers)), mapped)


def _phantoms_of(make: Callable[[Any], Any], cases: Sequence[Any], workers: int) -> Iterable[Any]:
    """What ``make`` makes of each case, with a bar of progress."""
    made = in_workers(make, cases, workers, silent=SILENT)
    return tqdm(made, total=len(cases), desc="phantoms", mininterval=5)


def _kept_phantom(case: tuple[int, Path | None], *, keep: Path, sources, target: str, spacing: float) -> Path:
    seed, anatomy = case
    name = f"{seed}-{'MNI152' if anatomy is None else anatomy.name.split('.')[0]}"
    path = keep / f"{name}-{'-'.join(sources)}-{target}-{spacing:g}mm{ENDING}"
    made = _recipe(seed, None if anatomy is None else sha256(anatomy), sources, target, spacing)
    if not _made_so(path, made):
        d, h, w = (round(mm / spacing) for mm in ROOM)
        v = phantom_case(
            seed, anatomy=anatomy, scanner="any", sources=sources, target=target, spacing=spacing, shape=(d, h, w)
        )
        write_pack(crop_volume(v, roi_box(v.mask, (4, 4, 4))), path, made=made)
    return path


def _recipe(*shaping: object) -> str:
    """A hash of what shapes a phantom, the version of the simulator included."""
    return hashlib.sha256(f"{VERSIONS['phantoms']} {ROOM} {shaping}".encode()).hexdigest()


def _made_so(path: Path, made: str) -> bool:
    """Whether a phantom is there and was made of just this; one that nothing can be told of was not."""
    try:
        return path.is_file() and read_about(path).made == made
    except InputError:
        return False


def each_trained(train: Callable[..., dict], todo: Sequence[tuple[Any, ...]], jobs: int = 1) -> list[dict]:
    """The cards of ``train(*each)``: in turn, or ``jobs`` at a time in processes of their own, which share nothing."""
    return list(in_workers(partial(_called, train), todo, jobs, option="--jobs"))


def _called(train: Callable[..., dict], each: tuple[Any, ...]) -> dict:
    try:
        return train(*each)
    finally:  # the next training of this process, and those beside it, find the GPU's memory free
        torch.cuda.empty_cache()


def describe_phantoms(n: int, anatomies: Sequence[Path]) -> str:
    """What a card says of ``training_phantoms``."""
    maps = ", ".join(Path(a).name for a in anatomies)
    shares = f"one third from MNI152, two thirds from {maps}" if anatomies else "all from MNI152"
    return f"{n} phantoms of seeds {TRAIN_SEEDS} and up: {shares}"


def train_model(
    path: Path,
    config: TrainConfig,
    volumes: Sequence[Volume | MappedPack],
    *,
    out: Path,
    data: str,
    validation: Sequence[Volume | MappedPack] = (),
    device: str | None = None,
    initial: nn.Module | None = None,
    weights: Sequence[float] = (),
    command: str = "",
    title: str = "",
    extra: Mapping[str, object] | None = None,
    bits: int = 16,
    accumulate: int = 1,
) -> dict:
    """Train, write the weights to ``path`` and the card beside them; returns the card.

    ``out`` holds the run and resumes it; ``initial`` starts from another net's weights; ``weights``
    and ``accumulate`` as in ``fit``; ``data``, ``command``, ``title`` and ``extra`` are for the card;
    ``bits`` (16 or 8) of a weight are kept. All volumes must share their contrasts and be of one isotropic spacing.
    """
    net = fit(
        volumes,
        config,
        out=out,
        validation=validation,
        device=device,
        initial=initial,
        weights=weights,
        accumulate=accumulate,
        checkpoint_every=int(config.option("log_every", 500)),
    )
    # what the run wrote, for this call may only have resumed the end of it
    history = read_log(Path(out))
    if not history or history[-1]["step"] != config.steps:
        raise InputError(f"{Path(out) / LOG} does not reach step {config.steps}: delete {out} and train again.")
    last = history[-1]
    first = volumes[0]
    card = {
        "title": f"{title or 'YODA denoiser'}, {'+'.join(first.sources)} to {first.contrast}, {first.spacing[0]:g} mm",
        "sources": list(first.sources),
        "target": first.contrast,
        "spacing_mm": round(first.spacing[0], 4),
        "schedule": config.schedule,
        "n_train": config.n_train,
        "prediction": config.prediction,
        "method": config.method.name,
        "options": dict(config.options),
        "views": list(config.views),
        "unpaired": config.unpaired,
        "regression_only": config.regression or config.method.name == REGRESSION.name,
        "intended_use": "Research and teaching; not for diagnosis.",
        "limits": "Was trained on these data only. What they do not contain (other scanners, ages, diseases, "
        "surgery, motion) is not translated faithfully.",
        "licence": "Apache-2.0",
        "training": {
            "data": data,
            "command": command,
            "seed": config.seed,
            "steps": config.steps,
            "batch_size": config.batch_size,
            "slabs_seen": config.steps * config.batch_size * config.net.counted,
            "window": config.window,
            "lr": config.lr,
            "ema": config.ema,
            "last_log": last,
            "history": [{k: round(e[k], 6) for k in ("step", "loss", "validation") if k in e} for e in history],
            "seconds": round(last["seconds"]),
            "machine": describe_machine(),
            "torch": torch.__version__,
        },
        **(extra or {}),
    }
    if os.environ.get("RANK", "0") == "0":  # under torchrun the others hold the same net
        save_model(net, path, config=config.net, card=card, bits=bits)
    return card


def _anatomy_of(seed: int, n_maps: int) -> int:
    """-1 for MNI152, else the index of a label map."""
    return -1 if n_maps == 0 or seed % 3 == 0 else (seed // 3 * 2 + seed % 3) % n_maps


def _training_phantom(seed: int, *, anatomies, **settings) -> Volume:
    index = _anatomy_of(seed, len(anatomies))
    v = phantom_case(seed, anatomy=None if index < 0 else anatomies[index], **settings)
    return replace(v, clean=None, labels=None, lesions=None)
