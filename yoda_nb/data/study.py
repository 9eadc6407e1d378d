"""The subjects of a user's study: a BIDS folder or a manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from yoda_nb.data.bids import read_bids, scan_bids
from yoda_nb.data.manifest import Case, read_manifest
from yoda_nb.data.scan import LeftOut
from yoda_nb.errors import InputError
from yoda_nb.images.outputs import check_apart


def cases_in(
    study: str | Path, *, dataset: str | None = None, split: str | None = None, trust_paths: bool = False
) -> list[Case]:
    """The subjects of a BIDS folder or of a manifest (.csv); InputError where there are none."""
    study = Path(study)
    if _is_folder(study):
        return read_bids(study, trust_paths=trust_paths)
    return read_manifest(study, dataset=dataset, split=split, trust_paths=trust_paths)


def scan_study(
    study: str | Path, *, dataset: str | None = None, trust_paths: bool = False
) -> tuple[list[Case], list[LeftOut]]:
    """``cases_in``, and the images of a BIDS folder that are left out, each with its reason."""
    study = Path(study)
    if _is_folder(study):
        return scan_bids(study, trust_paths=trust_paths)
    return read_manifest(study, dataset=dataset, trust_paths=trust_paths), []


def check_study_output(out: str | Path, cases: Iterable[Case], *, word: str = "-o") -> None:
    """Refuse a folder of results that lies in the study of these cases (``outputs.check_apart``)."""
    files: dict[Path, list[Path]] = {}
    for case in cases:
        files.setdefault(case.root, []).extend(case.local)
    for root, paths in files.items():
        check_apart(out, root, paths, word=word)


def _is_folder(study: Path) -> bool:
    try:
        return study.is_dir()
    except OSError as error:
        raise InputError(f"{study} cannot be read ({error.strerror}): name a BIDS folder or a manifest.") from error
