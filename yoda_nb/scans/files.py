"""From files to files: open what a scanner left, translate it, write the image where it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import SAME_MM, Grid, corner_distance, on_one_grid, read_grid, read_image
from yoda_nb.images.units import WINDOWS, part_of
from yoda_nb.images.volumes import UNKNOWN, Volume, about, required, save_image
from yoda_nb.preparation.doubts import stripped
from yoda_nb.preparation.load import load_volume
from yoda_nb.preparation.prepare import Prepared, prepare
from yoda_nb.preparation.register import register

SPACING = 1.0  # mm, of what is registered


@dataclass(frozen=True)
class Opened:
    """One subject's files as a Volume, and how they came onto one grid."""

    volume: Volume
    files: Mapping[str, Path]  # by contrast, in order: the first is the reference, a target the last
    prepared: Prepared | None = None  # None where the files lay on one grid
    part: str | None = None  # what should count of the body; None: what its contrasts say

    @property
    def registered(self) -> dict[str, dict[str, float]]:
        """Contrast -> shift in mm and rotation in degrees that brought it to the reference."""
        found = self.prepared.registrations if self.prepared else {}
        return {
            name: {"shift_mm": round(r.shift, 2), "rotation_degrees": round(r.rotation, 2)} for name, r in found.items()
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be wrong with files, contrasts, mask and alignment, in sentences."""
        v = self.volume
        head = (self.part or part_of((*v.sources, *([] if v.target is None else [v.contrast])))) == "head"
        return (*v.doubts, *(stripped(v.mask[0].numpy(), v.affine) if head else ()))


def open_files(
    files: Mapping[str, str | Path],
    *,
    target: tuple[str, str | Path] | None = None,
    mask: str | Path | None = None,
    registered: bool | None = None,
    bias: bool = True,
    tool: str | None = None,
    keep: str | Path | None = None,
    subject: str = UNKNOWN,
    part: str | None = None,
    progress: bool = False,
) -> Opened:
    """Files of one subject as a Volume: as they are where they lie on one grid, else through ``prepare``.

    Those on different grids are registered to the first, corrected for their bias fields (``bias``) and brought
    to voxels of 1 mm. ``registered`` True does so in any case, False never. ``tool``, ``keep``, ``part`` and
    ``progress`` as in ``prepare``. Raises InputError for what reading, registering and masking refuse.
    """
    every = {name: Path(path) for name, path in files.items()} | ({target[0]: Path(target[1])} if target else {})
    if not every:
        raise InputError("no source image was given: name at least one, such as --t1.")
    if registered is None:
        registered = not on_one_grid(every)
    if not registered:
        volume = load_volume(files, target=target, mask=mask, subject=subject, part=part, tool=tool)
        return Opened(volume, every, part=part)
    how: dict[str, Any] = {"bias": bias, "tool": tool, "keep": keep, "subject": subject, "part": part}
    how["progress"] = progress
    found = prepare(files, target=target, mask=mask, spacing=SPACING, **how)
    return Opened(found.volume, every, found, part)


def model_spacing(files: Mapping[str, str | Path], registered: bool) -> float:
    """The voxel size in mm by which a model is chosen: of what is registered, or of the first file."""
    if registered:
        return SPACING
    return float(np.linalg.norm(read_grid(next(iter(files.values()))).affine[:3, :3], axis=0).min())


def save_like(
    image: Tensor,
    opened: Opened,
    out: str | Path,
    like: str | Path | None = None,
    *,
    made: str = "",
    window: tuple[float, float] | None = None,
) -> None:
    """Write an image (1,D,H,W) in [-1,1] of ``opened.volume`` onto the reference's grid, or onto that of ``like``.

    ``like`` is an image of the same head: where it is one of those opened its registration is known, else it is
    registered to the reference, so that the image lies on its anatomy. ``made``, ``window`` and errors as of
    ``save_image``.
    """
    volume = opened.volume
    if like is not None:
        matrix, grid = _place(opened, Path(like))
        volume = replace(volume, affine=matrix @ volume.affine, grid=grid)
    save_image(image, volume, out, made=made, window=window)


def save_spread(result: Volume, opened: Opened, out: str | Path, like: str | Path | None = None, *, made: str) -> None:
    """Write the ``spread`` of a result as ``save_like`` writes its image, in the image's units."""
    low, high = WINDOWS.get(result.contrast, (0.0, 1.0))
    image = 2 * required(result, "spread") - 1
    save_like(image, replace(opened, volume=result), out, like, made=made, window=(0.0, high - low))


def _place(opened: Opened, like: Path) -> tuple[np.ndarray, Grid]:
    """From a point of the reference to the same place in ``like`` (4,4), mm, and the grid of ``like``."""
    reference, grid = next(iter(opened.files.values())), read_grid(like)
    if corner_distance(grid.canonical(), read_grid(reference).canonical()) <= SAME_MM:
        return np.eye(4), grid
    known: dict[str, Any] = dict(opened.prepared.registrations) if opened.prepared else {}
    for name, file in opened.files.items():
        if file.resolve() == like.resolve():
            return (known[name].matrix if name in known else np.eye(4)), grid
    image, affine, grid = read_image(like)
    fixed, fixed_affine, _ = read_image(reference)
    return about(like, register, image, affine, fixed, fixed_affine).matrix, grid
