"""Rows of a manifest from a downloaded folder, or from the listing of one that is published."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from yoda_nb.data.checksums import GIT
from yoda_nb.data.layouts import CONTRASTS, Layout
from yoda_nb.data.rows import COLUMNS, MISSING, Row, check_row, person_of
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import SUFFIXES, sha256
from yoda_nb.images.outputs import check_there

ORDER = list(dict.fromkeys(CONTRASTS.values()))
SPLITS = ("train", "val", "test")


SYNTHETIC = "_desc-synthetic_"  # in names of images that this package made
OTHER_FORMATS = (
    ".hdr",
    ".img",
    ".img.gz",
    ".mgh",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".mnc",
    ".dcm",
    ".nii.bz2",
    ".nii.xz",
)


class LeftOut(NamedTuple):
    """A file or folder that a scan leaves out, and why."""

    path: str  # from the folder that is scanned, with /
    reason: str


class Scanned(NamedTuple):
    """What a folder holds."""

    rows: list[Row]
    left_out: list[LeftOut]


def scan(
    layout: Layout,
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dataset: str | None = None,
    persons: Mapping[str, str] | None = None,
    hashed: bool = True,
    progress: bool = False,
    need_splits: bool = True,
) -> Scanned:
    """Rows of the images below ``folder`` that lie as ``layout`` has it, each with its SHA-256; and what is left out.

    Paths start at ``base``, by default the folder; an absolute path stands for what lies outside it, to be read
    with ``trust_paths``.  Splits are those of a ``participants.tsv`` with a column ``split``, else a hash of the
    person's name.  ``persons`` maps a subject to the person that it is, where names do not say it.  Without
    ``hashed`` no file is read; without ``need_splits`` a table of splits that cannot be read is left out.  Left out,
    each with its reason, is every image whose name or content will not do.
    Raises InputError for a folder that is none, or holds nothing of the kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name where the data set {layout.name} lies.")
    base = Path(base) if base is not None else folder
    paths, left_out = _images(folder, layout)
    kept, others = _first_of_each(layout, paths)
    left_out += [
        LeftOut(path, f"a second {contrast} of {who}: {first} is taken") for path, who, contrast, first in others
    ]
    from tqdm.auto import tqdm

    files = {
        path: (_uri(folder / path, base), sha256(folder / path) if hashed else MISSING)
        for path in tqdm(kept, desc="checksums", disable=not progress)
    }
    try:
        splits = participants(folder)
    except InputError as error:
        if need_splits:
            raise
        splits, table = {}, folder / "participants.tsv"
        left_out.append(
            LeftOut(table.name, str(error).removeprefix(f"{table} ").removeprefix(f"{table}: ").rstrip("."))
        )
    rows, refused = _rows(layout, files, dataset, persons or {}, splits)
    left_out = sorted([*left_out, *refused])
    if layout.name == "bids":
        left_out += _absent(folder, {*kept, *(one.path for one in left_out)})
    if not rows:
        why = f"; left out: {describe_left_out(left_out)}" if left_out else ""
        raise InputError(
            f"{folder} contains no image at the place that the layout {layout.name} has it ({layout.shape}): "
            f"check the folder, or choose another layout of 'yoda-nb data layouts'{why}"
        )
    return Scanned(rows, left_out)


def describe_left_out(left_out: Sequence[LeftOut], most: int = 20) -> str:
    """What was left out in one line of "path (reason)", the first ``most`` of it."""
    said = "; ".join(f"{path} ({reason})" for path, reason in left_out[:most])
    return said + (f"; and {len(left_out) - most} more" if len(left_out) > most else "")


def published(layout: Layout, checksums: Mapping[str, str], *, dataset: str | None = None) -> list[Row]:
    """Rows of published files, path -> checksum, with the uris that they are downloaded from."""
    if not layout.url:
        raise InputError(f"the layout {layout.name} has no address that files could be downloaded from: scan a folder.")
    kept, _ = _first_of_each(layout, sorted(path for path in checksums if layout.read(path)))
    rows, refused = _rows(layout, {path: (layout.url + path, checksums[path]) for path in kept}, dataset, {}, {})
    if refused:
        raise InputError(f"{refused[0].path} cannot be a row of a manifest: {refused[0].reason}.")
    return rows


