"""Whole studies: every subject of a BIDS folder or a manifest to a derivative with its sidecar."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoda_nb.data.bids import derivative_path, read_bids, write_derivative
from yoda_nb.data.manifest import Case, fetch, read_manifest
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import on_one_grid
from yoda_nb.images.units import part_of
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import evaluate
from yoda_nb.systems.files import SPACING, Opened, open_files
from yoda_nb.systems.models import find_model, load_model
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import get_system

KEPT = "prepared"  # folder of preparations in the output


@dataclass(frozen=True)
class Done:
    """What became of one subject: ``opened`` and ``result`` are None where it had been done before."""

    path: Path
    row: dict[str, Any]
    opened: Opened | None = None
    result: Volume | None = None


def cases_in(
    study: str | Path, *, dataset: str | None = None, split: str | None = None, trust_paths: bool = False
) -> list[Case]:
    """The subjects of a BIDS folder or of a manifest (.csv); InputError where there are none."""
    study = Path(study)
    try:
        is_folder = study.is_dir()
    except OSError as error:
        raise InputError(f"{study} cannot be read ({error.strerror}): name a BIDS folder or a manifest.") from error
    if is_folder:
        return read_bids(study, trust_paths=trust_paths)
    return read_manifest(study, dataset=dataset, split=split, trust_paths=trust_paths)


def translate_case(
    case: Case,
    out: str | Path,
    *,
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    system: str = "yoda-regression",
    model: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    bias: bool = True,
    tool: str | None = None,
    mirror: str | Path | None = None,
    raw: str | Path | None = None,
    seed: int = 0,
    device: str | None = None,
    again: bool = False,
) -> Done:
    """Make ``target`` of one subject's files and write it as a BIDS derivative below ``out``.

    An acquired target of the case scores the result. Preparations are kept in ``out/prepared``. What is there
    already, by the same model and settings, is left, unless it is to be made ``again``. Raises InputError naming
    the contrasts that are lacking.
    """
    lacking = [name for name in sources if name not in case.images]
    if lacking:
        raise InputError(
            f"{case.subject} of {case.dataset} has no {', '.join(lacking)}: it has {', '.join(case.images)}."
        )
    files = {
        name: fetch(image, root=case.root, mirror=mirror)
        for name, image in case.images.items()
        if name in (*sources, target, "mask")
    }
    mask, acquired = files.pop("mask", None), files.pop(target, None)
    files = {name: files[name] for name in sources}
    aim, part = (target, acquired) if acquired else None, part_of((*sources, target))
    spec = get_system(system, **(settings or {}))
    registered = not on_one_grid(files | ({target: acquired} if acquired else {}))
    weights = model or spec.weights
    opened = None
    if weights is None and not registered:  # its voxels decide
        opened = open_files(files, target=aim, mask=mask, registered=False, subject=case.subject, part=part)
        weights = find_model(sources, target, min(opened.volume.spacing), steps=spec.n_steps)
    chosen = load_model(weights or find_model(sources, target, SPACING, steps=spec.n_steps))
    about = {"System": system, "ModelSHA256": chosen.sha256, "Seed": seed, "Settings": dict(settings or {})}
    label = bids_label(case.subject)
    path = derivative_path(out, label, None, target)
    row: dict[str, Any] = {"subject": case.subject, "file": str(path), "model": chosen.name, "system": system}
    if not again and _is_done(path, about):
        return Done(path, row | {"state": "was there"})
    opened = opened or open_files(
        files,
        target=aim,
        mask=mask,
        registered=registered,
        bias=bias,
        tool=tool,
        keep=Path(out) / KEPT,
        subject=case.subject,
        part=part,
    )
    begun = time.monotonic()
    result = translate(
        opened.volume,
        system,
        seed=seed,
        device=device,
        model=weights or chosen.name,
        contrast=target,
        **(settings or {}),
    )
    row |= {"state": "made", "seconds": round(time.monotonic() - begun, 1)}
    if opened.volume.target is not None:
        row["scores"] = evaluate(opened.volume, result)
    write_derivative(
        required(result, "target"),
        result,
        out,
        subject=label,
        contrast=target,
        sources=files,
        system=system,
        model=chosen.name,
        model_sha256=chosen.sha256,
        seed=seed,
        settings=dict(settings or {}),
        raw=raw,
    )
    return Done(path, row, opened, result)


def bids_label(subject: str) -> str:
    """A subject's name with letters and digits alone, as BIDS wants it: long-03_ses-2 is long03_ses-2."""
    person, visit, name = subject.removeprefix("sub-").partition("_ses-")
    return re.sub("[^A-Za-z0-9]", "", person) + visit + re.sub("[^A-Za-z0-9]", "", name)


def _is_done(path: Path, about: Mapping[str, Any]) -> bool:
    """Whether the image is there, whole, with a sidecar that says the same of how it was made."""
    sidecar = path.with_name(path.name.removesuffix(".nii.gz") + ".json")
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return path.is_file() and all(said.get(name) == value for name, value in about.items())
