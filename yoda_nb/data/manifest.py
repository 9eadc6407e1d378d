"""``data_manifest.csv``: one row per volume; read, validate, fetch with checksum, load.

Columns: dataset, subject, split, contrast, uri, sha256, licence, source, notes; a missing value is
``n/a``.  A uri is ``phantom:SEED?key=value&...`` (made here, contrast ``any``), ``https://...``
(checksum required) or a path below the folder of the manifest.  ``sha256`` may instead hold ``git:``
and a git blob id.  Contrast ``mask`` is a brain mask, ``labels`` a FreeSurfer-coded label map,
``lesions`` a map of lesions.  Subjects ``NAME_ses-VISIT`` are visits of one person, who belongs to one split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoda_nb.data.fetch import Case as Case
from yoda_nb.data.fetch import Image as Image
from yoda_nb.data.fetch import check as check
from yoda_nb.data.fetch import downloads, inside
from yoda_nb.data.fetch import fetch as fetch
from yoda_nb.data.fetch import locate as locate
from yoda_nb.data.rows import MISSING, TRUST, Row, phantom_uri, read_rows, scheme
from yoda_nb.errors import InputError, quiet
from yoda_nb.images.masks import as_mask
from yoda_nb.images.nifti import SAME_MM, corner_distance, on_one_grid, read_grid, read_voxels, tell
from yoda_nb.images.units import called
from yoda_nb.images.volumes import Volume, conform
from yoda_nb.preparation.load import load_volume
from yoda_nb.preparation.prepare import prepare
from yoda_nb.preparation.register import Registration, moved

REGISTERED = 1.0  # mm, of what is registered


def read_manifest(
    path: str | Path,
    *,
    dataset: str | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    trust_paths: bool = False,
) -> list[Case]:
    """Cases in file order, all or those of one dataset and split.

    Local paths start at ``root``, by default the manifest's folder.  The whole file is checked
    first: names, schemes, checksums, nothing outside the root (symbolic links included), no
    duplicates, no person and no anatomy in two splits.  With ``trust_paths`` paths may be absolute
    and lead out of the root; the cases remember it.  Raises InputError naming file and line,
    or the datasets and splits there are.
    """
    path = Path(path)
    root = Path(root) if root is not None else path.parent
    rows = [(f"{path} line {line}", row) for line, row in read_rows(path, trust_paths=trust_paths)]
    if not rows:
        raise InputError(f"{path} has no rows: add at least one volume.")
    return _select(path, cases_of(rows, root, trust_paths=trust_paths), dataset, split)


def cases_of(rows: Iterable[tuple[str, Row]], root: Path, *, trust_paths: bool = False) -> list[Case]:
    """Rows, each with words for where it stands, as cases; InputError where they contradict each other."""
    rows = list(rows)
    cases: dict[tuple[str, str], Case] = {}
    splits: dict[tuple[str, str], tuple[str, str]] = {}  # of a person: split, and the subject that is in it
    for where, row in rows:
        if not scheme(row.uri) and not trust_paths and not inside(root / row.uri, root):
            raise InputError(f"{where}: uri {row.uri!r} leads out of {root}: move the file there, or {TRUST}.")
        case = cases.setdefault((row.dataset, row.subject), Case(row.dataset, row.subject, row.split, {}, root))
        if row.contrast in case.images:
            raise InputError(f"{where}: {row.dataset} {row.subject} already has {row.contrast}.")
        split, other = splits.setdefault((row.dataset, row.person), (row.split, row.subject))
        if row.split != split:
            twice = f"subject {row.subject}" if other == row.subject else f"one person as {other} and {row.subject}"
            raise InputError(
                f"{where}: {twice} of {row.dataset} is in the splits {split} and {row.split}: keep to one."
            )
        images = {**case.images, row.contrast: _image(row, trust_paths)}
        if "any" in images and len(images) > 1:
            raise InputError(f"{where}: phantom {row.subject} has every contrast: drop other rows.")
        anatomy = _anatomy(where, row, [r for _, r in rows], trust_paths)
        cases[row.dataset, row.subject] = replace(case, images=images, anatomy=anatomy)
    return list(cases.values())


def load_case(
    case: Case,
    *,
    sources: Iterable[str],
    target: str | None = None,
    mirror: str | Path | None = None,
    spacing: float | None = None,
    keep: Path | None = None,
) -> Volume:
    """The case as a Volume: source (C, D, H, W), target (1, D, H, W) in [-1, 1], or None.

    Phantoms are generated (at ``spacing`` mm, over the same field of view), files fetched, read
    and, with ``spacing``, resampled to isotropic voxels.  Files on different grids are registered to
    the first source and brought to ``spacing``, by default 1 mm (``preparation.prepare``, kept in
    ``keep``, by default beside the downloads).  A row with contrast ``mask`` is the brain mask; without one the brain
    is estimated; one with contrast ``lesions`` becomes the Volume's lesions.  Raises InputError naming the contrasts
    there are if one is missing, and for all that fetching and reading refuse.
    """
    sources = tuple(sources)
    if "any" in case.images:
        return _phantom(case, sources, target, mirror, spacing)
    wanted = sources + ((target,) if target else ())
    own = {name: called(name, case.images) for name in (*wanted, "mask", "lesions")}
    if lacking := [name for name in wanted if own[name] is None]:
        raise InputError(
            f"{case.subject} of {case.dataset} has no {', '.join(lacking)}: choose among {', '.join(case.images)}."
        )
    files = {
        name: fetch(case.images[there], root=case.root, mirror=mirror)
        for name, there in own.items()
        if there is not None
    }
    mask, lesions = files.pop("mask", None), files.pop("lesions", None)
    given: dict[str, Any] = {"target": (target, files[target]) if target else None, "mask": mask}
    paths = {name: files[name] for name in sources}
    if not on_one_grid(files):
        how: dict[str, Any] = {"spacing": spacing or REGISTERED, "subject": case.subject, "keep": keep or _kept(case)}
        with quiet():
            found = prepare(paths, **given, **how)
        tell(f"{case.subject}: {sentence}" for sentence in found.volume.doubts)
        return _with_lesions(found.volume, lesions, files, found.registrations) if lesions else found.volume
    with quiet():
        volume = load_volume(paths, **given, subject=case.subject)
    tell(f"{case.subject}: {sentence}" for sentence in volume.doubts)
    if lesions:
        volume = _with_lesions(volume, lesions, files, {})
    return conform(volume, spacing) if spacing else volume


def _with_lesions(volume: Volume, path: Path, files: Mapping[str, Path], found: Mapping[str, Registration]) -> Volume:
    """A volume with the lesions that an expert drew on one of its images; none of them outside its mask.

    They are carried as the image whose grid they are on was registered. Raises InputError for a grid that is none of
    the images'.
    """
    drawn, affine, grid = read_voxels(path)
    lesions, said = as_mask(drawn, may_be_image=False)
    for name, file in files.items():
        if corner_distance(grid.canonical(), read_grid(file).canonical()) <= SAME_MM:
            matrix = found[name].matrix if name in found else np.eye(4)
            break
    else:
        raise InputError(
            f"the lesions {path} are on the grid of none of {', '.join(files)}: resample them to that of the image "
            "they were drawn on."
        )
    place = np.linalg.inv(matrix) @ affine
    if np.allclose(place, volume.affine) and lesions.shape == volume.shape:
        there = lesions
    else:
        there = moved(lesions.astype(np.float32), place, volume.affine, volume.shape, order=1) > 0.5
    more = (*grid.doubts, *([f"{path} {said}"] if said and "labels" not in said else []))
    tell(f"{volume.subject}: {sentence}" for sentence in more)
    return replace(volume, lesions=torch.from_numpy(there)[None] & volume.mask, doubts=(*volume.doubts, *more))


def _kept(case: Case) -> Path:
    """Where preparations are kept: beside what is downloaded."""
    return downloads(case.root) / "prepared"


def _phantom(case: Case, sources, target, mirror, spacing) -> Volume:
    from yoda_nb.phantoms.phantom import field_of_view, phantom_case

    seed, options = phantom_uri(case.images["any"].uri)
    chosen = options.model_dump(exclude_none=True, exclude={"anatomy"})
    if spacing:
        chosen["spacing"] = float(spacing)
    if "spacing" in chosen:
        chosen["shape"] = field_of_view((*sources, *([target] if target else [])), chosen["spacing"])
    if case.anatomy:
        chosen["anatomy"] = fetch(case.anatomy, root=case.root, mirror=mirror)
    if target:
        chosen["target"] = target
    volume = phantom_case(seed, sources=sources, **chosen)
    volume = replace(volume, subject=case.subject)
    return volume if target else replace(volume, target=None, clean=None)


def _image(row: Row, trusted: bool) -> Image:
    digest = None if row.sha256 == MISSING else row.sha256
    return Image(row.uri, digest, row.licence, row.source, row.notes, trusted)


def _anatomy(where: str, row: Row, rows: list[Row], trusted: bool) -> Image | None:
    """The label map that a phantom row names; it must exist once, and in the same split."""
    if row.contrast != "any" or not (name := phantom_uri(row.uri)[1].anatomy):
        return None
    maps = [r for r in rows if r.contrast == "labels" and r.subject == name]
    if len(maps) != 1:
        raise InputError(
            f"{where}: anatomy {name} needs exactly one row of contrast labels with that subject, found {len(maps)}."
        )
    if maps[0].split != row.split:
        raise InputError(
            f"{where}: anatomy {name} is in split {maps[0].split}, its phantom in "
            f"{row.split}: a brain belongs to one split."
        )
    return _image(maps[0], trusted)


def _select(path: Path, cases: list[Case], dataset: str | None, split: str | None) -> list[Case]:
    for field, wanted in (("dataset", dataset), ("split", split)):
        found = [case for case in cases if wanted in (None, getattr(case, field))]
        if not found:
            there = ", ".join(sorted({getattr(case, field) for case in cases}))
            of = f" of {dataset}" if dataset and field == "split" else ""
            raise InputError(f"{path} has no {field} {wanted!r}{of}: choose among {there}.")
        cases = found
    return cases