def read_listing(listing: str | Path, sums: str | Path | None = None) -> dict[str, str]:
    """path -> checksum of a CSV file with the columns path and git_blob_sha1, as ``git ls-tree -r`` knows them.

    ``sums``, written by ``sha256sum``, says the SHA-256 of some of them, which is then taken instead.
    """
    table = read_table(listing, ("path", "git_blob_sha1"))
    found = {row["path"]: GIT + row["git_blob_sha1"].lower() for row in table}
    if sums is not None:
        for line in _text(sums).splitlines():
            digest, _, path = line.partition(" ")
            if (name := path.strip(" *").removeprefix("./")) in found:
                found[name] = digest.lower()
    return found


def participants(folder: Path) -> dict[str, str]:
    """person -> split of the folder's ``participants.tsv``; empty without one, or without a column ``split``.

    The table may be in any code of letters: names of persons are plain ones in BIDS.
    """
    path = folder / "participants.tsv"
    if not path.is_file():
        return {}
    table = _table(_text(path, any_code=True), "\t")
    if not table or "split" not in table[0]:
        return {}
    if "participant_id" not in table[0]:
        raise InputError(f"{path} has a column split, but no column participant_id: add it.")
    found = {row["participant_id"]: row["split"] for row in table if row.get("split", MISSING) != MISSING}
    if wrong := [split for split in found.values() if split not in SPLITS]:
        raise InputError(f"{path}: split {wrong[0]!r} is none of {', '.join(SPLITS)}: correct the table.")
    return found


