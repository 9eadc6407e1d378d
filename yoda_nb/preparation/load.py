"""Files of one subject as a Volume on one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from yoda_nb.errors import InputError
from yoda_nb.images.masks import grown
from yoda_nb.images.nifti import SAME_MM, Grid, check_same_grid, corner_distance, read_image, read_mask, tell
from yoda_nb.images.units import part_of
from yoda_nb.images.volumes import UNKNOWN, Volume, about, normalise
from yoda_nb.preparation.brain import find_part
from yoda_nb.preparation.command import command_mask
from yoda_nb.preparation.doubts import doubts
from yoda_nb.preparation.register import moved
from yoda_nb.preparation.register import register as align

Scan = tuple[np.ndarray, np.ndarray, Grid]  # what read_image gives


def load_volume(
    sources: Mapping[str, str | Path],
    *,
    target: tuple[str, str | Path] | None = None,
    mask: str | Path | None = None,
    subject: str = UNKNOWN,
    register: bool = False,
    part: str | None = None,
    tool: str | None = None,
) -> Volume:
    """Read files of one subject as a Volume at the first one's spacing, RAS+, in [-1, 1].

    ``sources`` maps contrast to file, ``target`` is (contrast, file).  All files must lie on one
    grid (corners within 0.01 mm), the first source's; with ``register`` images on other grids are
    rigidly registered to it and resampled, while the mask must be on it.  Without ``mask`` the brain is estimated, by
    ``tool`` (``preparation.command``) or ``find_brain``, on T1w if it is there and else on the first source, or the
    head (``part``; by default where a CT is among the images, ``units.part_of``).  ``grid`` is that of the first
    source's file.  What may be wrong is warned of (``errors.Doubt``), and stands in ``doubts``.
    Raises InputError for what :func:`read_image` refuses and for grids that disagree.
    """
    if not sources:
        raise InputError("no source image was given: name at least one, such as T1w.")
    named = {name: Path(path) for name, path in sources.items()}
    if target:
        named[f"target {target[0]}"] = Path(target[1])
    read = {name: read_image(path) for name, path in named.items()}
    files = {name: (named[name], grid) for name, (_, _, grid) in read.items()}
    said = [sentence for _, _, grid in read.values() for sentence in grid.doubts]
    brain = None
    if mask is not None:
        brain, _, mask_grid = read_mask(mask)
        files["mask"] = (Path(mask), mask_grid)
        said += mask_grid.doubts
    first, affine, grid = next(iter(read.values()))
    if register:
        check_same_grid({name: files[name] for name in (next(iter(named)), "mask") if name in files})
        read |= {name: _onto(named[name], scan, first, grid, brain) for name, scan in read.items()}
        files |= {name: (named[name], own) for name, (_, _, own) in read.items()}
    _check_grids(files)

    part = part or part_of((*sources, *([target[0]] if target else [])))
    if brain is None:
        name = "T1w" if "T1w" in sources else next(iter(sources))
        scan = read[name][0]
        if tool and part == "brain":
            brain, odd = about(named[name], command_mask, scan, affine, tool)
            said += odd
        else:
            seen = about(named[name], find_part, scan, affine, name, part)
            brain = seen.mask
            said += seen.doubts
    images = {
        name: torch.from_numpy(about(named[name], normalise, data, brain, name.removeprefix("target ")))
        for name, (data, _, _) in read.items()
    }
    scans = {name.removeprefix("target "): data for name, (data, _, _) in read.items()}
    said += doubts(scans, brain, affine, (brain, affine, next(iter(scans))), head=part == "head")
    tell(said)
    volume = Volume(
        source=torch.stack([images[name] for name in sources]),
        mask=torch.from_numpy(brain)[None],
        affine=affine,
        sources=tuple(sources),
        subject=subject,
        grid=grid,
        doubts=tuple(dict.fromkeys(said)),
    )
    if not target:
        return volume
    return replace(volume, contrast=target[0], target=images[f"target {target[0]}"][None])


def _onto(path: Path, scan: Scan, fixed: np.ndarray, grid: Grid, brain: np.ndarray | None) -> Scan:
    """A scan registered to an image (D, H, W) of another grid, and resampled there; unchanged if it is on it."""
    image, affine, own = scan
    file = grid.canonical()
    if corner_distance(own.canonical(), file) <= SAME_MM:
        return scan
    region = None if brain is None else grown(brain, file.affine)
    matrix = about(path, align, image, affine, fixed, file.affine, region=region).matrix
    return moved(image, np.linalg.inv(matrix) @ affine, file.affine, file.shape), file.affine, grid


def _check_grids(files: dict[str, tuple[Path, Grid]]) -> None:
    """Refuse files that are not on one grid; for images, with what can be done about it."""
    try:
        check_same_grid({name: file for name, file in files.items() if name != "mask"})
    except InputError as error:
        raise InputError(
            f"{str(error).removesuffix('.')}, or load them with register=True; yoda-nb translate registers by itself."
        ) from None
    check_same_grid(files)
