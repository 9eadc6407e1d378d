"""What a training learns from: phantoms, of one protocol or of any scanner, a manifest's dataset, packs, or two."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from yoda_nb.data.manifest import fetch, load_case, read_manifest
from yoda_nb.data.mapped import MappedPack, open_packs
from yoda_nb.data.packs import ENDING
from yoda_nb.data.phantom import field_of_view
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import person_of
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.training.recipes import TRAIN_SEEDS, VALIDATION_SEEDS, describe_phantoms, kept_phantoms, training_phantoms

VALIDATION = 12  # phantoms beside those of a training of one's own


@dataclass(frozen=True)
class TrainingData:
    """Volumes to learn from and to be validated with, and what a card says of them."""

    volumes: list[Volume | MappedPack]
    validation: list[Volume | MappedPack]
    described: str
    weights: tuple[float, ...] = ()  # how often each volume is drawn; none: all alike


def phantom_volumes(
    n: int, sources: tuple[str, ...], target: str, *, spacing: float, anatomies: list[Path], workers: int = 1
) -> TrainingData:
    """Phantoms of training and validation seeds over the manifest's field of view."""
    make: dict[str, Any] = {
        "anatomies": anatomies,
        "sources": sources,
        "target": target,
        "spacing": spacing,
        "shape": field_of_view((*sources, target), spacing),
        "workers": workers,
    }
    volumes = training_phantoms(n, **make)
    validation = training_phantoms(VALIDATION, first_seed=VALIDATION_SEEDS, **make)
    return TrainingData([*volumes], [*validation], describe_phantoms(n, anatomies))


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
    mapped: bool | None = None,
) -> TrainingData:
    """``n`` phantoms of any scanner: every label map of the manifest and MNI152 in turn, kept as packs.

    Those of anatomies that the manifest holds out are for validation. ``mapped`` as in ``open_packs``.
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
        mapped=mapped,
    )
    by_split = {
        train: [v for v, (*_, split) in zip(volumes, turns, strict=True) if (split == "train") is train]
        for train in (True, False)
    }
    names = ", ".join(file.name for file, split in maps if split == "train")
    described = f"{len(by_split[True])} phantoms of any scanner, seeds {TRAIN_SEEDS} and up: MNI152 {names} in turn"
    return TrainingData(by_split[True], by_split[False], described)


def packed_volumes(
    folder: Path, sources: tuple[str, ...], target: str, without: Collection[str] = (), *, mapped: bool | None = None
) -> TrainingData:
    """The volumes of a folder of packs; those of people in ``without`` are for validation.

    ``mapped`` ones stay on disk (``open_packs``).
    """
    files = sorted(folder.glob(f"*{ENDING}"))
    if not files:
        raise InputError(f"{folder} holds no packs (*{ENDING}): write some with 'yoda-nb data pack'.")
    volumes = dict(zip(files, open_packs(files, mapped), strict=True))
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
    return TrainingData([*volumes], [*validation], f"dataset {dataset} of {manifest.name}, {len(volumes)} subjects")
