"""Whole studies: every subject of a BIDS folder or a manifest to a derivative with its sidecar."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoda_nb import __version__
from yoda_nb.data.bids import SUFFIX, check_derivatives, derivative_path, read_sidecar, write_derivative
from yoda_nb.data.manifest import Case, fetch
from yoda_nb.data.study import check_study_output
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import on_one_grid, sha256
from yoda_nb.images.units import called, part_of
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import evaluate
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import known_of
from yoda_nb.scans.files import Opened, model_spacing, open_files
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
    known: Mapping[str, str] = field(default_factory=dict)  # of the model (``known_of``)


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

    An acquired target of the case scores the result. Preparations are kept in ``out/prepared``. What is there already
    is left, unless it is to be made ``again``: a whole image made of files of the same content by the same model,
    settings, preparation and version. Raises InputError naming the contrasts that are lacking, and for an ``out`` in
    the study itself.
    """
    find_device(device)
    check_study_output(out, [case])
    check_derivatives(out, raw)
    if not sources:
        raise InputError("No source contrast was given: name at least one, such as T1w.")
    names = {name: called(name, case.images) for name in (*sources, target)}
    if lacking := [name for name in sources if names[name] is None]:
        raise InputError(
            f"{case.subject} of {case.dataset} has no {', '.join(lacking)}: it has {', '.join(case.images)}."
        )
    files = {
        name: fetch(case.images[own], root=case.root, mirror=mirror) for name, own in names.items() if own is not None
    }
    mask = fetch(case.images["mask"], root=case.root, mirror=mirror) if "mask" in case.images else None
    acquired = files.pop(target, None)
    aim, part = (target, acquired) if acquired else None, part_of((*sources, target))
    spec = get_system(system, **(settings or {}))
    registered = not on_one_grid(files | ({target: acquired} if acquired else {}))
    weights = model or spec.weights
    weights = weights or find_model(sources, target, model_spacing(files, registered), steps=spec.n_steps)
    chosen = load_model(weights)
    about = {
        "System": system,
        "ModelSHA256": chosen.sha256,
        "Seed": seed,
        "Settings": dict(settings or {}),
        "Version": __version__,
        **_made_of(files | ({target: acquired} if acquired else {}) | ({"mask": mask} if mask else {})),
        **_made_by(registered, bias, tool),
    }
    label = bids_label(case.subject)
    path = derivative_path(out, label, None, target, space=SUFFIX.get(sources[0], sources[0]))
    row: dict[str, Any] = {"subject": case.subject, "file": str(path), "model": chosen.name, "system": system}
    if not again and (said := _done_before(path, about)):
        return Done(path, row | {"state": "was there", "warnings": said.get("Warnings", [])})
    opened = open_files(
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
        opened.volume, system, seed=seed, device=device, model=weights, contrast=target, **(settings or {})
    )
    row |= {"state": "made", "seconds": round(time.monotonic() - begun, 1)}
    if opened.volume.target is not None:
        row["scores"] = evaluate(opened.volume, result)
    row["warnings"] = list(opened.warnings)
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
        more=about | {"Warnings": row["warnings"]} | known_of(chosen.card),
    )
    return Done(path, row, opened, result, known_of(chosen.card))


def _made_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """Checksums of all files that an image is made of, and scored by, for its sidecar."""
    return {"ContentSHA256": {name: sha256(path) for name, path in files.items()}}


def _made_by(registered: bool, bias: bool, tool: str | None) -> dict[str, Any]:
    """How files became a volume, for the sidecar: bias fields are removed of what is registered."""
    return {"Registered": registered, "BiasRemoved": registered and bias, "BrainTool": tool or ""}


def bids_label(subject: str) -> str:
    """A subject's name with letters and digits alone, as BIDS wants it: long-03_ses-2 is long03_ses-2."""
    person, visit, name = subject.removeprefix("sub-").partition("_ses-")
    return re.sub("[^A-Za-z0-9]", "", person) + visit + re.sub("[^A-Za-z0-9]", "", name)


def _done_before(path: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """The sidecar of an image that is there, whole, and says the same of how it was made; else None."""
    said, about = read_sidecar(path) if path.is_file() else None, json.loads(json.dumps(about))
    if said is None or any(said.get(name) != value for name, value in about.items()):
        return None
    return said if said.get("ImageSHA256") == sha256(path) else None
