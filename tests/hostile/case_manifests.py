"""Manifests of local, mirrored and generated volumes: what they lead to is inside, and has its checksum."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from random import Random

from inputs import SECRET, Case, Input
from mutate import WORDS, mutated_bytes

from yoda_nb.data.fetch import check, fetch, inside
from yoda_nb.data.manifest import read_manifest
from yoda_nb.data.rows import COLUMNS, person_of, phantom_uri, scheme
from yoda_nb.errors import InputError

Table = list[list[str]]
URL = "https://localhost/maps/far.nii.gz"
FILES = {
    "manifest.csv": b"",
    "images/a.nii.gz": b"one",
    "images/b.nii.gz": b"two",
    "mirror/maps/far.nii.gz": b"far",
    "mirror/other/far.nii.gz": b"another of that name",
}
NAMES = (*FILES, "images", "mirror")


def bases() -> Table:
    def row(subject: str, contrast: str, uri: str, digest: str, split: str = "test") -> list[str]:
        return ["own", subject, split, contrast, uri, digest, "CC0", "made here", "n/a"]

    far = hashlib.sha256(FILES["mirror/maps/far.nii.gz"]).hexdigest()
    return [
        list(COLUMNS),
        row("s1", "T1w", "images/a.nii.gz", hashlib.sha256(b"one").hexdigest()),
        row("s1", "T2w", "images/b.nii.gz", "git:" + hashlib.sha1(b"blob 3\0two").hexdigest()),
        row("s2_ses-1", "T1w", "images/a.nii.gz", "n/a", "train"),
        row("s2_ses-2", "labels", URL, far, "train"),
        row("p1", "any", "phantom:7?sigma=0.05&lesions=true", "n/a", "train"),
        row("p2", "any", "phantom:8?anatomy=s2_ses-2", "n/a", "train"),
    ]


def good(table: Table) -> Input:
    return Input({**FILES, "manifest.csv": "".join(",".join(row) + "\n" for row in table).encode()})


def mutated(rng: Random, table: Table) -> Input:
    """Cells, rows or columns changed, or the bytes of the file; a name of the folder may be a link."""
    how = rng.random()
    table = [row[:] for row in table]
    for _ in range(rng.choice((1, 1, 2)) if how < 0.8 else 0):
        _change(rng, table)
    raw = written(rng, table)
    if how > 0.75:
        raw = mutated_bytes(rng, raw, b"".join(FILES.values()))
    links = {}
    if rng.random() < 0.15:
        target = rng.choice((SECRET, "../" + SECRET, "nowhere", ".", "a.nii.gz", "/etc/passwd", "../secret"))
        links[rng.choice(("images/a.nii.gz", "images/b.nii.gz", "images/c.nii.gz"))] = target
    files = {**FILES, "manifest.csv": raw}
    if rng.random() < 0.05:
        files[rng.choice(NAMES)] = rng.randbytes(9)
    return Input(files, links)


def _change(rng: Random, table: Table) -> None:
    row = rng.choice(table)
    how = rng.random()
    if how < 0.75 and row:
        row[rng.randrange(len(row))] = _cell(rng, table)
    elif how < 0.8 and row:
        del row[rng.randrange(len(row))]
    elif how < 0.85:
        row.append(rng.choice(WORDS))
    elif how < 0.95:
        table.append(rng.choice(table)[:])
    else:
        del table[rng.randrange(len(table))]
    if not table:
        table.append([])


def _cell(rng: Random, table: Table) -> str:
    if rng.random() < 0.2:
        return rng.choice(("images/../images/a.nii.gz", "images", ".", "images/c.nii.gz", "mirror/maps/far.nii.gz"))
    if rng.random() < 0.2:
        return "phantom:1?" + rng.choice(("sigma=-1", "sigma=nan", "spacing=1e9", "seed=3", "a", "lesions=maybe", "&"))
    if rng.random() < 0.3:
        return rng.choice([cell for row in table for cell in row] or [""])
    return rng.choice(WORDS)


def written(rng: Random, table: Table) -> bytes:
    """The file: encoded, ended and parted in one of the ways that are met."""
    file = io.StringIO()
    parted = rng.choice((",", ",", ",", ",", ",", ";", "\t"))
    csv.writer(file, delimiter=parted, lineterminator=rng.choice(("\n", "\n", "\r\n", "\r"))).writerows(table)
    code = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return file.getvalue().encode(code, "replace" if code == "latin-1" else "surrogatepass")


def read(folder: Path, table: Table, same: bool) -> None:
    cases = read_manifest(folder / "manifest.csv")
    assert cases, "no cases and no complaint"
    splits: dict[tuple[str, str], set[str]] = {}
    for case in cases:
        splits.setdefault((case.dataset, person_of(case.subject)), set()).add(case.split)
        assert all(len(word) == len(word.strip()) > 0 for word in (case.dataset, case.subject, *case.images))
    assert all(len(found) == 1 and found <= {"train", "val", "test", "n/a"} for found in splits.values())
    assert all(row["status"] for row in check(cases, mirror=folder / "mirror"))
    refused = []
    for case in cases:
        for contrast, image in {**case.images, **({"labels": case.anatomy} if case.anatomy else {})}.items():
            if contrast == "any":
                seed, options = phantom_uri(image.uri)
                assert 0 <= seed < 10**18 and 0 <= (options.sigma or 0) <= 1
                continue
            try:
                path = fetch(image, root=case.root, mirror=folder / "mirror")
            except InputError as error:
                refused.append(error)
                continue
            assert scheme(image.uri) in ("", "https") and inside(path, folder), path
            assert image.sha256 is None or image.sha256 in _digests(path.read_bytes()), path
    if refused:
        raise refused[0]


def _digests(data: bytes) -> tuple[str, str]:
    return hashlib.sha256(data).hexdigest(), "git:" + hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


CASE = Case("manifests", 15, bases, good, mutated, read)
