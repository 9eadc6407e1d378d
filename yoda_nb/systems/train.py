"""Training from phantoms or files to a saved model, and every row of the table of systems again."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import lru_cache, partial
from math import inf
from pathlib import Path
from typing import Any, cast

import torch

from yoda_nb.data.manifest import read_manifest
from yoda_nb.data.packs import ENDING
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.study import check_study_output
from yoda_nb.diffusion.process import PREDICTIONS
from yoda_nb.diffusion.schedules import SCHEDULES
from yoda_nb.errors import InputError
from yoda_nb.images.outputs import check_apart, check_outputs
from yoda_nb.images.units import canonical
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config, config_to_dict
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import Card
from yoda_nb.phantoms.phantom import field_of_view
from yoda_nb.systems.models import load_model, weights_path
from yoda_nb.systems.papers import TRAININGS, weights_folder
from yoda_nb.systems.training_data import (
    check_share,
    dataset_volumes,
    label_map_files,
    mixed,
    packed_volumes,
    phantom_volumes,
    scanner_volumes,
)
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.parts import check_parts
from yoda_nb.training.recipes import VALIDATION_SEEDS, describe_phantoms, each_trained, train_model, training_phantoms
from yoda_nb.yoda import PAPER, PRESETS

FOLDERS = {False: "systems", True: "variants"}  # below the shipped weights: never chosen by contrasts
CHANGES = tuple(f.name for f in fields(TrainConfig) if f.name not in ("net", "method"))
SOURCES, TARGET, PHANTOMS, SPACING = ("T1w", "T2w"), "FLAIR", 384, 3.0  # of a training without a row
AT_LEAST: Mapping[str, float] = {
    **dict.fromkeys(("steps", "batch_size", "window"), 1),
    **dict.fromkeys(("lr", "lr_end", "warmup", "ema", "augment", "lesions", "structure", "outside", "seed"), 0),
}


@dataclass(frozen=True)
class Plan:
    """What is to be trained, all defaults filled in: those of a row of the table of systems are its own."""

    config: TrainConfig
    sources: tuple[str, ...]
    target: str
    spacing: float  # mm
    phantoms: int
    label_maps: bool  # for phantoms of one protocol
    preset: str | None
    row: str | None


def train(
    save: str | Path,
    *,
    out: str | Path,
    sources: Iterable[str] | None = None,
    target: str | None = None,
    preset: str | None = None,
    row: str | None = None,
    initial: str | Path | None = None,
    dataset: str | None = None,
    packs: str | Path | None = None,
    without: Collection[str] = (),
    phantoms: int | None = None,
    scanner: str = "protocol",
    rehearse: int = 0,
    share: float = 0.5,
    spacing: float | None = None,
    manifest: str | Path = MANIFEST,
    mirror: str | Path | None = None,
    label_maps: bool | None = None,
    workers: int = 1,
    device: str | None = None,
    command: str = "",
    bits: int = 16,
    accumulate: int = 1,
    mapped: bool | None = None,
    **changes: Any,
) -> Card:
    """Train a model and write it to ``save`` (.safetensors, its card beside it); returns the card.

    The net and method are YODA's at a ``preset``'s size (tiny), or those of a ``row`` of the table of
    systems with its settings, contrasts, voxel size and phantoms; with ``initial`` the weights of a model are where
    it starts. It makes ``target`` (FLAIR) of ``sources`` (T1w, T2w). It learns from ``phantoms`` (384)
    phantoms (two thirds from the manifest's label maps with ``label_maps``; of any scanner and disease
    with ``scanner="any"``), from a ``dataset`` of the manifest, or from a folder of ``packs``, at ``spacing`` (3) mm.
    Of a dataset and of packs the split train is learned from, val validates, test is never opened; people of the
    packs in ``without`` only validate. Beside real volumes ``rehearse``
    phantoms of any scanner keep what was learned from them: ``share`` of the slabs are real. ``out``
    holds the run: the same call goes on where it stopped. A weight is written with 16 or 8 ``bits``.
    ``accumulate`` passes a batch through the net in that many parts, in less memory. Packs are ``mapped``,
    left on disk, or held in memory; by default as they fit (``open_packs``).
    ``changes`` are fields of ``TrainConfig`` such as steps, batch_size, window, lr, regression, seed.
    Raises InputError before anything slow for unknown names, for a path that cannot be written or is read.
    """
    save, out = Path(save), Path(out)
    if save.suffix != ".safetensors":
        raise InputError(f"{save} must end in .safetensors.")
    if bits not in (8, 16):
        raise InputError(f"A weight is written with 8 or 16 bits, got {bits}.")
    plan = plan_training(
        sources=sources,
        target=target,
        preset=preset,
        row=row,
        initial=initial,
        spacing=spacing,
        phantoms=phantoms,
        label_maps=label_maps,
        device=device,
        **changes,
    )
    check_parts(plan.config.batch_size, accumulate)
    _check_data(packs, dataset, scanner, rehearse, share, workers)
    _check_paths(save, out, initial, packs, dataset, Path(manifest))
    start = None if initial is None else load_model(initial)
    _make(out)
    contrasts = plan.sources, plan.target
    any_scanner = partial(
        scanner_volumes,
        sources=plan.sources,
        target=plan.target,
        spacing=plan.spacing,
        keep=out / "phantoms",
        label_maps=label_maps is not False,
        workers=workers,
        mapped=mapped,
        manifest=Path(manifest),
        mirror=mirror,
    )
    if packs:
        data = packed_volumes(Path(packs), *contrasts, without, mapped=mapped)
    elif dataset:
        data = dataset_volumes(dataset, *contrasts, spacing=plan.spacing, manifest=Path(manifest), mirror=mirror)
    elif scanner == "any":
        data = any_scanner(plan.phantoms)
    else:
        maps = label_map_files(Path(manifest), mirror) if plan.label_maps else []
        how = {**_look_of(plan), "spacing": plan.spacing, "anatomies": maps, "workers": workers}
        data = phantom_volumes(plan.phantoms, *contrasts, **how)
    if rehearse:
        data = mixed(data, any_scanner(rehearse), share)
    if os.environ.get("RANK", "0") == "0":
        print(f"trains on {data.described}", file=sys.stderr)
    extra: dict[str, Any] = {"people": data.people} if data.people else {}
    if row:  # a mapped pack answers as a volume does
        extra |= TRAININGS[row].extra(cast("list[Volume]", data.volumes))
    return train_model(
        save,
        plan.config,
        data.volumes,
        validation=data.validation,
        out=out,
        data=data.described,
        device=device,
        command=command,
        initial=None if start is None else start.net,
        weights=data.weights,
        accumulate=accumulate,
        bits=bits,
        title=TRAININGS[row].title if row else "",
        extra=extra,
    )


def plan_training(
    *,
    sources: Iterable[str] | None = None,
    target: str | None = None,
    preset: str | None = None,
    row: str | None = None,
    initial: str | Path | None = None,
    spacing: float | None = None,
    phantoms: int | None = None,
    label_maps: bool | None = None,
    device: str | None = None,
    **changes: Any,
) -> Plan:
    """What ``train`` would do with the same arguments; no data are read. Raises InputError as it does."""
    find_device(device)
    own = TRAININGS[row] if row and model_name(row) else None
    sources = tuple(sources or (own.sources if own else SOURCES))
    target = target or (own.target if own else TARGET)
    twice = [name for name in sources if sources.count(name) > 1 or name == target]
    if twice:
        raise InputError(f"{twice[0]} is named twice: sources and target are contrasts that differ.")
    plan = Plan(
        config=training_config(len(sources), preset=preset, row=row, **changes),
        sources=sources,
        target=target,
        spacing=float(spacing if spacing is not None else _own_spacing(row)),
        phantoms=phantoms if phantoms is not None else own.count if own else PHANTOMS,
        label_maps=label_maps if label_maps is not None else own is None,
        preset=None if row else preset or "tiny",
        row=row,
    )
    for name, least in {"spacing": 1e-3, "phantoms": 1}.items():
        if not getattr(plan, name) >= least:
            raise InputError(f"{name} {getattr(plan, name):g} is too small: give a larger number.")
    if initial is not None:
        start = load_model(initial)
        if preset is None and row is None:  # its own net, whatever its size
            check_window(plan.config.window, start.config)
            plan = replace(plan, preset=None, config=replace(plan.config, net=start.config))
        given = [start.config, *map(canonical, start.sources), canonical(start.contrast)]
        if given != [plan.config.net, *map(canonical, sources), canonical(target)]:
            raise InputError(
                f"{initial} is {start.config} for {'+'.join(start.sources)} to {start.contrast}, but this training's "
                f"net is {plan.config.net} for {'+'.join(sources)} to {target}: choose its preset or row, sources and "
                "target."
            )
    return plan


def describe_plan(plan: Plan) -> dict[str, Any]:
    """A plan as plain values: the whole configuration, ``parameters`` of the net that is kept and of all ``nets``.

    ``differences_from_paper`` has a sentence for each setting of YODA's that is not the paper's; None for a row of
    another paper, of which docs/systems.md tells. Nothing is trained: nets are counted without their numbers.
    """
    config = plan.config
    with torch.device("meta"):
        nets = {name: sum(p.numel() for p in net.parameters()) for name, net in config.method.build(config).items()}
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name in CHANGES}
    return {
        "preset": plan.preset,
        "row": plan.row,
        "parameters": nets["net"],
        "nets": nets,
        "sources": list(plan.sources),
        "target": plan.target,
        "spacing": plan.spacing,
        "method": config.method.name,
        **settings,
        "options": dict(config.options),
        "slabs": config.steps * config.batch_size * config.net.counted,
        "net": config_to_dict(config.net),
        "differences_from_paper": _differences(plan, nets["net"]),
    }


def _differences(plan: Plan, parameters: int) -> list[str] | None:
    if plan.row and not plan.row.startswith("yoda"):
        return None
    sizes = [PRESETS[name] for name in ("paper", "paper-large")]
    said = []
    if all(replace(plan.config.net, n_sources=size.n_sources) != size for size in sizes):
        said = [f"net: {parameters / 1e6:.2f} M parameters here, 53.5 or 213.9 M in the paper"]
    for name, (value, words) in PAPER.items():
        if (here := getattr(plan.config, name)) != value:
            said.append(f"{name}: {here} here, {words} in the paper")
    return said


def training_config(
    n_sources: int, *, preset: str | None = None, row: str | None = None, **changes: Any
) -> TrainConfig:
    """YODA's net of a preset, or a row's net and method, with fields of the configuration changed."""
    if preset is not None and preset not in PRESETS:
        raise InputError(f"Preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}.")
    if unknown := sorted(set(changes) - set(CHANGES)):
        raise InputError(f"A training has no setting {', '.join(unknown)}: choose among {', '.join(CHANGES)}.")
    if row:
        model_name(row)
    if row and preset:
        raise InputError(f"Row {row} has a net of its own: leave out the preset {preset}.")
    config = TRAININGS[row].config if row else TrainConfig(net=PRESETS[preset or "tiny"])
    if config.method is not DIFFUSION:
        own = [name for name in ("structure", "schedule", "prediction") if changes.get(name)]
        if own:
            raise InputError(f"Row {row} has a loss and a process of its own: leave {own[0]} out.")
    if (first := int(config.option("prior", 0))) >= n_sources:
        raise InputError(f"Row {row} begins at its source number {first + 1}: name at least {first + 1} sources.")
    config = replace(config, **changes, net=replace(config.net, n_sources=n_sources))
    for name, least in AT_LEAST.items():
        if not least <= getattr(config, name) < inf:
            raise InputError(f"{name} {getattr(config, name)} is not valid: give a number of at least {least:g} on.")
    check_window(config.window, config.net)
    if config.ema >= 1:
        raise InputError(f"ema {config.ema} would keep the first weights: give a number below 1.")
    if config.method is DIFFUSION and (config.schedule not in SCHEDULES or config.prediction not in PREDICTIONS):
        raise InputError(
            f"There is no schedule {config.schedule!r} with prediction {config.prediction!r}: choose among "
            f"{', '.join(SCHEDULES)}, and among {', '.join(PREDICTIONS)}."
        )
    return config


def check_window(window: int, net: Config) -> None:
    """InputError for a window whose sides a net cannot halve as often as it does."""
    if window % net.divisor:
        raise InputError(f"The window {window} must be a multiple of {net.divisor} for this net.")


def _own_spacing(row: str | None) -> float:
    """Voxel size in mm of a row's phantoms; without a row the default."""
    return float(cast("float", TRAININGS[row].phantoms.get("spacing", SPACING))) if row else SPACING


