"""Training from phantoms or files to a saved model, and every row of the table of systems again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from difflib import get_close_matches
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import WEIGHTS, Card
from yoda_nb.papers import TRAININGS
from yoda_nb.papers.yoda import PRESETS
from yoda_nb.systems.models import load_model
from yoda_nb.systems.training_data import (
    dataset_volumes,
    label_map_files,
    mixed,
    packed_volumes,
    phantom_volumes,
    scanner_volumes,
)
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.recipes import VALIDATION_SEEDS, describe_phantoms, each_trained, train_model, training_phantoms

FOLDERS = {False: "systems", True: "variants"}  # below the shipped weights: never chosen by contrasts
CHANGES = tuple(f.name for f in fields(TrainConfig) if f.name not in ("net", "method"))


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
    accumulate: int = 1,
    mapped: bool | None = None,
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
    ``accumulate`` passes a batch through the net in that many parts, in less memory. Packs are ``mapped``,
    left on disk, or held in memory; by default as they fit (``open_packs``).
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
        mapped=mapped,
    )
    if packs:
        data = packed_volumes(Path(packs), sources, target, without, mapped=mapped)
    elif dataset:
        data = dataset_volumes(dataset, sources, target, spacing=spacing, manifest=Path(manifest), mirror=mirror)
    elif scanner == "any":
        data = any_scanner(phantoms)
    else:
        maps = label_map_files(Path(manifest), mirror) if label_maps else []
        data = phantom_volumes(phantoms, sources, target, spacing=spacing, anatomies=maps, workers=workers)
    if rehearse:
        data = mixed(data, any_scanner(rehearse), share)
    about: dict[str, Any] = {}
    if row:  # a mapped pack answers as a volume does
        about = {"title": TRAININGS[row].title, "extra": TRAININGS[row].extra(cast("list[Volume]", data.volumes))}
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
        accumulate=accumulate,
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


def model_name(name: str) -> str:
    """What ``load_model`` calls a row's model; InputError for one that is not in the table."""
    if name not in TRAININGS:
        near = get_close_matches(name, TRAININGS) or [other for other, row in TRAININGS.items() if not row.variant]
        raise InputError(f"There is no training {name!r}; there are {', '.join(near)}.")
    row = TRAININGS[name]
    return name if row.chosen else f"{FOLDERS[row.variant]}/{name}"


def train_systems(
    names: Iterable[str] = (), *, out: Path, weights: Path = WEIGHTS, device: str | None = None, jobs: int = 1
) -> list[Card]:
    """Train every row (or those named), ``jobs`` at a time; returns their cards.

    A stopped run goes on where it was. Each of several processes makes the phantoms of its rows itself.
    """
    names = list(names) or list(TRAININGS)
    todo = [(name, weights / f"{model_name(name)}.safetensors", out / name) for name in names]
    return each_trained(partial(_train, device=device), todo, jobs)


def _train(name: str, path: Path, out: Path, *, device: str | None) -> Card:
    row = TRAININGS[name]
    volumes, validation = _phantoms(*_look(name))
    options = "".join(f", {k} {v}" for k, v in sorted(row.phantoms.items()))
    return train_model(
        path,
        row.config,
        volumes,
        validation=validation,
        out=out,
        title=row.title,
        data=describe_phantoms(row.count, ()) + options,
        extra=row.extra(volumes),
        device=device,
        command=f"yoda-nb rebuild systems --only {name}",
        bits=row.bits,
    )


def _look(name: str) -> tuple[int, tuple[str, ...], str, tuple[tuple[str, Any], ...]]:
    row = TRAININGS[name]
    return row.count, row.sources, row.target, tuple(sorted(row.phantoms.items()))


@lru_cache(maxsize=2)  # rows of one data follow one another; a set takes up to a gigabyte
def _phantoms(
    n: int, sources: tuple[str, ...], target: str, options: tuple[tuple[str, Any], ...]
) -> tuple[list[Volume], list[Volume]]:
    """What rows of the same data train on and are validated with."""
    make: dict[str, Any] = {"sources": sources, "target": target, **dict(options)}
    return training_phantoms(n, **make), training_phantoms(8, first_seed=VALIDATION_SEEDS, **make)
