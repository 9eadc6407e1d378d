"""Folders in BIDS, the Brain Imaging Data Structure (Gorgolewski et al., Sci. Data 3, 2016, 160044), in and out.

Reading is the layout ``bids`` of ``data.layouts``; what is made here is written as a derivative data set.  The few
rules of names that anatomical images need stand here, so pybids, which brings a database, is not needed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from yoda_nb.data.layouts import get_layout
from yoda_nb.data.manifest import Case, cases_of
from yoda_nb.data.scan import SYNTHETIC, LeftOut, describe_left_out, scan
from yoda_nb.errors import InputError
from yoda_nb.images.headers import CAUTION
from yoda_nb.images.headers import SYNTHETIC as SYNTHETIC_HEADER
from yoda_nb.images.nifti import SUFFIXES, atomic, is_ours, sha256, suffix, tell
from yoda_nb.images.volumes import Volume, save_image

VERSION = "1.10.0"  # of the specification
LONGEST = 200  # letters of a file's name without ending: below what systems allow, with room for a temporary one
# of contrasts whose suffix is another word
SUFFIX = {"T1ce": "T1w", "MRA": "angio", "TOF": "angio", "CT": "ct", "CTdef": "ct"}
DESCRIPTION = "dataset_description.json"


def scan_bids(
    root: str | Path, *, dataset: str = "bids", trust_paths: bool = False
) -> tuple[list[Case], list[LeftOut]]:
    """The subjects of a BIDS folder, ``sub-01`` or a visit ``sub-01_ses-1``, and the images that are left out.

    Of several runs or spaces of a contrast the first by name is taken; an image's notes are its entities.  Splits are
    those of a column ``split`` of participants.tsv, else a hash of the subject's name.  No checksums are made.
    ``trust_paths`` follows links that lead out of the folder.  Raises InputError for a folder without such images.
    """
    root = Path(root)
    rows, left_out = scan(get_layout("bids"), root, dataset=dataset, hashed=False, need_splits=False)
    noted = []
    for row in rows:
        try:
            noted.append(row.model_copy(update={"notes": _notes(row.uri)}))
        except InputError:
            left_out.append(LeftOut(row.uri, "its name is not BIDS: write sub- and the like in small letters"))
    return cases_of([(str(root / row.uri), row) for row in noted], root, trust_paths=trust_paths), left_out


def read_bids(root: str | Path, *, dataset: str = "bids", trust_paths: bool = False) -> list[Case]:
    """The subjects of ``scan_bids``, with a warning of what was left out."""
    cases, left_out = scan_bids(root, dataset=dataset, trust_paths=trust_paths)
    if left_out:
        count = "1 image was" if len(left_out) == 1 else f"{len(left_out)} images were"
        tell([f"{root}: {count} left out: {describe_left_out(left_out)}."])
    return cases


def entities(path: str | Path) -> dict[str, str]:
    """``sub-01_acq-x_T1w.nii.gz`` -> {"sub": "01", "acq": "x", "suffix": "T1w"}; InputError for other names."""
    name = PurePath(path).name
    stem = next((name.removesuffix(ending) for ending in (*SUFFIXES, ".json") if name.endswith(ending)), name)
    *pairs, contrast = stem.split("_")
    if not pairs or not all(re.fullmatch(r"[a-z]+-[A-Za-z0-9+]+", pair) for pair in pairs):
        raise InputError(f"{name} is not a BIDS name such as sub-01_T1w.nii.gz: rename it.")
    return {**dict(pair.split("-", 1) for pair in pairs), "suffix": contrast}


def derivative_path(
    out: str | Path, subject: str, session: str | None, contrast: str, desc: str = "synthetic", space: str = "T1w"
) -> Path:
    """``out/sub-01[/ses-1]/anat/sub-01[_ses-1]_space-T1w_desc-synthetic_FLAIR.nii.gz``.

    ``subject`` is 01, sub-01 or, with its visit, sub-01_ses-1.  Raises InputError for labels with other than letters
    and digits.
    """
    subject, _, visit = subject.removeprefix("sub-").partition("_ses-")
    session = session.removeprefix("ses-") if session else visit
    word = SUFFIX.get(contrast, contrast)
    labels = {"subject": subject, "session": session or "none", "desc": desc, "space": space, "contrast": word}
    if bad := [(what, label) for what, label in labels.items() if not re.fullmatch("[A-Za-z0-9]+", label)]:
        what, label = bad[0]
        raise InputError(f"{what} {label!r} may hold only letters and digits in BIDS: choose another.")
    who = [f"sub-{subject}", *([f"ses-{session}"] if session else [])]
    given = ["ce-gadolinium"] if contrast == "T1ce" else []
    name = "_".join([*who, *given, f"space-{space}", f"desc-{desc}", word])
    if len(name) > LONGEST:
        raise InputError(f"{name[:40]}... is too long for the name of a file: choose shorter labels.")
    return Path(out, *who, "anat", f"{name}.nii.gz")


def write_derivative(
    image: Tensor,
    volume: Volume,
    out: str | Path,
    *,
    subject: str,
    contrast: str,
    sources: Mapping[str, str | Path],
    system: str,
    model: str,
    model_sha256: str,
    seed: int,
    settings: Mapping[str, Any],
    session: str | None = None,
    raw: str | Path | None = None,
    desc: str = "synthetic",
    skull_stripped: bool = True,
    window: tuple[float, float] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write an image made from ``volume``, its JSON sidecar and, once, dataset_description.json; the image's path.

    ``image`` (1, D, H, W) in [-1, 1] goes onto the grid of the file of the first source, as ``save_image`` writes it
    (0 to 1, or ``window``).  ``sources`` are contrast -> file; those below the BIDS folder ``raw`` are cited by their
    BIDS URIs, others by their bare names.  ``settings`` and ``more``, further fields of the sidecar, must be writable
    as JSON.  Raises InputError for labels that BIDS does not allow, a folder ``out`` that is a raw data set, and for
    all that ``save_image`` refuses.
    """
    out, space = Path(out), next(iter(sources))
    path = derivative_path(out, subject, session, contrast, desc, SUFFIX.get(space, space))
    about = describe(volume, contrast, sources, system, model, model_sha256, seed, settings, raw=raw)
    about |= {"SkullStripped": skull_stripped, **(more or {})}
    described, _ = _description(out, raw), _json(about)  # refuses before anything is written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot hold {path.name} ({error.strerror}): choose another folder or name.") from error
    save_image(image, volume, path, window=window, made=made_by(contrast, system, model))
    _write(out / DESCRIPTION, described)
    write_sidecar(path, about)  # last: with it the image is done
    return path