def _look_of(plan: Plan) -> dict[str, Any]:
    """Arguments of ``phantom_case``: a row's own, in its own field of view where its voxels are its own too."""
    shape = field_of_view((*plan.sources, plan.target), plan.spacing)
    if not plan.row:
        return {"shape": shape}
    look = {name: value for name, value in TRAININGS[plan.row].phantoms.items() if name != "spacing"}
    return look if plan.spacing == _own_spacing(plan.row) else {"shape": shape, **look}


def _check_data(
    packs: str | Path | None, dataset: str | None, scanner: str, rehearse: int, share: float, workers: int
) -> None:
    """InputError for data that are none, before any are read."""
    if packs and dataset:
        raise InputError("A training learns from packs or from a dataset: give one of them.")
    if scanner not in ("protocol", "any"):
        raise InputError(f"Phantom scanner {scanner!r} is unknown: choose protocol or any.")
    if rehearse < 0:
        raise InputError(f"rehearse {rehearse} is not a number of phantoms: give 0 or more.")
    if workers < 1:
        raise InputError(f"workers {workers} is not a number of processes: give 1 or more.")
    if rehearse:
        check_share(share)


def _check_paths(
    save: Path, out: Path, initial: str | Path | None, packs: str | Path | None, dataset: str | None, manifest: Path
) -> None:
    """InputError where what is written is what is read, or cannot be written."""
    inputs: dict[str, Path | None] = {"the manifest": manifest}
    inputs["--initial"] = None if initial is None else weights_path(initial)
    if packs:
        files = sorted(Path(packs).glob(f"*{ENDING}"))
        inputs |= {f"the pack {file.name}": file for file in files}
        check_apart(out, packs, files, word="--out")
    if dataset:
        check_study_output(out, read_manifest(manifest, dataset=dataset), word="--out")
    check_outputs({"--save": save, "the card of --save": save.with_suffix(".json")}, inputs)
    check_outputs({"--out": out}, {"--save": save, **inputs})
    if save.is_dir() or not save.absolute().parent.is_dir():
        raise InputError(f"cannot write {save}: name a file in a folder that exists.")


