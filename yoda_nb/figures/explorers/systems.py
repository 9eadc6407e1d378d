"""The explorer of systems: any two of them, on any subject, with linked views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.explorers.core import LIMIT, Stage, by, difference, make_spec, make_stage, panel, select
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.images.volumes import Volume


def systems(
    images: Mapping[str, Sequence[Tensor]],
    volumes: Sequence[Volume],
    *,
    left: str,
    right: str,
    scores: pd.DataFrame | None = None,
    title: str = "Two systems on one subject",
    limit: float = LIMIT,
) -> Explorer:
    """Two systems side by side, their errors, and their difference; selects for both and the subject.

    images: system -> one image (1,D,H,W) in [-1,1] for each of ``volumes``, all on one grid. Errors
    are to the noise-free truth where every subject's is known, else to the acquired image, else to
    none. ``scores`` is a score table (``tables.score_table``) whose SSIM and PSNR are read out.
    ``left`` and ``right`` are the systems shown first. Raises InputError for an unknown system and
    for subjects of different grids, which cannot share a cursor.
    """
    names = list(images)
    if unknown := [name for name in (left, right) if name not in names]:
        raise InputError(f"There is no image of {unknown[0]!r}: choose among {', '.join(names)}.")
    if len({v.mask.shape for v in volumes}) != 1:
        raise InputError("The subjects have different grids: choose one of them.")
    stage = make_stage(
        torch.stack([v.mask for v in volumes]).any(0), lesions=_any_lesions(volumes), spacing=volumes[0].spacing
    )
    each = {name: _frames(stage, volumes, images[name], name) for name in names}
    reference, what = _reference(volumes)
    shown = {side: by(side, [each[name] for name in names]) for side in ("left", "right")}
    heads = {side: by(side, names) for side in shown}
    apart = by("left", [by("right", [f"{a} − {b}" for b in names]) for a in names])
    columns = [[panel(heads[side], shown[side])] for side in shown]
    between = difference(apart, shown["left"], shown["right"])
    if reference is None:
        columns.append([between])
    else:
        true = _frames(stage, volumes, reference, what)
        for side, column in zip(shown, columns, strict=True):
            error = by(side, [f"{name} − {what}" for name in names])
            column.append(difference(error, shown[side], true))
        columns.append([panel(what, true), between])
    controls = [
        select(side, f"{side.title()} system", names, names.index(start))
        for side, start in (("left", left), ("right", right))
    ]
    controls.append(select("subject", "Subject", [v.subject for v in volumes]))
    spec = make_spec(
        stage, title=title, columns=columns, controls=controls, limit=limit, readouts=_readouts(scores, names, volumes)
    )
    outlines = [stage.add_mask(v.lesions) if v.lesions is not None else None for v in volumes]
    if spec["outline"] is not None:
        spec |= {"outline": by("outline", [None, by("subject", outlines)]), "frames": list(stage.frames)}

    def picture():
        row = {left: images[left][0], right: images[right][0]}
        index = plots.best_slice(volumes[0].mask, volumes[0].lesions)
        if reference is None:
            return plots.image_row(row, index=index, title=volumes[0].subject)
        row[what] = reference[0]
        return plots.comparison(row, reference[0], reference_name=what, limit=limit, index=index)

    return Explorer(spec, stage.frames, picture)


def _frames(stage: Stage, volumes: Sequence[Volume], images: Sequence[Tensor], name: str) -> dict:
    """The frame of each subject, background outside its own mask."""
    return by(
        "subject",
        [
            stage.add(torch.where(v.mask, image, -1.0), f"{name} of {v.subject}")
            for v, image in zip(volumes, images, strict=True)
        ],
    )


def _reference(volumes: Sequence[Volume]) -> tuple[list[Tensor] | None, str]:
    for what, found in (("truth", [v.clean for v in volumes]), ("acquired", [v.target for v in volumes])):
        known = [image for image in found if image is not None]
        if len(known) == len(volumes):
            return known, what
    return None, ""


def _any_lesions(volumes: Sequence[Volume]) -> Tensor | None:
    found = [v.lesions for v in volumes if v.lesions is not None]
    return torch.stack(found).any(0) if found else None


def _readouts(scores: pd.DataFrame | None, names: Sequence[str], volumes: Sequence[Volume]) -> list[tuple[str, dict]]:
    """SSIM and PSNR of both systems to each reference in the table."""
    if scores is None or not len(scores):
        return []
    found = scores.set_index(["reference", "sampler", "subject"])[["ssim", "psnr"]].to_dict("index")

    def text(reference: str, name: str, subject: str) -> str:
        row = found.get((reference, name, subject))
        return "–" if row is None else f"SSIM {row['ssim']:.3f}, PSNR {row['psnr']:.2f} dB"

    return [
        (
            f"{side.title()}, to {reference}",
            by(side, [by("subject", [text(reference, name, v.subject) for v in volumes]) for name in names]),
        )
        for reference in dict.fromkeys(scores.reference)
        for side in ("left", "right")
    ]