def describe(
    volume: Volume,
    contrast: str,
    sources: Mapping[str, str | Path],
    system: str,
    model: str,
    model_sha256: str,
    seed: int,
    settings: Mapping[str, Any],
    *,
    raw: str | Path | None = None,
) -> dict[str, Any]:
    """What the sidecar of a synthetic image says of it: fields of BIDS, and how it was made."""
    from yoda_nb import __version__

    files = [_uri(file, raw) for file in sources.values()]
    return {
        "Description": f"{contrast} made from {', '.join(sources)}: synthetic, not acquired, not for diagnosis",
        "Sources": files,
        "SpatialReference": files[0] if files[0].startswith("bids:") else "orig",
        "SkullStripped": True,
        "Synthetic": True,
        "Caution": CAUTION,
        "System": system,
        "Model": model,
        "ModelSHA256": model_sha256,
        "Seed": seed,
        "Settings": dict(settings),
        "SpacingMillimetres": [round(side, 6) for side in volume.spacing],
        "Version": __version__,
        "Warnings": list(volume.doubts),
    }


def made_by(contrast: str, system: str, model: str) -> str:
    """What the header of a synthetic image says of it."""
    return f"{SYNTHETIC_HEADER}: {contrast} by yoda-nb, {system}, {Path(model).name}"


