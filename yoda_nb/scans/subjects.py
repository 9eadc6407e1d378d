"""One subject prepared or translated, with its page of control: what the shell does for one, and workers for many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yoda_nb.data.manifest import Case, fetch
from yoda_nb.data.scan import LeftOut
from yoda_nb.data.study import check_study_output, scan_study
from yoda_nb.errors import InputError, quiet
from yoda_nb.images.headers import PREPARED
from yoda_nb.images.nifti import Grid, atomic, is_ours, sha256, write_image
from yoda_nb.images.outputs import check_outputs
from yoda_nb.images.units import AIR, hounsfield, to_hounsfield
from yoda_nb.images.volumes import UNKNOWN, Volume
from yoda_nb.nets.devices import device_here
from yoda_nb.preparation.prepare import Prepared, prepare
from yoda_nb.scans.files import Opened
from yoda_nb.scans.qc import is_page, write_qc
from yoda_nb.scans.studies import translate_case
from yoda_nb.store import VERSIONS

RECORD, PAGE = "preparation.json", "qc.html"
KNOWN = {
    "ModelTitle": "what it is",
    "ModelTrainedOn": "trained on",
    "ModelLimits": "known limits",
    "ModelScores": "known scores",
}  # fields of a sidecar in the words of a page
MAPS = ("mask", "lesions", "labels")  # of a case: no contrasts


def chosen_cases(
    study: Path, dataset: str | None, subjects: Sequence[str], *, trust_paths: bool = False
) -> tuple[list[Case], list[LeftOut]]:
    """These subjects of a study, all by default, and what of the study is left out, each with its reason.

    Raises InputError for an unknown subject, and for two of one name.
    """
    cases, left_out = scan_study(study, dataset=dataset, trust_paths=trust_paths)
    names = [case.subject for case in cases]
    if unknown := sorted(set(subjects) - set(names)):
        raise InputError(f"{study} has no subject {unknown[0]!r}: it has {', '.join(names)}.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{study} has a subject {twice[0]} in two data sets: choose one with --dataset.")
    return [case for case in cases if not subjects or case.subject in subjects], left_out


def prepare_files(
    files: Mapping[str, str | Path], out: Path, *, spacing: float = 1.0, progress: bool = False, **how: Any
) -> dict[str, Any]:
    """Prepare one subject's files into ``out``: images and mask at ``spacing`` mm, qc.html, and last preparation.json.

    ``how`` goes to ``preparation.prepare``, ``progress`` shows its stages;
    returns what preparation.json says. Raises InputError as that does,
    where ``out`` cannot be written, and before anything is read where a file of it is one of the files given.
    """
    outputs = {f"-o's {name}": out / name for name in (*(f"{name}.nii.gz" for name in (*files, "mask")), PAGE, RECORD)}
    check_outputs(outputs, {f"the {name} image": path for name, path in files.items()} | {"the mask": how.get("mask")})
    _check_replaceable(out, outputs.values())
    request = _request(files, spacing=spacing, **how)  # before the files are read: a change since then must show
    with quiet():
        found = prepare(files, spacing=spacing, progress=progress, **how)
    volume = found.volume
    grid = Grid(volume.shape, volume.affine)
    written = {name: out / f"{name}.nii.gz" for name in (*found.after, "mask")}
    for name, image in found.after.items():
        cut = image.where(volume.mask, AIR if hounsfield(name) else 0.0)[0].numpy()
        write_image(cut, grid, written[name], made=f"{PREPARED}: {name}")
    write_image(volume.mask[0].numpy().astype("float32"), grid, written["mask"], made=f"{PREPARED}: mask")
    write_qc(found, out / PAGE)
    document = {
        "images": {name: str(path) for name, path in written.items()},
        "sha256": {name: sha256(path) for name, path in written.items()},
        "qc": str(out / PAGE),
        "reference": next(name for name in found.after if name not in found.registrations),
        "registrations": {
            name: {
                "matrix": r.matrix.tolist(),
                "shift_mm": round(r.shift, 3),
                "rotation_degrees": round(r.rotation, 3),
                "mutual_information": round(r.metric, 4),
            }
            for name, r in found.registrations.items()
        },
        "spacing_mm": spacing,
        "shape": list(volume.shape),
        "warnings": list(found.warnings),
        "of": request,
    }
    with atomic(out / RECORD) as part:
        part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document


def prepare_subject(
    case: Case,
    worker: Any = None,
    *,
    out: Path,
    contrasts: Sequence[str] = (),
    mirror: Path | None = None,
    spacing: float = 1.0,
    **how: Any,
) -> dict[str, Any]:
    """Prepare a case's ``contrasts`` (default: all there are) into ``out``/SUBJECT; a row for people.

    What was prepared of the same files with the same settings is left. Raises InputError naming a contrast that is
    lacking, and for a phantom, which needs no preparing.
    """
    check_study_output(out, [case])
    there = [name for name in case.images if name not in MAPS]
    if "any" in there:
        raise InputError(f"{case.subject} is a phantom: it lies on one grid, with its mask; choose another --dataset.")
    if lacking := [name for name in contrasts if name not in there]:
        raise InputError(f"{case.subject} has no {', '.join(lacking)}: it has {', '.join(there)}.")
    wanted = list(contrasts or there)
    files: dict[str, str | Path] = {
        name: fetch(case.images[name], root=case.root, mirror=mirror)
        for name in (*wanted, *({"mask"} & case.images.keys()))
    }
    how |= {"spacing": spacing, "subject": case.subject, "mask": files.pop("mask", None)}
    folder = out / case.subject
    row = {"subject": case.subject, "folder": str(folder), "state": "was there"}
    document = _kept(folder, _request(files, **how))
    if document is None:
        folder.mkdir(parents=True, exist_ok=True)
        document, row["state"] = prepare_files(files, folder, **how), "made"
    return row | {"images": ", ".join(document["images"]), "warnings": document["warnings"]}


def translate_subject(case: Case, worker: Any = None, *, device: str | None = None, **how: Any) -> dict[str, Any]:
    """``translate_case`` with its page of control beside the image, on the GPU of a worker of that name; its row."""
    how["device"] = device or device_here(worker)
    with quiet():
        done = translate_case(case, **how)
        page = done.path.with_name(done.path.name.replace(".nii.gz", "_qc.html"))
        if done.opened is None and not page.is_file():  # a run was stopped before its page
            done = translate_case(case, again=True, **how)
    if done.opened is not None:
        write_page(done.opened, page, done.result, done.row, known=done.known)
    return done.row


def write_page(
    opened: Opened,
    path: Path,
    result: Volume | None,
    document: Mapping[str, Any],
    *,
    known: Mapping[str, str] | None = None,
) -> None:
    """The page of control of an opened subject; of files that lay on one grid it shows mask and intensities.

    ``document`` says how the result was made, with its scores; ``known`` is what the model's card says (``known_of``).
    """
    facts = {k: document[k] for k in ("model", "system", "seed", "seconds") if k in document}
    facts |= {words: known[k] for k, words in KNOWN.items() if k in known} if known else {}
    found = opened.prepared
    if found is None:
        v = opened.volume
        images = {
            name: to_hounsfield(x[None], name) if hounsfield(name) else (x[None] + 1) / 2
            for name, x in zip(v.sources, v.source, strict=True)
        }
        found = Prepared(v, {}, images, images, ())
    subject = path.name.removesuffix("_qc.html").removesuffix(".html")
    name = found.volume.subject if found.volume.subject != UNKNOWN else subject
    found = replace(found, volume=replace(found.volume, subject=name), warnings=opened.warnings)
    scores = document.get("scores")
    write_qc(found, path, result=result, facts=facts, scores=scores)


def _check_replaceable(out: Path, paths: Iterable[Path]) -> None:
    """Refuse to write over files in ``out`` that no preparation made."""
    if (out / RECORD).is_file():  # a finished preparation: its files are ours
        return
    for path in paths:
        if path.exists() and not (is_page(path) if path.suffix == ".html" else is_ours(path)):
            raise InputError(f"{path} is there and was not made by yoda-nb: choose another folder.")


def _request(files: Mapping[str, str | Path], **how: Any) -> dict[str, Any]:
    """What a preparation is made of: content of files, settings and version, as JSON gives them back."""
    all_files = {name: Path(path) for name, path in {**files, "mask": how.pop("mask", None)}.items() if path}
    how.pop("keep", None)
    known = {name: [str(path.absolute()), sha256(path)] for name, path in all_files.items() if path.is_file()}
    return {"files": known, "settings": {name: how[name] for name in sorted(how)}, "version": VERSIONS["preparation"]}


def _kept(folder: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a finished preparation of the same request says, with all its files there; else None."""
    try:
        document = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        images = {name: Path(path) for name, path in document["images"].items()}
        whole = all(sha256(path) == document["sha256"][name] for name, path in images.items())
        return document if document["of"] == request and whole and Path(document["qc"]).is_file() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
