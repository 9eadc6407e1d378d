"""One file of the manifest: where it is, and how it is fetched; nothing is used that has another checksum."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from yoda_nb.data.checksums import GIT, digest, matches, short
from yoda_nb.data.places import PACKED
from yoda_nb.data.rows import MISSING, TRUST, scheme
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import MAX_VOXELS

MOST = 8 * MAX_VOXELS  # bytes of a download: the largest volume that is read, in float64


@dataclass(frozen=True)
class Image:
    """Where one volume of a case is, and what it must hash to (None: not stated)."""

    uri: str
    sha256: str | None = None  # or ``git:`` and a blob id
    licence: str = MISSING
    source: str = MISSING
    notes: str = MISSING
    trusted: bool = False  # a path may lead out of the data folder


@dataclass(frozen=True)
class Case:
    """One subject of one dataset: contrast -> Image, and the data folder that paths start from."""

    dataset: str
    subject: str
    split: str
    images: Mapping[str, Image]
    root: Path
    anatomy: Image | None = None  # the label map a phantom is made from; None: the MNI152 maps

    @property
    def local(self) -> list[Path]:
        """The images that are files of this machine, not phantoms or downloads."""
        return [self.root / image.uri for image in self.images.values() if not scheme(image.uri)]


def fetch(image: Image, *, root: str | Path, mirror: str | Path | None = None) -> Path:
    """A local file with the right checksum for a path or https uri; ``root``: the data folder.

    Downloads go to ``$YODA_NB_DATA``, by default ``root/data``, or the user's cache folder for the
    manifest that a wheel carries.  With ``mirror`` nothing is
    downloaded: the file is looked up by name anywhere below that folder and used in place; of several
    of that name the one with the checksum is taken. A path is looked up below ``root``, then below ``mirror``.
    Raises InputError if the file is missing, cannot be downloaded, is larger than ``MOST`` bytes or has
    another checksum; such a download is not kept.
    """
    status, path = locate(image, root=root, mirror=mirror)
    if status == "present":
        return path
    local = not scheme(image.uri)
    if status == "wrong checksum" and local:
        raise InputError(f"{path} does not have the checksum of the manifest: replace the file.")
    if local:
        raise InputError(
            f"{path} does not exist: put the file there, name the folder that has {image.uri} with --mirror, or "
            "correct the manifest."
        )
    if mirror:
        name, found = _name(image), list(_mirrored(image, Path(mirror)))
        if not found:
            raise InputError(f"no file {name} lies below {mirror}: copy {image.uri} there.")
        raise InputError(
            f"of the files {name} below {mirror} ({len(found)}, first {found[0]}) none has the checksum of the "
            f"manifest: copy {image.uri} there."
        )
    return _download(image, _cached(image, Path(root)))


def locate(image: Image, *, root: str | Path, mirror: str | Path | None = None) -> tuple[str, Path]:
    """("present" | "missing" | "wrong checksum", path): where a volume is, without downloading."""
    root = Path(root)
    if scheme(image.uri) == "https":
        candidates = [_cached(image, root), *(_mirrored(image, Path(mirror)) if mirror else ())]
    elif image.trusted or inside(root / image.uri, root):  # again: links can change after the manifest was read
        candidates = [root / image.uri]
        if mirror and inside(Path(mirror) / image.uri, Path(mirror)):
            candidates.append(Path(mirror) / image.uri)
    else:
        raise InputError(f"{image.uri!r} leads out of {root}: move the file there, or {TRUST}.")
    files = [path for path in candidates if _is_file(path)]
    for path in files:
        if matches(path, image.sha256):
            return "present", path
    if not files:
        return "missing", candidates[0]
    return "wrong checksum", max(
        files, key=lambda path: path != candidates[0]
    )  # the mirror's likeliest before the cache


def check(cases: Iterable[Case], *, mirror: str | Path | None = None) -> list[dict[str, str]]:
    """One row per volume: dataset, subject, split, contrast, status, where.  Downloads nothing.

    Status is present, missing, wrong checksum, or generated (a phantom whose label map, if it
    needs one, is present; else that map's status).  A file of the mirror that is another volume of
    the manifest under the same name is not that volume's wrong copy: it is missing.
    """
    cases, table = list(cases), []
    known = {image.sha256 for case in cases for image in case.images.values()}
    for case in cases:
        for contrast, image in case.images.items():
            file = case.anatomy if contrast == "any" else image
            status, path = locate(file, root=case.root, mirror=mirror) if file else ("", "")
            if contrast == "any" and status in ("", "present"):
                status = "generated"
            if status == "wrong checksum" and scheme(image.uri) and not known.isdisjoint(_digests(Path(path))):
                status, path = "missing", ""
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


def inside(path: Path, root: Path) -> bool:
    """Whether path stays below root once symbolic links are followed; opens nothing."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # links in a circle lead nowhere
        return False


def _is_file(path: Path) -> bool:
    """Whether a file is there; none has a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


@dataclass(frozen=True)
class _Bounded:
    """A file that takes ``MOST`` bytes: otherwise a server would decide how much it sends."""

    file: IO[bytes]
    uri: str

    def write(self, data: bytes) -> None:
        if self.file.tell() + len(data) > MOST:
            raise InputError(f"{self.uri} is larger than {MOST} bytes, as no image is: it was not kept.")
        self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def _download(image: Image, cached: Path) -> Path:
    """The file at its uri, verified before it appears under the name ``cached``."""
    import pooch

    part = cached.parent / f".{uuid.uuid4().hex}-{cached.name}"
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            pooch.HTTPDownloader()(image.uri, _Bounded(file, image.uri), None)
        if not matches(part, image.sha256):  # pooch itself knows no git blob ids
            raise InputError(
                f"{image.uri} does not have the checksum of the manifest and was not kept: "
                "check both, or pass --mirror DIR with a good copy."
            )
        os.replace(part, cached)
    except OSError as error:  # requests' errors are OSErrors too
        raise InputError(
            f"cannot download {image.uri} to {cached.parent} ({type(error).__name__}): "
            "if this machine is offline, pass --mirror DIR with a copy."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()
    return cached


def _mirrored(image: Image, mirror: Path) -> Iterator[Path]:
    """The files of the mirror with the name of an https uri, those first whose folders are the uri's."""
    parts = PurePosixPath(urlsplit(image.uri).path).parts[::-1]

    def shared(path: Path) -> int:
        pairs = zip(path.parts[::-1], parts, strict=False)
        return next((k for k, (a, b) in enumerate(pairs) if a != b), len(parts))

    found = (path for path in mirror.rglob(_name(image)) if path.is_file())
    yield from sorted(found, key=lambda path: (-shared(path), path))


def _digests(path: Path) -> set[str]:
    """What a file hashes to, in both ways of writing it."""
    return {digest(path, like) for like in (GIT, "")}


def _name(image: Image) -> str:
    return PurePosixPath(urlsplit(image.uri).path).name


def _cached(image: Image, root: Path) -> Path:
    """Where a download lives: its checksum in the name keeps equal names apart."""
    assert image.sha256 is not None, f"{image.uri} has no checksum, which every row with an https uri states"
    return downloads(root) / f"{short(image.sha256)}-{_name(image)}"


def downloads(root: Path) -> Path:
    """``$YODA_NB_DATA``, else beside the manifest; the user's cache where that is inside the package."""
    if named := os.environ.get("YODA_NB_DATA"):
        return Path(named)
    if root.resolve() == PACKED.resolve():
        import pooch

        return Path(pooch.os_cache("yoda-nb")) / "data"
    return root / "data"
