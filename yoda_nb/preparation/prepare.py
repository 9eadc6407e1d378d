"""From a scanner's files to a Volume: registered, without bias field, on voxels of 1 mm.

Every contrast may lie on a grid of its own.  Each is interpolated once, from its file to the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from yoda_nb.errors import InputError
from yoda_nb.images.masks import grown
from yoda_nb.images.nifti import Grid, check_same_grid, read_image, read_mask, sha256, tell
from yoda_nb.images.space import isotropic_grid
from yoda_nb.images.units import hounsfield, part_of
from yoda_nb.images.volumes import UNKNOWN, Volume, about, normalise
from yoda_nb.preparation.bias import correct_bias
from yoda_nb.preparation.brain import Brain, background, deepbet_version, find_part, head_mask
from yoda_nb.preparation.command import command_mask
from yoda_nb.preparation.doubts import doubts
from yoda_nb.preparation.kept import Pieces, recall
from yoda_nb.preparation.register import Registration, moved, register

STAGES = "{desc}{percentage:3.0f}%|{bar}| {elapsed}"
RIM = 5.0  # mm around the brain that take part in a registration


@dataclass(frozen=True)
class Scan:
    """One file as it was read: image (D, H, W) RAS+ in its own units, affine (4, 4) to mm."""

    path: Path
    image: np.ndarray
    affine: np.ndarray
    grid: Grid


@dataclass(frozen=True)
class Prepared:
    """One subject, ready for a system, and what a page of quality control needs."""

    volume: Volume  # isotropic, RAS+, over the reference's field of view; ``grid`` is the reference file's
    registrations: dict[str, Registration]  # of every contrast but the reference, to the reference
    before: dict[str, Tensor]  # (1, D, H, W) by contrast, whole head in the file's units, placed by headers alone
    after: dict[str, Tensor]  # the same, registered and without bias field
    warnings: tuple[str, ...]  # sentences; none is no promise
    other_mask: np.ndarray | None = None  # bool (D, H, W): the brain by another method, where the two disagree


def prepare(
    files: Mapping[str, str | Path],
    *,
    target: tuple[str, str | Path] | None = None,
    reference: str | None = None,
    mask: str | Path | None = None,
    spacing: float = 1.0,
    bias: bool = True,
    tool: str | None = None,
    keep: str | Path | None = None,
    subject: str = UNKNOWN,
    part: str | None = None,
    progress: bool = False,
) -> Prepared:
    """Register, correct and resample the files of one subject.

    ``files`` maps contrast to file, ``target`` is (contrast, file) of an acquired target.  All are
    rigidly registered to ``reference``, one of the contrasts (default: the first).  ``mask`` is a brain
    mask on the reference's grid; without one, ``tool`` (a command, see ``images.command``) or
    ``find_brain`` finds it on T1w if there is one, else on the reference.  With a CT among the images the
    mask is that of the head (``part``, ``units.part_of``).  ``spacing`` in mm; ``bias`` removes each image's
    bias field (N4), a CT's not; contrasts are worked on side by side.  ``progress`` shows the stages.
    What took minutes is kept in the folder ``keep`` under the
    hash of files, settings and code, and read back by a later call with the same.
    Raises InputError for what :func:`read_image` and :func:`register` refuse, each naming its file.
    """
    paths = {name: Path(path) for name, path in files.items()}
    if not paths:
        raise InputError("no image was given: name at least one, such as T1w.")
    if target and target[0] in paths:
        raise InputError(f"{target[0]} is both a source and the target: name it once.")
    if target:
        paths[target[0]] = Path(target[1])
    reference = next(iter(paths)) if reference is None else reference
    if reference not in paths:
        raise InputError(f"the reference {reference} is none of the images given: choose among {', '.join(paths)}.")
    mask = None if mask is None else Path(mask)
    part = part or part_of(paths)

    def make() -> Pieces:
        with (
            ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1)) as pool,
            tqdm(total=3 * len(paths), unit="stage", disable=not progress, bar_format=STAGES) as bar,
        ):
            return _pieces(paths, reference, mask, spacing, bias, tool, part, pool, bar)

    if keep is None:
        pieces = make()
    else:
        known = {**paths, **({"mask": mask} if mask else {})}
        described = {
            "files": {name: sha256(path) for name, path in known.items()},
            "settings": [list(paths), reference, float(spacing), bias, tool, *([part] if part != "brain" else [])],
            "deepbet": deepbet_version(),
        }
        pieces = recall(Path(keep), described, make)
    return _prepared(pieces, tuple(files), target[0] if target else None, subject)


def _pieces(
    paths: Mapping[str, Path],
    reference: str,
    mask: Path | None,
    spacing: float,
    bias: bool,
    tool: str | None,
    part: str,
    pool: ThreadPoolExecutor,
    bar: tqdm,
) -> Pieces:
    """All that is computed and worth keeping. The bar counts images read, registrations or the brain, and images."""

    def side_by_side(stage: str, function: Callable[..., Any], names: Iterable[str]) -> dict[str, Any]:
        """Name -> what a function makes of it, in threads: its slow parts leave Python's lock to the others."""
        names = list(names)
        if names:
            bar.set_description(f"{stage} {', '.join(names)}")
        made = {}
        for name, value in zip(names, pool.map(function, names), strict=True):
            made[name] = value
            bar.update()
        return made

    scans: dict[str, Scan] = side_by_side("reading", lambda name: _scan(paths[name], name), paths)
    said = [sentence for scan in scans.values() for sentence in scan.grid.doubts]
    fixed = scans[reference]
    affine, shape = isotropic_grid(fixed.affine, fixed.image.shape, spacing)
    found: dict[str, Registration] = {}
    anatomy = "T1w" if "T1w" in scans and mask is None else reference
    if anatomy != reference:
        found |= side_by_side("registering", lambda name: _registered(scans[name], fixed, None), [anatomy])
    bar.set_description(f"finding the brain on {anatomy}")
    seen = _brain(scans[anatomy], fixed, mask, tool, anatomy)
    brain = seen.mask
    own = _carried(brain, scans[anatomy], _matrix(found, anatomy), fixed.affine, fixed.image.shape)
    bar.update()
    region = grown(own, fixed.affine, RIM)
    rest = [name for name in scans if name not in (reference, anatomy)]
    found |= side_by_side("registering", lambda name: _registered(scans[name], fixed, region), rest)

    def in_place(name: str) -> tuple[np.ndarray, np.ndarray]:
        """An image where its header puts it, to look at, and registered and without bias field."""
        scan, matrix = scans[name], _matrix(found, name)
        image = scan.image
        before = moved(image, scan.affine, affine, shape, order=1)
        if bias and image.min() >= 0:  # no magnitude image, no receive field
            inside = _carried(own, fixed, np.linalg.inv(matrix), scan.affine, image.shape)
            image = about(scan.path, correct_bias, image, scan.affine, inside)[0]
        return before, moved(image, np.linalg.inv(matrix) @ scan.affine, affine, shape)

    pairs = side_by_side("removing the bias field of" if bias else "resampling", in_place, scans)
    images = {f"{when} {name}": pair[k] for name, pair in pairs.items() for k, when in enumerate(("before", "after"))}
    there = scans[anatomy], _matrix(found, anatomy), affine, shape
    whole = inside = _carried(brain, *there)
    other = {} if seen.other is None else {"other mask": _carried(seen.other, *there)}
    if part == "head" and mask is None:
        inside = about(scans[anatomy].path, head_mask, images[f"after {anatomy}"], affine, anatomy)
    fields = {name: (scan.affine, scan.image.shape) for name, scan in scans.items()}
    after = {name: images[f"after {name}"] for name in scans}
    said += [*seen.doubts, *doubts(after, whole, affine, (own, fixed.affine, reference), fields, found)]
    return Pieces(images | {"mask": inside} | other, affine, fixed.grid, found, tuple(dict.fromkeys(said)))


