"""What may be read and written: files with content, never one over another, nothing into a study that is read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from yoda_nb.errors import InputError

POINTERS = (b"annex/objects/", b"git/annex/objects/", b"version https://git-lfs")  # what stands in place of a file


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
    paths = [_below(file, plain) for file in files]  # as they are called: git-annex's are links
    inside = [path.relative_to(plain) for path in paths if path.is_relative_to(plain)]
    bids = bool(inside) and all(len(path.parts) > 1 and path.parts[0].startswith("sub-") for path in inside)
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


def _below(file: str | Path, root: Path) -> Path:
    """A file's absolute path, whether it is given from the working folder or from ``root``."""
    whole = Path(os.path.abspath(file))
    return whole if whole.is_relative_to(root) else Path(os.path.abspath(root / file))


def check_apart_of_bids(out: str | Path | None, files: Iterable[str | Path], *, word: str = "-o") -> None:
    """``check_apart`` for single files: of those in sub-NAME/[ses-VISIT/]anat, the study is what holds sub-NAME."""
    if out is None:
        return
    for file in files:
        whole = Path(os.path.abspath(file))
        subject = next((folder for folder in whole.parents if folder.name.startswith("sub-")), None)
        if subject is not None and whole.parent.name == "anat" and "derivatives" not in whole.parts:
            check_apart(out, subject.parent, [whole], word=word)


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to one file, which need not be there."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one is not there: compare where they would be
        return os.path.realpath(one) == os.path.realpath(other)


def check_there(path: Path) -> None:
    """Refuse what is no file with content, each with what to do: a dead link, a folder, a pointer to content."""
    try:
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{path} is a link to content that is not here: fetch it ('datalad get'), or repair the link."
            )
        size = path.stat().st_size
        small = path.is_file() and not path.is_symlink() and size < 4096  # a link may lead where nothing may be read
        pointer = small and path.read_bytes().lstrip(b"/.").startswith(POINTERS)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path.") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: of a path that holds a zero byte, too
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', error)}): check the path.") from error
    if not path.is_file():
        raise InputError(f"{path} is not a file: name one image file.")
    if size == 0:
        raise InputError(f"{path} is empty: copy or download it again.")
    if pointer:
        raise InputError(f"{path} only points to content that is not here: fetch it ('datalad get', 'git lfs pull').")