def read_table(path: str | Path, needed: Iterable[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table with a header; InputError where a needed column is not there."""
    text = _text(path)
    names = next(csv.reader(text.splitlines()[:1], delimiter=delimiter), [])
    if lacking := [name for name in needed if name not in names]:
        raise InputError(f"{path} has no column {', '.join(lacking)}: add it.")
    return _table(text, delimiter)


def _table(text: str, delimiter: str) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=delimiter, restval=MISSING))
    except csv.Error as error:
        raise InputError(f"the table cannot be read ({error}): save it again.") from error
    return [{name: (cell or MISSING).strip() for name, cell in row.items() if name is not None} for row in rows]


def write_rows(rows: Iterable[Row], file: IO[str]) -> None:
    """Rows as a manifest, to an open text file."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(row.model_dump() for row in rows)


def _images(folder: Path, layout: Layout) -> tuple[list[str], list[LeftOut]]:
    """Paths of the layout's images below a folder, with /, from it; and images and folders that are left out.

    Links to folders are not followed; what is hidden is no part of a data set.
    """
    found, left_out = [], []

    def note(path: Path, reason: str) -> None:
        left_out.append(LeftOut(path.relative_to(folder).as_posix(), reason))

    def unreadable(error: OSError) -> None:
        note(Path(error.filename), f"the folder cannot be read: {error.strerror}")

    for here, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if name.lower().endswith(SUFFIXES):
                note(Path(here, name), "a folder, not an image file")
            elif Path(here, name).is_symlink():
                note(Path(here, name), "a link to a folder is not followed: scan the folder that it leads to")
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(here, name)
            reason = _unfit(path, path.relative_to(folder).as_posix(), layout)
            if reason is None:
                found.append(path.relative_to(folder).as_posix())
            elif reason:
                note(path, reason)
    return sorted(found), left_out


def _unfit(path: Path, name: str, layout: Layout) -> str | None:
    """Why a file is not among the images: a reason, "" for what is no image, None for one that is."""
    lower = name.lower()
    if lower.endswith(OTHER_FORMATS):
        return layout.unread(name) and "not a NIfTI file: convert it"
    if not lower.endswith(SUFFIXES):
        return ""
    if layout.read(name) is None:
        return layout.unread(name) if not lower.endswith(".mgz") else "not a NIfTI file: convert it"
    if SYNTHETIC in path.name or _says_synthetic(path):
        return "a synthetic image, not an acquired one"
    try:
        check_there(path)
    except InputError as error:
        return str(error).removeprefix(f"{path} ").rstrip(".")
    return None


def _says_synthetic(path: Path) -> bool:
    """Whether the JSON file beside an image says that it is synthetic."""
    name = re.sub(r"\.nii(\.gz)?$", ".json", path.name, flags=re.IGNORECASE)
    try:
        said = json.loads(path.with_name(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and bool(said.get("Synthetic"))


def _absent(folder: Path, named: Collection[str]) -> list[LeftOut]:
    """Subjects of a BIDS folder of which there is no image at all: empty folders, dead links, rows of the table."""
    seen = {path.split("/")[0] for path in named}
    absent = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("sub-") and path.name not in seen and not path.is_file():
            gone = path.is_symlink() and not path.exists()
            absent.append(
                LeftOut(path.name, "a link to nothing" if gone else "the folder contains no image: download it")
            )
    table = folder / "participants.tsv"
    try:
        rows = _table(_text(table, any_code=True), "\t") if table.is_file() else []
    except InputError:
        rows = []
    there = {path.name for path in folder.iterdir()}
    listed = dict.fromkeys(row.get("participant_id", "") for row in rows)
    return absent + [
        LeftOut(name, "listed in participants.tsv, but not here")
        for name in listed
        if name.startswith("sub-") and name not in there
    ]


def _first_of_each(layout: Layout, paths: Iterable[str]) -> tuple[list[str], list[tuple[str, str, str, str]]]:
    """Of each subject and contrast the first path; and the others with subject, contrast and that first path."""
    kept: dict[tuple[str, str], str] = {}
    others = []
    for path in paths:
        found = layout.read(path)
        assert found is not None
        first = kept.setdefault((found.subject, found.contrast), path)
        if first != path:
            others.append((path, found.subject, found.contrast, first))
    return list(kept.values()), others


def _rows(
    layout: Layout,
    files: Mapping[str, tuple[str, str]],
    dataset: str | None,
    persons: Mapping[str, str],
    splits: Mapping[str, str],
) -> tuple[list[Row], list[LeftOut]]:
    """Checked rows by subject and contrast, and what cannot be one; ``files``: path -> uri and checksum."""
    rows, refused = [], []
    for path, (uri, checksum) in files.items():
        found = layout.read(path)
        assert found is not None
        name, _, visit = found.subject.partition("_ses-")
        subject = f"{persons[name]}_ses-{visit or name}" if name in persons else found.subject
        cells = {
            "dataset": dataset or layout.dataset or layout.name,
            "subject": subject,
            "split": splits.get(person_of(subject)) or layout.split(subject),
            "contrast": found.contrast,
            "uri": uri,
            "sha256": checksum,
            "licence": layout.licence,
            "source": layout.source,
            "notes": found.notes,
        }
        try:
            rows.append(check_row(cells, trust_paths=True))
        except ValueError as error:
            refused.append(LeftOut(path, f"{error}: rename it"))
    rank = {name: k for k, name in enumerate(ORDER)}
    return sorted(rows, key=lambda row: (row.subject, rank.get(row.contrast, len(rank)), row.contrast)), refused


def _uri(path: Path, base: Path) -> str:
    """A path from ``base`` if it lies below it, else the absolute one; links are not followed."""
    whole, root = Path(os.path.abspath(path)), Path(os.path.abspath(base))
    return (whole.relative_to(root) if whole.is_relative_to(root) else whole).as_posix()


def _text(path: str | Path, *, any_code: bool = False) -> str:
    """A file as text in UTF-8, or as UTF-16 where it says so, or with ``any_code`` in a code of single bytes."""
    try:
        data = Path(path).read_bytes()
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if any_code and isinstance(error, UnicodeDecodeError):
            return data.decode("latin-1")
        raise InputError(f"{path} cannot be read as text ({type(error).__name__}): save it as UTF-8.") from error