def _make(out: Path) -> None:
    """The folder of the run; InputError where it cannot be made or written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {out} cannot be made ({error.strerror}): choose another --out.") from error
    if not os.access(out, os.W_OK):
        raise InputError(f"The folder {out} cannot be written: choose another --out.")


def model_name(name: str) -> str:
    """What ``load_model`` calls a row's model; InputError for one that is not in the table."""
    if name not in TRAININGS:
        near = get_close_matches(name, TRAININGS) or [other for other, row in TRAININGS.items() if not row.variant]
        raise InputError(f"There is no training {name!r}; there are {', '.join(near)}.")
    row = TRAININGS[name]
    return name if row.chosen else f"{FOLDERS[row.variant]}/{name}"


def train_systems(
    names: Iterable[str] = (), *, out: Path, weights: Path | None = None, device: str | None = None, jobs: int = 1
) -> list[Card]:
    """Train every row (or those named), ``jobs`` at a time; returns their cards.

    Models go to ``weights``, by default the folder of each row's paper. A stopped run goes on where it was. Each of
    several processes makes the phantoms of its rows itself.
    """
    find_device(device)
    names = list(names) or list(TRAININGS)
    places = {name: (weights or weights_folder(name)) / f"{model_name(name)}.safetensors" for name in names}
    todo = [(name, place, out / name) for name, place in places.items()]
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
