"""Rows of a manifest from a downloaded folder, or from the listing of one that is published."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from yoda_nb.data.checksums import GIT
from yoda_nb.data.layouts import CONTRASTS, Layout
from yoda_nb.data.rows import COLUMNS, MISSING, Row, check_row, person_of
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import SUFFIXES, sha256

ORDER = list(dict.fromkeys(CONTRASTS.values()))
SPLITS = ("train", "val", "test")


class Scanned(NamedTuple):
    """What a folder holds."""

    rows: list[Row]
    left_out: list[str]  # paths of images that are a second one of a subject and contrast: other runs, other spaces


def scan(
    layout: Layout,
    folder: str | Path,
    *,
    base: str | Path | None = None,
    dataset: str | None = None,
    persons: Mapping[str, str] | None = None,
    hashed: bool = True,
    progress: bool = False,
) -> Scanned:
    """Rows of the images below ``folder`` that lie as ``layout`` has it, each with its SHA-256.

    Paths start at ``base``, by default the folder; an absolute path stands for what lies outside it, to be read
    with ``trust_paths``.  Splits are those of a ``participants.tsv`` with a column ``split``, else a hash of the
    person's name.  ``persons`` maps a subject to the person that it is, where names do not say it.  Without
    ``hashed`` no file is read.  Raises InputError for a folder that is none, or holds nothing of the kind.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name where the data set {layout.name} lies.")
    base = Path(base) if base is not None else folder
    paths = sorted(path for path in _images(folder) if layout.read(path))
    if not paths:
        raise InputError(
            f"{folder} holds no image that lies as the layout {layout.name} has it ({layout.shape}): "
            "check the folder, or choose another layout of 'yoda-nb data layouts'."
        )
    from tqdm.auto import tqdm

    kept, left_out = _first_of_each(layout, paths)
    files = {
        path: (_uri(folder / path, base), sha256(folder / path) if hashed else MISSING)
        for path in tqdm(kept, desc="checksums", disable=not progress)
    }
    return Scanned(_rows(layout, files, dataset, persons or {}, participants(folder)), left_out)


def published(layout: Layout, checksums: Mapping[str, str], *, dataset: str | None = None) -> list[Row]:
    """Rows of published files, path -> checksum, with the uris that they are downloaded from."""
    if not layout.url:
        raise InputError(f"the layout {layout.name} has no address that files could be downloaded from: scan a folder.")
    kept, _ = _first_of_each(layout, sorted(checksums))
    return _rows(layout, {path: (layout.url + path, checksums[path]) for path in kept}, dataset, {}, {})


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
    """person -> split of the folder's ``participants.tsv``; empty without one, or without a column ``split``."""
    path = folder / "participants.tsv"
    if not path.is_file():
        return {}
    table = read_table(path, ("participant_id",), delimiter="\t")
    found = {row["participant_id"]: row["split"] for row in table if row.get("split", MISSING) != MISSING}
    if wrong := [split for split in found.values() if split not in SPLITS]:
        raise InputError(f"{path}: split {wrong[0]!r} is none of {', '.join(SPLITS)}: correct the table.")
    return found


def read_table(path: str | Path, needed: Iterable[str], delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a table with a header; InputError where a needed column is not there."""
    table = csv.DictReader(_text(path).splitlines(), delimiter=delimiter, restval=MISSING)
    if lacking := [name for name in needed if name not in (table.fieldnames or ())]:
        raise InputError(f"{path} has no column {', '.join(lacking)}: add it.")
    return [{name: (cell or MISSING).strip() for name, cell in row.items() if name is not None} for row in table]


def write_rows(rows: Iterable[Row], file: IO[str]) -> None:
    """Rows as a manifest, to an open text file."""
    table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(row.model_dump() for row in rows)


def _images(folder: Path) -> Iterator[str]:
    """Paths of image files below a folder, with /, from it; links to folders are not followed, hidden ones left."""
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(here, name)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix()


def _first_of_each(layout: Layout, paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of each subject and contrast the first path; and the others."""
    kept: dict[tuple[str, str], str] = {}
    others = []
    for path in paths:
        if (found := layout.read(path)) and kept.setdefault((found.subject, found.contrast), path) != path:
            others.append(path)
    return list(kept.values()), others


def _rows(
    layout: Layout,
    files: Mapping[str, tuple[str, str]],
    dataset: str | None,
    persons: Mapping[str, str],
    splits: Mapping[str, str],
) -> list[Row]:
    """Checked rows by subject and contrast; ``files``: path -> uri and checksum."""
    rows = []
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
            raise InputError(f"{path} cannot be a row of a manifest: {error}: rename it.") from error
    rank = {name: k for k, name in enumerate(ORDER)}
    return sorted(rows, key=lambda row: (row.subject, rank.get(row.contrast, len(rank)), row.contrast))


def _uri(path: Path, base: Path) -> str:
    """A path from ``base`` if it lies below it, else the absolute one; links are not followed."""
    whole, root = Path(os.path.abspath(path)), Path(os.path.abspath(base))
    return (whole.relative_to(root) if whole.is_relative_to(root) else whole).as_posix()


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({type(error).__name__}): name another file.") from error
