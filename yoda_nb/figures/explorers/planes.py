"""The explorer of one translated scan: three planes, flicker between images, a map of colours and outlines."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.explorers.core import Stage, by, check, make_spec, make_stage, select, slider
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.images.space import roi_box
from yoda_nb.images.units import VIEWED, hounsfield, in_window, width

ROOM = 10.0  # mm around the masks
MOST = 8_000_000  # voxels of an image: a head at 1 mm; larger ones are averaged over blocks
BYTES = 3_300_000  # of all pictures together: a page of less than 6 MB
QUALITIES = (92, 80, 60, 40, 15)  # of WebP; 92 moves voxels by 0.6 % of the grey scale on average, 80 by 1.2 %
BLEND = 20  # steps from A to B
MASK, OTHER = "#f0e442", "#ff7ac6"  # of outlines: yellow, pink


def planes(
    images: Mapping[str, Tensor],
    mask: Tensor,
    *,
    contrasts: Mapping[str, str] | None = None,
    start: tuple[str, str] | None = None,
    spread: Tensor | None = None,
    spread_of: str = "",
    other_mask: Tensor | None = None,
    cut: bool = False,
    spacing: Sequence[float] = (1, 1, 1),
    title: str = "",
) -> Explorer:
    """Axial, coronal and sagittal slices through one point, of two images to flicker or blend between.

    images: name -> (1,D,H,W) in [-1,1], shown outside the mask too; a name's contrast is in ``contrasts`` where that is
    another word, and decides its units. The reader starts with the two images ``start``, ``cut`` at the mask or not.
    ``mask`` (1,D,H,W) and ``other_mask`` (D,H,W), bool, are outlines; ``spread`` (1,D,H,W), at least 0 on the [0,1]
    scale of the contrast ``spread_of``, is a map of colours. Raises InputError for other shapes and for no image.
    """
    maps = {**images, "spread": spread, "other_mask": None if other_mask is None else other_mask[None]}
    if not images or any(x is not None and x.shape != mask.shape for x in maps.values()):
        raise InputError(f"planes needs at least one image, and all of one shape {tuple(mask.shape)}: use one grid.")
    names, kinds = list(images), {name: (contrasts or {}).get(name, name) for name in images}
    both = mask.bool() if other_mask is None else mask.bool() | other_mask[None].bool()
    region = torch.zeros_like(both)
    region[:, *roi_box(both, [math.ceil(ROOM / side) for side in spacing])] = True
    stage = make_stage(region, spacing=spacing, most=MOST)
    windows = next((VIEWED[kind] for kind in kinds.values() if kind in VIEWED), {})
    limit = _limit(spread, mask) if spread is not None else 1.0
    for quality in QUALITIES:
        stage = replace(stage, frames={})
        shown = [_shown(stage, name, images[name], kinds[name], windows, quality) for name in names]
        tint = None if spread is None else _picture(stage, (spread / limit).clamp(0, 1), quality)
        if sum(map(len, stage.frames.values())) < BYTES:
            break
    brain = stage.add_mask(mask)
    a, b = start or (names[0], names[-1])
    controls = [
        select("a", "A", names, names.index(a)),
        select("b", "B", names, names.index(b)),
        slider("blend", "Blend", [f"{100 * k // BLEND} % B" for k in range(BLEND + 1)]),
        *([select("shown", "HU window", list(windows))] if windows else []),
        *([check("spread", "Spread")] if tint else []),
        check("mask", "Outline of the mask") | {"colour": MASK},
        *([check("other", "Outline of the other mask", 1) | {"colour": OTHER}] if other_mask is not None else []),
        check("cut", "Only inside the mask", int(cut)),
    ]
    unit, scale = ("HU", width(spread_of)) if hounsfield(spread_of) else ("arbitrary units", 1.0)
    overlay = {
        "image": by("spread", [None, tint]),
        "colours": (np.array(matplotlib.colormaps["viridis"](np.linspace(0, 1, 9)))[:, :3] * 255).round().tolist(),
        "limit": limit * scale,
        "high": f"{float(f'{limit * scale:.2g}'):g}",
        "unit": unit,
        "label": f"spread, {unit}{'' if unit == 'HU' else ' (the image is on [0,1])'}",
    }
    outlines = [{"mask": by("mask", [None, brain]), "colour": MASK}]
    if other_mask is not None:
        outlines.append({"mask": by("other", [None, stage.add_mask(other_mask[None])]), "colour": OTHER})
    sides = " × ".join(f"{side:.3g}" for side in spacing)
    note = f"Voxels of {sides} mm. R, L, A, P, S, I: the subject's right, left, front, back, top and bottom."
    spec = make_spec(stage, title=title, columns=[], controls=controls, note=note)
    spec["initial"]["cursor"] = [
        (plots.busiest_slice(mask, view) - part.start) // stage.factor for view, part in enumerate(stage.box)
    ]
    spec["planes"] = {
        "a": by("a", shown),
        "b": by("b", shown),
        "mask": brain,
        "cut": by("cut", [None, brain]),
        "overlay": overlay if tint else None,
        "outlines": outlines,
    }

    def picture():
        return plots.image_row(dict(images), index=plots.busiest_slice(mask), title=title)

    return Explorer(spec, stage.frames, picture)


def _limit(spread: Tensor, mask: Tensor) -> float:
    """Where the colours end: above all but the largest 0.5 % of the spread inside the mask, two digits."""
    if not torch.isfinite(spread[mask]).all() or (spread[mask] < 0).any():
        raise InputError("The spread has voxels that are negative or not finite: check how it was computed.")
    return float(f"{max(float(np.percentile(spread[mask].numpy(), 99.5)), 1e-4):.2g}")


def _shown(
    stage: Stage, name: str, image: Tensor, kind: str, windows: Mapping[str, tuple[float, float]], quality: int
) -> dict[str, Any]:
    """What the scripts know of an image: its title, its frame (one for each window of HU) and its units."""
    if not hounsfield(kind):
        return {"title": name, "image": _picture(stage, (image + 1) / 2, quality), "units": None}
    frames = [_picture(stage, (in_window(image, kind, window) + 1) / 2, quality) for window in windows.values()]
    units = by("shown", [(*window, "HU") for window in windows.values()])
    return {"title": name, "image": by("shown", frames), "units": units}


def _picture(stage: Stage, image01: Tensor, quality: int) -> str:
    """Store an image (1,D,H,W) in [0,1] as one WebP of its sagittal slices, side by side and in rows; its id."""
    whole = torch.nan_to_num(image01.float())[:, *stage.box][None]
    small = F.avg_pool3d(whole, stage.factor, ceil_mode=True, count_include_pad=False)[0, 0]
    levels = small.clamp(0, 1).mul(255).round().byte().numpy()
    deep, high, wide = levels.shape
    across = math.ceil(math.sqrt(deep * high / wide))
    tiles = np.zeros((math.ceil(deep / across) * across, high, wide), np.uint8)
    tiles[:deep] = levels
    mosaic = tiles.reshape(-1, across, high, wide).swapaxes(1, 2).reshape(-1, across * wide)
    buffer = io.BytesIO()
    Image.fromarray(mosaic).save(buffer, "webp", quality=quality, method=4)
    return stage.keep(levels.tobytes(), buffer.getvalue())