def _scan(path: Path, contrast: str) -> Scan:
    """A file as it is read; a magnitude image whose background is a negative value gets 0 there."""
    image, affine, grid = read_image(path)
    if image.min() < 0 and not hounsfield(contrast):
        outside = image == background(image)
        if not (image[~outside] < 0).any():
            image = np.where(outside, np.float32(0), image)
    return Scan(path, image, affine, grid)


def _registered(scan: Scan, fixed: Scan, region: np.ndarray | None) -> Registration:
    return about(scan.path, register, scan.image, scan.affine, fixed.image, fixed.affine, region=region)


def _brain(scan: Scan, fixed: Scan, mask: Path | None, tool: str | None, contrast: str) -> Brain:
    """The brain on a scan's own grid, of a CT the head; of a mask that was given, on the reference's."""
    if mask is not None:
        brain, _, grid = read_mask(mask)
        check_same_grid({"reference": (fixed.path, fixed.grid), "mask": (mask, grid)})
        return Brain(brain, grid.doubts)
    if tool:
        return Brain(*about(scan.path, command_mask, scan.image, scan.affine, tool))
    return about(scan.path, find_part, scan.image, scan.affine, contrast, "brain")


def _matrix(found: Mapping[str, Registration], name: str) -> np.ndarray:
    return found[name].matrix if name in found else np.eye(4)


def _carried(brain: np.ndarray, scan: Scan, matrix: np.ndarray, affine: np.ndarray, shape) -> np.ndarray:
    """A mask on a scan's grid, carried to another by the registration of that scan: bool ``shape``."""
    if affine is scan.affine and np.array_equal(matrix, np.eye(4)):
        return brain
    return moved(brain.astype(np.float32), np.linalg.inv(matrix) @ scan.affine, affine, shape, order=1) > 0.5


def _prepared(pieces: Pieces, sources: tuple[str, ...], target: str | None, subject: str) -> Prepared:
    """The pieces as a Volume, in [-1, 1] inside the brain and -1 outside."""
    mask = pieces.images["mask"]
    scaled = {
        name: torch.from_numpy(normalise(pieces.images[f"after {name}"], mask, name))
        for name in (*sources, *([target] if target else []))
    }
    volume = Volume(
        source=torch.stack([scaled[name] for name in sources]),
        mask=torch.from_numpy(mask)[None],
        affine=pieces.affine,
        sources=sources,
        subject=subject,
        grid=pieces.grid,
        contrast=target or "FLAIR",
        target=scaled[target][None] if target else None,
        doubts=pieces.warnings,
    )
    tell(pieces.warnings)
    heads = {
        when: {name: torch.from_numpy(pieces.images[f"{when} {name}"])[None] for name in scaled}
        for when in ("before", "after")
    }
    other = pieces.images.get("other mask")
    return Prepared(volume, pieces.registrations, heads["before"], heads["after"], pieces.warnings, other)
