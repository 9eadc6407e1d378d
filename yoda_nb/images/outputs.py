"""What may be written: never over a file that is read, and nothing into a study that is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from yoda_nb.errors import InputError


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Mapping[str, str | Path | None]) -> None:
    """Refuse an output that is one of the inputs, or two outputs that are one file.  Nothing is read or written.

    Both map words for people ("-o", "--qc"; "the T1w image") to paths; a None is skipped.  Paths are the same where
    links, ``..`` or the case of letters lead to one file.  Raises InputError naming the file and both words.
    """
    given = [(word, Path(path)) for word, path in inputs.items() if path is not None]
    made: list[tuple[str, Path]] = []
    for word, path in ((word, Path(path)) for word, path in outputs.items() if path is not None):
        for other, file in given:
            if same_file(path, file):
                raise InputError(f"{word} {path} is {other} itself, which would be lost: choose another name.")
        for other, file in made:
            if same_file(path, file):
                raise InputError(f"{word} and {other} are both {path}: choose two names.")
        made.append((word, path))


def check_apart(out: str | Path, root: str | Path, files: Iterable[str | Path], *, word: str = "-o") -> None:
    """Refuse a folder of results that lies in the study that is read.  Nothing is read or written.

    ``root`` is the study's folder, ``files`` what is read of it.  A study in BIDS, whose files lie below ``sub-NAME``
    folders, may have results below ``derivatives``; any other study beside its files.  Raises InputError.
    """
    plain = Path(os.path.abspath(root))
    paths = [Path(os.path.abspath(plain / file)) for file in files]  # as they are called: git-annex's are links
    inside = [path.relative_to(plain) for path in paths if path.is_relative_to(plain)]
    bids = bool(inside) and all(path.parts[0].startswith("sub-") for path in inside)
    out, root = Path(os.path.realpath(out)), Path(os.path.realpath(root))
    if bids:
        wrong = out.is_relative_to(root) and not out.is_relative_to(root / "derivatives")
    else:
        folders = {Path(os.path.realpath(path.parent)) for path in paths}
        holds = any(folder.is_relative_to(out) for folder in folders) or (bool(inside) and out == root)
        wrong = holds and (out == root or not root.is_relative_to(out))
    if wrong:
        where = root / "derivatives" / "yoda-nb" if bids else root.parent / "results"
        raise InputError(
            f"{word} {out} lies in the study {root}, whose files are only read: choose a folder of its own, "
            f"such as {where}."
        )


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, which need not be there."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one is not there: compare where they would be
        return os.path.realpath(one) == os.path.realpath(other)
