"""Training from phantoms or files to a saved model, and every row of the table of systems again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from yoda_nb.data.manifest import FIELD_OF_VIEW, fetch, load_case, read_manifest
from yoda_nb.data.packs import ENDING, read_pack
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import person_of
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import WEIGHTS, Card
from yoda_nb.papers import TRAININGS
from yoda_nb.papers.yoda import PRESETS
from yoda_nb.systems.models import load_model
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.recipes import (
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    describe_phantoms,
    kept_phantoms,
    train_model,
    training_phantoms,
)

N_PHANTOMS = 128  # of a row
FOLDERS = {False: "systems", True: "variants"}  # below the shipped weights: never chosen unless named
VALIDATION = 12  # phantoms beside those of a training of one's own
CHANGES = tuple(f.name for f in fields(TrainConfig) if f.name not in ("net", "method"))


@dataclass(frozen=True)
class TrainingData:
    """Volumes to learn from and to be validated with, and what a card says of them."""

    volumes: list[Volume]
    validation: list[Volume]
    described: str
    weights: tuple[float, ...] = ()  # how often each volume is drawn; none: all alike


def train(
    save: str | Path,
    *,
    out: str | Path,
    sources: Iterable[str] = ("T1w", "T2w"),
    target: str = "FLAIR",
    preset: str = "tiny",
    row: str | None = None,
    initial: str | Path | None = None,
    dataset: str | None = None,
    packs: str | Path | None = None,
    without: Collection[str] = (),
    phantoms: int = 384,
    scanner: str = "protocol",
    rehearse: int = 0,
    share: float = 0.5,
    spacing: float = 3.0,
    manifest: str | Path = MANIFEST,
    mirror: str | Path | None = None,
    label_maps: bool = True,
    workers: int = 1,
    device: str | None = None,
    command: str = "",
    bits: int = 16,
    **changes: Any,
) -> Card:
    """Train a model and write it to ``save`` (.safetensors, its card beside it); returns the card.

    The net and method are YODA's at a ``preset``'s size, or those of a ``row`` of the table of
    systems; with ``initial`` the weights of a model are where it starts. It learns from ``phantoms``
    phantoms (two thirds from the manifest's label maps with ``label_maps``; of any scanner and disease
    with ``scanner="any"``), from a ``dataset`` of the manifest, or from a folder of ``packs`` (those of
    the people in ``without`` only validate), at ``spacing`` mm. Beside real volumes ``rehearse``
    phantoms of any scanner keep what was learned from them: ``share`` of the slabs are real. ``out``
    holds the run: the same call goes on where it stopped. A weight is written with 16 or 8 ``bits``.
    ``changes`` are fields of ``TrainConfig`` such as steps, batch_size, window, lr, regression, seed.
    Raises InputError before anything slow for unknown names and a path that cannot be written.
    """
    save, sources = Path(save), tuple(sources)
    if save.suffix != ".safetensors":
        raise InputError(f"{save} must end in .safetensors.")
    if bits not in (8, 16):
        raise InputError(f"A weight is written with 8 or 16 bits, got {bits}.")
    config = training_config(len(sources), preset=preset, row=row, **changes)
    start = None if initial is None else load_model(initial)
    if start is not None and (start.config, start.sources, start.contrast) != (config.net, sources, target):
        raise InputError(
            f"{initial} is {start.config} for {'+'.join(start.sources)} to {start.contrast}, but this training's net "
            f"is {config.net} for {'+'.join(sources)} to {target}: choose its preset or row, sources and target."
        )
    any_scanner = partial(
        scanner_volumes,
        sources=sources,
        target=target,
        spacing=spacing,
        keep=Path(out) / "phantoms",
        manifest=Path(manifest),
        mirror=mirror,
        label_maps=label_maps,
        workers=workers,
    )
    if packs:
        data = packed_volumes(Path(packs), sources, target, without)
    elif dataset:
        data = dataset_volumes(dataset, sources, target, spacing=spacing, manifest=Path(manifest), mirror=mirror)
    elif scanner == "any":
        data = any_scanner(phantoms)
    else:
        maps = label_map_files(Path(manifest), mirror) if label_maps else []
        data = phantom_volumes(phantoms, sources, target, spacing=spacing, anatomies=maps, workers=workers)
    if rehearse:
        data = mixed(data, any_scanner(rehearse), share)
    about: dict[str, Any] = {"title": TRAININGS[row].title, "extra": TRAININGS[row].extra(data.volumes)} if row else {}
    return train_model(
        save,
        config,
        data.volumes,
        validation=data.validation,
        out=Path(out),
        data=data.described,
        device=device,
        command=command,
        initial=None if start is None else start.net,
        weights=data.weights,
        bits=bits,
        **about,
    )


def training_config(n_sources: int, *, preset: str = "tiny", row: str | None = None, **changes: Any) -> TrainConfig:
    """YODA's net of a preset, or a row's net and method, with fields of the configuration changed."""
    if preset not in PRESETS:
        raise InputError(f"Preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}.")
    if unknown := sorted(set(changes) - set(CHANGES)):
        raise InputError(f"A training has no setting {', '.join(unknown)}: choose among {', '.join(CHANGES)}.")
    if row:
        model_name(row)
    config = TRAININGS[row].config if row else TrainConfig(net=PRESETS[preset])
    if changes.get("structure") and config.method is not DIFFUSION:
        raise InputError(f"Row {row} has a loss of its own: structure is for trainings by denoising.")
    return replace(config, **changes, net=replace(config.net, n_sources=n_sources))


def phantom_volumes(
    n: int, sources: tuple[str, ...], target: str, *, spacing: float, anatomies: list[Path], workers: int = 1
) -> TrainingData:
    """Phantoms of training and validation seeds over the manifest's field of view."""
    side = round(FIELD_OF_VIEW / spacing)
    make: dict[str, Any] = {
        "anatomies": anatomies,
        "sources": sources,
        "target": target,
        "spacing": spacing,
        "shape": (side,) * 3,
        "workers": workers,
    }
    volumes = training_phantoms(n, **make)
    validation = training_phantoms(VALIDATION, first_seed=VALIDATION_SEEDS, **make)
    return TrainingData(volumes, validation, describe_phantoms(n, anatomies))