def sidecar_of(image: str | Path) -> Path:
    """The JSON file beside an image."""
    path = Path(image)
    return path.with_name(path.name[: -len(suffix(path))] + ".json")


def read_sidecar(image: str | Path) -> dict[str, Any] | None:
    """What the sidecar of an image says; None where there is none that can be read."""
    try:
        said = json.loads(sidecar_of(image).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def write_sidecar(image: Path, about: Mapping[str, Any]) -> None:
    """Write the sidecar of a synthetic image, with the image's checksum; InputError for what JSON cannot hold."""
    _write(sidecar_of(image), _json({**about, "ImageSHA256": sha256(image)}))


def check_sidecar(image: str | Path) -> None:
    """Refuse an image whose sidecar would replace one of another image, such as an acquired one of that name."""
    path, stem = sidecar_of(image), Path(image).name[: -len(suffix(image))]
    if path.exists() and not (read_sidecar(image) or {}).get("Synthetic"):
        raise InputError(f"{path} is there and is not of a synthetic image: choose another name than {image}.")
    for other in (path.with_name(f"{stem}{ending}") for ending in SUFFIXES if ending != suffix(image)):
        if other.exists():
            raise InputError(f"{other} is there, and would share {path.name} with {image}: choose another name.")


def check_derivatives(out: str | Path, raw: str | Path | None = None) -> None:
    """Refuse a folder that cannot be a derivative data set of ours, before anything is computed."""
    if Path(out).exists() and not Path(out).is_dir():
        raise InputError(f"{out} is a file: name a folder.")
    _description(Path(out), raw)


def check_replaceable(image: str | Path) -> None:
    """Refuse to write over an image that this package did not make, or over a link to content that is not here."""
    path = Path(image)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a link to content that is not here: choose another name.")
    if not path.is_file() or not path.stat().st_size or (read_sidecar(path) or {}).get("Synthetic") or is_ours(path):
        return
    raise InputError(f"{path} is there and was not made by yoda-nb: choose another name, or remove it.")


def _description(out: Path, raw: str | Path | None) -> str:
    """The derivative data set's description, an older one with the link to ``raw`` put in."""
    from yoda_nb import __version__

    path, links = out / DESCRIPTION, {}
    found: dict[str, Any] = {
        "Name": "Synthetic images by yoda-nb",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "yoda-nb", "Version": __version__}],
    }
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            kind, links = found.get("DatasetType", "raw"), dict(found.get("DatasetLinks", {}))
        except (ValueError, TypeError, AttributeError, OSError, RecursionError) as error:
            raise InputError(f"{path} cannot be read ({type(error).__name__}): repair or remove it.") from error
        if kind != "derivative":
            raise InputError(f"{out} is a {kind} data set: write to a folder of its own, such as derivatives/yoda-nb.")
    elif others := sorted(p for p in out.glob("sub-*/**/*.nii*") if SYNTHETIC not in p.name):
        raise InputError(f"{out} holds images of others, such as {others[0]}: write to a folder of its own.")
    if raw is not None:
        link = Path(os.path.relpath(raw, out)).as_posix()
        found = {**found, "DatasetLinks": {**links, "raw": link}}
    return _json(found)


def _uri(file: str | Path, raw: str | Path | None) -> str:
    """``bids:raw:sub-01/anat/...`` for a file below ``raw``, else its bare name."""
    whole = Path(os.path.abspath(file))
    if raw is not None and whole.is_relative_to(root := Path(os.path.abspath(raw))):
        return f"bids:raw:{whole.relative_to(root).as_posix()}"
    return whole.name


def _notes(uri: str) -> str:
    given = entities(uri)
    left = [f"{k}-{v}" for k, v in given.items() if k not in ("sub", "ses", "suffix")]
    return " ".join(left) or "n/a"


def _json(document: Mapping[str, Any]) -> str:
    try:
        return json.dumps(document, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"the sidecar cannot be written as JSON ({error}): give plain settings.") from error


def _write(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")
