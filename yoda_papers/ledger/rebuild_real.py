"""The tables of real scans, made again: models that leave people out, and what they are worth (``yoda-nb rebuild``)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import read_card, recording
from yoda_nb.store import write_atomic
from yoda_papers import WEIGHTS
from yoda_papers.ledger import evidence, hospitals, real
from yoda_papers.ledger.evidence import SHIPPED_STUDY
from yoda_papers.ledger.rebuild import Say, where_and_when
from yoda_papers.ledger.scans import on_scans
from yoda_papers.yoda import systems_on_scans


def rebuild_real(
    out: Path, *, mirror: str | Path | None = None, device: str | None = None, say: Say = print, **changes: Any
) -> pd.DataFrame:
    """Train a model without each patient, score it on that patient, and ship the table ``real``; returns it.

    ``out`` holds packs, runs and weights, and goes on where it stopped; ``changes`` are of the recipe. The cards of
    the models are shipped, their weights are not. Raises InputError where the patients are not on this machine.
    """
    find_device(device)
    volumes = real.patients(mirror)
    models = real.leave_one_out(volumes, out, mirror=mirror, device=device, say=say, **changes)
    begun = time.monotonic()
    with recording() as read:
        table = real.left_out_scores(volumes, models, device=device)
    zero_shot = real.MODELS["zero-shot"]
    seconds = time.monotonic() - begun
    _ship("real", table, models, {zero_shot: read[zero_shot]}, seconds, device)
    return table


def rebuild_hospitals(
    out: Path, *, mirror: str | Path | None = None, device: str | None = None, say: Say = print, **changes: Any
) -> pd.DataFrame:
    """Train without each hospital by each recipe, score it there, say which the rule chooses, and ship the scores."""
    find_device(device)
    scans = hospitals.everybody(mirror)
    how = {"mirror": mirror, "device": device, "say": say, **changes}
    models = {
        (on, name): hospitals.trained(scans, on, hospitals.RECIPES[name], out, **how)
        for on, names in hospitals.TRAINED.items()
        for name in names
    }
    begun = time.monotonic()
    with recording() as read:
        table = hospitals.scores(scans, models)
    zero_shot = real.MODELS["zero-shot"]
    seconds = time.monotonic() - begun
    files = {f"{on} {name}": path for (on, name), path in models.items()}
    _ship("hospitals", table, files, {zero_shot: read[zero_shot]}, seconds, device)
    say(f"recipe: {hospitals.best_of(table)}{'' if hospitals.chosen(table) else ', which the rule does not ship'}")
    return table


def rebuild_normalisation(
    *, mirror: str | Path | None = None, device: str | None = None, say: Say = print
) -> pd.DataFrame:
    """Translate a slab of each patient with its sources scaled in two ways, and ship the scores; returns them."""
    find_device(device)
    volumes = real.patients(mirror)
    say(f"normalisation of {len(volumes)} scans: computing")
    begun = time.monotonic()
    with recording() as read:
        table = real.normalisations(volumes, device=device)
    _ship("normalisation", table, {}, dict(read), time.monotonic() - begun, device)
    return table


def rebuild_scans(
    out: Path, *, mirror: str | Path | None = None, device: str | None = None, say: Say = print, **changes: Any
) -> dict[str, pd.DataFrame]:
    """Train a diffusion model without each half of the patients, and ship the samplers' tables of the other half.

    As ``rebuild_real``; name -> table. Samples are drawn once, through the bank.
    """
    find_device(device)
    volumes = real.patients(mirror)
    models = real.leave_half_out(volumes, out, mirror=mirror, device=device, say=say, **changes)
    study = on_scans(volumes, models, device or "")
    tables = {}
    for name, make in real.SCANNED.items():
        say(f"{name} of {len(study.own)} scans: computing")
        begun = time.monotonic()
        tables[name] = make(study)
        _ship(real.PREFIX + name, tables[name], models, {}, time.monotonic() - begun, device)
    return tables


def rebuild_systems(
    out: Path, *, mirror: str | Path | None = None, device: str | None = None, say: Say = print, **changes: Any
) -> pd.DataFrame:
    """Train each deciding system without each half of the patients, and ship what they make of the other half."""
    study, spacing = evidence.Study(*SHIPPED_STUDY, device=device or ""), systems_on_scans.SPACING
    find_device(device)
    volumes = real.patients(mirror, spacing=spacing)
    options = {"mirror": mirror, "device": device, "say": say, **changes}
    models = {
        row: real.leave_half_out(volumes, out, {"row": row, "spacing": spacing}, row, **options)
        for row in systems_on_scans.deciding(study)
    }
    begun = time.monotonic()
    table = systems_on_scans.scores(study, volumes, models)
    files = {path.stem: path for of in models.values() for path in of.values()}
    _ship(f"{real.PREFIX}systems", table, files, {}, time.monotonic() - begun, device)
    return table


def _ship(
    name: str,
    table: pd.DataFrame,
    models: Mapping[str, Path],
    weights: Mapping[str, str],
    seconds: float,
    device: str | None,
) -> None:
    """Store a table and the cards of the models that left people out."""
    folds = {path.stem: read_card(path) for path in models.values()}
    for fold, card in folds.items():
        path = WEIGHTS / real.FOLDS / f"{fold}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, (json.dumps(card, indent=2) + "\n").encode())
    seconds += sum(card["training"]["seconds"] for card in folds.values())
    about = {"profile": SHIPPED_STUDY[0], "seed": SHIPPED_STUDY[1], "seconds": round(seconds), "rows": len(table)}
    used = dict(weights) | {f"{real.FOLDS}/{fold}": card["sha256"] for fold, card in folds.items()}
    evidence.ship(name, table, used, about | where_and_when(device or ""))