def scanner_volumes(
    n: int,
    *,
    sources: tuple[str, ...],
    target: str,
    spacing: float,
    keep: Path,
    manifest: Path = MANIFEST,
    mirror: str | Path | None = None,
    label_maps: bool = True,
    workers: int = 1,
) -> TrainingData:
    """``n`` phantoms of any scanner: every label map of the manifest and MNI152 in turn, kept as packs.

    Those of anatomies that the manifest holds out are for validation.
    """
    cases = read_manifest(manifest, dataset="synthseg") if label_maps else []
    maps = [(fetch(case.images["labels"], root=case.root, mirror=mirror), case.split) for case in cases]
    anatomies = [*maps, (None, "train")]
    turns = [(TRAIN_SEEDS + i, *anatomies[i % len(anatomies)]) for i in range(n)]
    volumes = kept_phantoms(
        [(seed, anatomy) for seed, anatomy, _ in turns],
        keep,
        sources=sources,
        target=target,
        spacing=spacing,
        workers=workers,
    )
    by_split = {
        train: [v for v, (*_, split) in zip(volumes, turns, strict=True) if (split == "train") is train]
        for train in (True, False)
    }
    names = ", ".join(file.name for file, split in maps if split == "train")
    described = f"{len(by_split[True])} phantoms of any scanner, seeds {TRAIN_SEEDS} and up: MNI152 {names} in turn"
    return TrainingData(by_split[True], by_split[False], described)


