"""``data_manifest.csv``: one row per volume; read, validate, fetch with checksum, load.

Columns: dataset, subject, split, contrast, uri, sha256, licence, source, notes; a missing value is
``n/a``.  A uri is ``phantom:SEED?key=value&...`` (made here, contrast ``any``), ``https://...``
(checksum required) or a path below the folder of the manifest.  Contrast ``mask`` is a brain mask,
``labels`` a FreeSurfer-coded label map.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from yoda_nb.data.places import PACKED
from yoda_nb.data.rows import MISSING, Row, phantom_uri, read_rows, scheme
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import sha256
from yoda_nb.images.volumes import Volume, conform, load_volume

FIELD_OF_VIEW = 192.0  # mm along each axis of a phantom: 64 voxels of 3 mm


@dataclass(frozen=True)
class Image:
    """Where one volume of a case is, and what it must hash to (None: not stated)."""

    uri: str
    sha256: str | None = None
    licence: str = MISSING
    source: str = MISSING
    notes: str = MISSING


@dataclass(frozen=True)
class Case:
    """One subject of one dataset: contrast -> Image, and the data folder that paths start from."""

    dataset: str
    subject: str
    split: str
    images: Mapping[str, Image]
    root: Path
    anatomy: Image | None = None  # the label map a phantom is made from; None: the MNI152 maps


def read_manifest(
    path: str | Path, *, dataset: str | None = None, split: str | None = None, root: str | Path | None = None
) -> list[Case]:
    """Cases in file order, all or those of one dataset and split.

    Local paths start at ``root``, by default the manifest's folder.  The whole file is checked
    first: names, schemes, checksums, nothing outside the root (symbolic links included), no
    duplicates, no subject and no anatomy in two splits.  Raises InputError naming file and line,
    or the datasets and splits there are.
    """
    path = Path(path)
    root = Path(root) if root is not None else path.parent
    rows = list(read_rows(path))
    if not rows:
        raise InputError(f"{path} has no rows: add at least one volume.")
    cases: dict[tuple[str, str], Case] = {}
    for line, row in rows:
        where = f"{path} line {line}"
        if not scheme(row.uri) and not _inside(root / row.uri, root):
            raise InputError(f"{where}: uri {row.uri!r} leads out of {root}: move the file there.")
        case = cases.setdefault((row.dataset, row.subject), Case(row.dataset, row.subject, row.split, {}, root))
        if row.contrast in case.images:
            raise InputError(f"{where}: {row.dataset} {row.subject} already has {row.contrast}.")
        if row.split != case.split:
            raise InputError(
                f"{where}: subject {row.subject} of {row.dataset} is in the splits "
                f"{case.split} and {row.split}: keep it in one."
            )
        images = {**case.images, row.contrast: _image(row)}
        if "any" in images and len(images) > 1:
            raise InputError(f"{where}: phantom {row.subject} has every contrast: drop other rows.")
        anatomy = _anatomy(where, row, [r for _, r in rows])
        cases[row.dataset, row.subject] = replace(case, images=images, anatomy=anatomy)
    return _select(path, list(cases.values()), dataset, split)


def load_case(
    case: Case,
    *,
    sources: Iterable[str],
    target: str | None = None,
    mirror: str | Path | None = None,
    spacing: float | None = None,
) -> Volume:
    """The case as a Volume: source (C, D, H, W), target (1, D, H, W) in [-1, 1], or None.

    Phantoms are generated (at ``spacing`` mm, over the same field of view), files fetched, read
    and, with ``spacing``, resampled to isotropic voxels.  A row with contrast ``mask`` is the
    brain mask; without one the brain is estimated.  Raises InputError naming the contrasts there
    are if one is missing, and for all that fetching and reading refuse.
    """
    sources = tuple(sources)
    if "any" in case.images:
        return _phantom(case, sources, target, mirror, spacing)
    wanted = sources + ((target,) if target else ())
    if lacking := [name for name in wanted if name not in case.images]:
        raise InputError(
            f"{case.subject} of {case.dataset} has no {', '.join(lacking)}: choose among {', '.join(case.images)}."
        )
    files = {
        name: fetch(image, root=case.root, mirror=mirror)
        for name, image in case.images.items()
        if name in (*wanted, "mask")
    }
    volume = load_volume(
        {name: files[name] for name in sources},
        target=(target, files[target]) if target else None,
        mask=files.get("mask"),
        subject=case.subject,
    )
    return conform(volume, spacing) if spacing else volume


def fetch(image: Image, *, root: str | Path, mirror: str | Path | None = None) -> Path:
    """A local file with the right checksum for a path or https uri; ``root``: the data folder.

    Downloads go to ``$YODA_NB_DATA``, by default ``root/data``, or the user's cache folder for the
    manifest that a wheel carries.  With ``mirror`` nothing is
    downloaded: the file is looked up by name anywhere below that folder and used in place.
    Raises InputError if the file is missing, cannot be downloaded or has another checksum; such
    a download is not kept.
    """
    status, path = locate(image, root=root, mirror=mirror)
    if status == "present":
        return path
    name = PurePosixPath(urlsplit(image.uri).path).name
    if status == "wrong checksum" and (mirror or not scheme(image.uri)):
        raise InputError(f"{path} does not have the sha256 of the manifest: replace the file.")
    if not scheme(image.uri):
        raise InputError(f"{path} does not exist: put the file there or correct the manifest.")
    if mirror:
        raise InputError(f"no file {name} lies below {mirror}: copy {image.uri} there.")
    import pooch

    cached = _cached(image, Path(root))
    try:
        pooch.retrieve(image.uri, known_hash=f"sha256:{image.sha256}", fname=cached.name, path=cached.parent)
    except ValueError as error:
        raise InputError(
            f"{image.uri} does not have the sha256 of the manifest and was not kept: "
            "check both, or pass --mirror DIR with a good copy."
        ) from error
    except OSError as error:  # requests' errors are OSErrors too
        raise InputError(
            f"cannot download {image.uri} to {cached.parent} ({type(error).__name__}): "
            "if this machine is offline, pass --mirror DIR with a copy."
        ) from error
    return cached


def locate(image: Image, *, root: str | Path, mirror: str | Path | None = None) -> tuple[str, Path]:
    """("present" | "missing" | "wrong checksum", path): where a volume is, without downloading."""
    root = Path(root)
    if scheme(image.uri) == "https":
        name = PurePosixPath(urlsplit(image.uri).path).name
        candidates = [_cached(image, root), *(sorted(Path(mirror).rglob(name)) if mirror else ())]
    elif _inside(root / image.uri, root):  # again: links can change after the manifest was read
        candidates = [root / image.uri]
    else:
        raise InputError(f"{image.uri!r} leads out of {root}: move the file there.")
    files = [path for path in candidates if path.is_file()]
    for path in files:
        if image.sha256 is None or sha256(path) == image.sha256:
            return "present", path
    return ("wrong checksum", files[-1]) if files else ("missing", candidates[0])


def check(cases: Iterable[Case], *, mirror: str | Path | None = None) -> list[dict[str, str]]:
    """One row per volume: dataset, subject, split, contrast, status, where.  Downloads nothing.

    Status is present, missing, wrong checksum, or generated (a phantom whose label map, if it
    needs one, is present; else that map's status).
    """
    table = []
    for case in cases:
        for contrast, image in case.images.items():
            file = case.anatomy if contrast == "any" else image
            status, path = locate(file, root=case.root, mirror=mirror) if file else ("", "")
            if contrast == "any" and status in ("", "present"):
                status = "generated"
            table.append(
                {
                    "dataset": case.dataset,
                    "subject": case.subject,
                    "split": case.split,
                    "contrast": contrast,
                    "status": status,
                    "where": str(path or image.uri),
                }
            )
    return table


def _phantom(case: Case, sources, target, mirror, spacing) -> Volume:
    from yoda_nb.data.phantom import phantom_case

    seed, options = phantom_uri(case.images["any"].uri)
    chosen = options.model_dump(exclude_none=True, exclude={"anatomy"})
    if spacing:
        chosen["spacing"] = float(spacing)
    if "spacing" in chosen:
        chosen["shape"] = (round(FIELD_OF_VIEW / chosen["spacing"]),) * 3
    if case.anatomy:
        chosen["anatomy"] = fetch(case.anatomy, root=case.root, mirror=mirror)
    if target:
        chosen["target"] = target
    volume = phantom_case(seed, sources=sources, **chosen)
    volume = replace(volume, subject=case.subject)
    return volume if target else replace(volume, target=None, clean=None)


def _image(row: Row) -> Image:
    digest = None if row.sha256 == MISSING else row.sha256
    return Image(row.uri, digest, row.licence, row.source, row.notes)


def _inside(path: Path, root: Path) -> bool:
    """Whether path stays below root once symbolic links are followed; opens nothing."""
    return path.resolve().is_relative_to(root.resolve())


def _cached(image: Image, root: Path) -> Path:
    """Where a download lives: its checksum in the name keeps equal names apart."""
    assert image.sha256 is not None, f"{image.uri} has no sha256, which every row with an https uri states"
    return _downloads(root) / f"{image.sha256[:12]}-{PurePosixPath(urlsplit(image.uri).path).name}"


def _downloads(root: Path) -> Path:
    """``$YODA_NB_DATA``, else beside the manifest; the user's cache where that is inside the package."""
    if named := os.environ.get("YODA_NB_DATA"):
        return Path(named)
    if root.resolve() == PACKED.resolve():
        import pooch

        return Path(pooch.os_cache("yoda-nb")) / "data"
    return root / "data"


def _anatomy(where: str, row: Row, rows: list[Row]) -> Image | None:
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
    return _image(maps[0])


def _select(path: Path, cases: list[Case], dataset: str | None, split: str | None) -> list[Case]:
    for field, wanted in (("dataset", dataset), ("split", split)):
        found = [case for case in cases if wanted in (None, getattr(case, field))]
        if not found:
            there = ", ".join(sorted({getattr(case, field) for case in cases}))
            of = f" of {dataset}" if dataset and field == "split" else ""
            raise InputError(f"{path} has no {field} {wanted!r}{of}: choose among {there}.")
        cases = found
    return cases
