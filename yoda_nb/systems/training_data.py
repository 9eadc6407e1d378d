"""What a training learns from: phantoms, of one protocol or of any scanner, a manifest's dataset, packs, or two."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from yoda_nb.data.manifest import fetch, load_case, read_manifest
from yoda_nb.data.mapped import MappedPack, open_packs
from yoda_nb.data.packs import ENDING, About, read_about
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import MISSING, person_of
from yoda_nb.errors import InputError
from yoda_nb.images.units import canonical
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
    people: Mapping[str, Any] = field(default_factory=dict)  # for a card: who trained, who validated, how many tests


def phantom_volumes(
    n: int,
    sources: tuple[str, ...],
    target: str,
    *,
    spacing: float,
    anatomies: list[Path],
    workers: int = 1,
    **options: Any,
) -> TrainingData:
    """Phantoms of training and validation seeds; ``options`` are further arguments of ``phantom_case``."""
    make: dict[str, Any] = {
        "anatomies": anatomies,
        "sources": sources,
        "target": target,
        "spacing": spacing,
        "workers": workers,
        **options,
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
    names = ", ".join(["MNI152", *(file.name for file, split in maps if split == "train")])
    described = f"{len(by_split[True])} phantoms of any scanner, seeds {TRAIN_SEEDS} and up: {names} in turn"
    return TrainingData(by_split[True], by_split[False], described)


def linked_phantoms(run: Path, phantoms: Path) -> None:
    """Let the run of a training keep its phantoms in a folder that several runs share."""
    for folder in (run, phantoms):
        folder.mkdir(parents=True, exist_ok=True)
    if not (run / "phantoms").exists():
        (run / "phantoms").symlink_to(phantoms.resolve(), target_is_directory=True)


def packed_volumes(
    folder: Path, sources: tuple[str, ...], target: str, without: Collection[str] = (), *, mapped: bool | None = None
) -> TrainingData:
    """The volumes of a folder of packs: people of the split train, and for validation those of val and in ``without``.

    Packs of the split test are not opened.  People whose packs name no split are trained on, unless they are in
    ``without``; the description says so.  ``mapped`` volumes stay on disk (``open_packs``).  Raises InputError for a
    folder without packs, packs of other contrasts, a person in two splits or unknown, and where nobody is left to
    train on.
    """
    files = {file: read_about(file) for file in sorted(folder.glob(f"*{ENDING}"))}
    if not files:
        raise InputError(f"{folder} holds no packs (*{ENDING}): write some with 'yoda-nb data pack'.")
    for file, about in files.items():
        _check_contrasts(file, about, sources, target)
    splits = _splits_of_people(folder, files.values())
    if unknown := sorted(set(without) - set(splits)):
        raise InputError(f"{folder} holds no packs of {unknown[0]}: choose among {', '.join(sorted(splits))}.")
    testing = {person for person, split in splits.items() if split == "test"}
    validating = {person for person, split in splits.items() if split == "val" or person in without} - testing
    training = set(splits) - testing - validating
    if not training:
        raise InputError(
            f"{folder} has no packs to train on: {_people(validating)} are for validation and {_people(testing)} for "
            "testing. Leave at least one person for training."
        )
    # of who validates the scans as they are, not as other scanners would see them
    opened = [
        file
        for file, about in files.items()
        if _person(about) in training or (_person(about) in validating and "~" not in about.subject)
    ]
    volumes = list(zip(opened, open_packs(opened, mapped), strict=True))
    train, held_out = ([v for file, v in volumes if _person(files[file]) in who] for who in (training, validating))
    told = [f"{len(train)} volumes of {_people(training)}"]
    told += [f"validated on {len(held_out)} of {len(validating)} people"] if validating else []
    told += [f"not opened: packs of {len(testing)} people for testing"] if testing else []
    if not any(splits.values()):
        told += ["no pack names a split, so all others train" if validating else "no pack names a split, so all train"]
    elif unsplit := {person for person in training if splits[person] is None}:
        told += [f"trained on although their packs name no split: {_people(unsplit)}"]
    return TrainingData(train, held_out, "; ".join(told), people=_by_split(training, validating, len(testing)))


def _by_split(training: Iterable[str], validating: Iterable[str], testing: int) -> dict[str, Any]:
    """What a card says of people."""
    return {"train": sorted(set(training)), "val": sorted(set(validating)), "test_not_opened": testing}


def _check_contrasts(file: Path, about: About, sources: tuple[str, ...], target: str) -> None:
    if [canonical(name) for name in (*about.sources, about.contrast)] != [
        canonical(name) for name in (*sources, target)
    ]:
        raise InputError(
            f"{file} holds {'+'.join(about.sources)} and {about.contrast}, but this training needs "
            f"{'+'.join(sources)} and {target}: choose its sources and target."
        )


def _person(about: About) -> str:
    return person_of(about.subject.split("~")[0])


def _splits_of_people(folder: Path, packs: Iterable[About]) -> dict[str, str | None]:
    """Person -> split, None where no pack of theirs names one; InputError for a person in two."""
    splits: dict[str, str | None] = {}
    for about in packs:
        person = _person(about)
        known = splits.setdefault(person, about.split)
        if known and about.split and known != about.split:
            raise InputError(
                f"{folder} holds packs of {person} of the splits {known} and {about.split}: pack this person again."
            )
        splits[person] = known or about.split
    return splits


def _people(names: Collection[str]) -> str:
    """How many, and who."""
    return f"{len(names)} people" + (f" ({', '.join(sorted(names))})" if names else "")


def mixed(real: TrainingData, phantoms: TrainingData, share: float) -> TrainingData:
    """Real volumes with phantoms beside them: ``share`` of the slabs are real."""
    check_share(share)
    weights = (share / len(real.volumes),) * len(real.volumes)
    weights += ((1 - share) / len(phantoms.volumes),) * len(phantoms.volumes)
    described = f"{share:.0%} of the slabs from {real.described}; the others from {phantoms.described}"
    validation = real.validation or phantoms.validation
    return TrainingData([*real.volumes, *phantoms.volumes], validation, described, weights, real.people)


def check_share(share: float) -> None:
    """InputError for what is no share of real slabs."""
    if not 0 < share < 1:
        raise InputError(f"share {share} is not a share of real slabs: give a number between 0 and 1.")


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
    """The training and validation subjects of a dataset of the manifest, at ``spacing`` mm; others are not opened."""
    cases = read_manifest(manifest, dataset=dataset)
    of = {split: [case for case in cases if case.split == split] for split in ("train", "val", "test", MISSING)}
    if not of["train"]:
        raise InputError(f"{manifest} has no subject of {dataset} in the split train: give some of them that split.")
    load = partial(load_case, sources=sources, target=target, mirror=mirror, spacing=spacing)
    volumes, validation = ([load(case) for case in of[split]] for split in ("train", "val"))
    told = [f"dataset {dataset} of {manifest.name}, {len(volumes)} subjects"]
    told += [f"validated on {len(validation)}"] if validation else []
    told += [f"not opened: {len(of['test'])} for testing"] if of["test"] else []
    told += [f"left out, for they have no split: {len(of[MISSING])}"] if of[MISSING] else []
    who = {split: {person_of(case.subject) for case in cases} for split, cases in of.items()}
    people = _by_split(who["train"], who["val"], len(who["test"]))
    return TrainingData([*volumes], [*validation], "; ".join(told), people=people)