def packed_volumes(folder: Path, sources: tuple[str, ...], target: str, without: Collection[str] = ()) -> TrainingData:
    """The volumes of a folder of packs; those of people in ``without`` are for validation."""
    files = sorted(folder.glob(f"*{ENDING}"))
    if not files:
        raise InputError(f"{folder} holds no packs (*{ENDING}): write some with 'yoda-nb data pack'.")
    volumes = {file: read_pack(file, dtype=torch.float16) for file in files}
    for file, v in volumes.items():
        if (v.sources, v.contrast) != (sources, target):
            raise InputError(
                f"{file} holds {'+'.join(v.sources)} and {v.contrast}, but this training needs "
                f"{'+'.join(sources)} and {target}: choose its sources and target."
            )
    who = {file: person_of(v.subject.split("~")[0]) for file, v in volumes.items()}
    if unknown := sorted(set(without) - set(who.values())):
        raise InputError(
            f"{folder} holds no packs of {unknown[0]}: choose among {', '.join(sorted(set(who.values())))}."
        )
    # of who is held out the scans as they are, not as other scanners would see them
    held_out = [v for file, v in volumes.items() if who[file] in without and "~" not in v.subject]
    training = [v for file, v in volumes.items() if who[file] not in without]
    if not training:
        raise InputError(f"{folder} holds packs of {', '.join(sorted(set(who.values())))} alone: leave somebody in.")
    people = sorted({who[file] for file in volumes} - set(without))
    return TrainingData(training, held_out, f"{len(training)} volumes of {len(people)} people ({', '.join(people)})")


def mixed(real: TrainingData, phantoms: TrainingData, share: float) -> TrainingData:
    """Real volumes with phantoms beside them: ``share`` of the slabs are real."""
    if not 0 < share < 1:
        raise InputError(f"share {share} is no share of real slabs: give a number between 0 and 1.")
    weights = (share / len(real.volumes),) * len(real.volumes)
    weights += ((1 - share) / len(phantoms.volumes),) * len(phantoms.volumes)
    described = f"{real.described} ({share:.0%} of the slabs); {phantoms.described}"
    validation = real.validation or phantoms.validation
    return TrainingData([*real.volumes, *phantoms.volumes], validation, described, weights)


def label_map_files(manifest: Path = MANIFEST, mirror: str | Path | None = None) -> list[Path]:
    """The label maps that a manifest lists for training, fetched."""
    cases = read_manifest(manifest, dataset="synthseg", split="train")
    return [fetch(case.images["labels"], root=case.root, mirror=mirror) for case in cases]


def dataset_volumes(
    dataset: str,
    sources: tuple[str, ...],
    target: str,
    *,
    spacing: float,
    manifest: Path = MANIFEST,
    mirror: str | Path | None = None,
) -> TrainingData:
    """The training and validation subjects of a dataset of the manifest, at ``spacing`` mm."""
    cases = read_manifest(manifest, dataset=dataset)
    load = partial(load_case, sources=sources, target=target, mirror=mirror, spacing=spacing)
    volumes, validation = ([load(case) for case in cases if case.split == split] for split in ("train", "val"))
    return TrainingData(volumes, validation, f"dataset {dataset} of {manifest.name}, {len(volumes)} subjects")


def model_name(name: str) -> str:
    """What ``load_model`` calls a row's model; InputError for one that is not in the table."""
    if name not in TRAININGS:
        raise InputError(f"There is no training {name!r}: choose among {', '.join(TRAININGS)}.")
    return f"{FOLDERS[TRAININGS[name].variant]}/{name}"


def train_systems(
    names: Iterable[str] = (), *, out: Path, weights: Path = WEIGHTS, device: str | None = None
) -> list[Card]:
    """Train every row (or those named); returns their cards. A stopped run goes on where it was."""
    names = list(names) or list(TRAININGS)
    models = {name: model_name(name) for name in names}
    return [_train(name, weights / f"{model}.safetensors", out / name, device) for name, model in models.items()]


def _train(name: str, path: Path, out: Path, device: str | None) -> Card:
    row = TRAININGS[name]
    volumes, validation = _phantoms(row.sources, row.target, tuple(sorted(row.phantoms.items())))
    options = "".join(f", {k} {v}" for k, v in sorted(row.phantoms.items()))
    return train_model(
        path,
        row.config,
        volumes,
        validation=validation,
        out=out,
        title=row.title,
        data=describe_phantoms(N_PHANTOMS, ()) + options,
        extra=row.extra(volumes),
        device=device,
        command=f"yoda-nb rebuild systems --only {name}",
    )


@cache
def _phantoms(
    sources: tuple[str, ...], target: str, options: tuple[tuple[str, Any], ...]
) -> tuple[list[Volume], list[Volume]]:
    """What rows of the same data train on and are validated with."""
    make: dict[str, Any] = {"sources": sources, "target": target, **dict(options)}
    return training_phantoms(N_PHANTOMS, **make), training_phantoms(8, first_seed=VALIDATION_SEEDS, **make)
