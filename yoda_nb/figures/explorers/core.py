"""An explorer: a description of controls, panels and charts, and the 8-bit frames they show.

The description (``spec``) is plain JSON. Every control's value is an index into its values, and
anything a panel, chart or read-out says may be ``by(control, values)``: the value at the control's
index. The scripts beside this file draw it, live in a notebook and without a kernel in a page.
"""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.figures.plots import best_slice

MAX_VOXELS = 300_000  # of a frame: larger boxes are averaged over blocks of voxels
ALL_VOXELS = 6_000_000  # of an explorer of few frames, which may be finer: 40 mm of five images at 1 mm
LIMIT = 0.15  # of differences on the [0,1] scale, as in plots.comparison


@dataclass(frozen=True)
class Content:
    """What an explorer shows: its description, its frames and its static twin."""

    spec: Mapping[str, Any]  # see ``make_spec``
    frames: Mapping[str, bytes]  # id -> gzip (or a WebP mosaic) of uint8 (D,H,W), 0..255 for [0,1]
    picture: Callable[[], Figure]  # the static twin
    around: Callable[[Any], Any] | None = None  # puts more widgets around the live one


@dataclass(frozen=True)
class Stage:
    """The part of a volume that an explorer shows, and the frames collected so far."""

    mask: Tensor  # (1,D,H,W) bool
    box: tuple[slice, slice, slice]  # of the mask, with a margin of one voxel
    factor: int  # voxels of the image along one edge of a frame's voxel
    spacing: tuple[float, float, float]
    lesions: Tensor | None = None
    frames: dict[str, bytes] = field(default_factory=dict)

    def add(self, image: Tensor, what: str) -> str:
        """Store an image (1,D,H,W) in [-1,1] once, and return its id; background outside the mask."""
        if image.shape != self.mask.shape:
            raise InputError(f"{what} has shape {tuple(image.shape)}, its mask {tuple(self.mask.shape)}: use one grid.")
        if not torch.isfinite(image[self.mask]).all():
            raise InputError(f"{what} has voxels that are not finite: check how it was computed.")
        inside = torch.where(self.mask, (image.float() + 1) / 2, 0.0)[0][self.box][None]
        small = F.avg_pool3d(inside, self.factor, ceil_mode=True, count_include_pad=False)
        return self._store(small[0].clamp(0, 1).mul(255).round().byte().numpy())

    def add_mask(self, mask: Tensor) -> str:
        """Store a mask (1,D,H,W): 255 inside."""
        small = F.max_pool3d((mask > 0).float()[0][self.box][None], self.factor, ceil_mode=True)
        return self._store((small[0] * 255).byte().numpy())

    def _store(self, levels: np.ndarray) -> str:
        return self.keep(levels.tobytes(), gzip.compress(levels.tobytes(), 9, mtime=0))

    def keep(self, levels: bytes, packed: bytes) -> str:
        """Store a frame's levels as they are packed, once, and return its id."""
        name = hashlib.sha256(levels).hexdigest()[:16]
        self.frames.setdefault(name, packed)
        return name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame."""
        return tuple(math.ceil((s.stop - s.start) / self.factor) for s in self.box)


def make_stage(
    mask: Tensor,
    *,
    lesions: Tensor | None = None,
    spacing: Sequence[float] = (1, 1, 1),
    n_frames: int | None = None,
    most: int = MAX_VOXELS,
) -> Stage:
    """A stage for images on the grid of ``mask`` (1,D,H,W); ``spacing`` counts by its ratios.

    A frame has at most ``most`` voxels; where no more than ``n_frames`` will be stored they may be finer. Raises
    InputError for an empty mask.
    """
    mask = mask.bool()
    found = mask[0].nonzero()
    if not len(found):
        raise InputError("The mask of an explorer is empty: give the brain's.")
    low = (found.min(0).values - 1).clamp(min=0).tolist()
    high = torch.minimum(found.max(0).values + 2, torch.tensor(mask.shape[1:])).tolist()
    d, h, w = (slice(a, b) for a, b in zip(low, high, strict=True))
    voxels = math.prod(b - a for a, b in zip(low, high, strict=True))
    most = max(most, ALL_VOXELS // n_frames if n_frames else 0)
    factor = max(1, math.ceil((voxels / most) ** (1 / 3)))
    return Stage(mask, (d, h, w), factor, (float(spacing[0]), float(spacing[1]), float(spacing[2])), lesions)


def make_spec(
    stage: Stage,
    *,
    title: str,
    columns: Sequence[Sequence[Mapping]],
    controls: Sequence[Mapping] = (),
    charts: Sequence[Mapping] = (),
    readouts: Sequence[tuple[str, Any]] = (),
    limit: float = LIMIT,
    note: str = "",
) -> dict[str, Any]:
    """The description that the scripts draw; starts on a slice through lesions or mid-brain."""
    outline = None
    if stage.lesions is not None and stage.lesions.any():
        outline = by("outline", [None, stage.add_mask(stage.lesions)])
        controls = [*controls, check("outline", "Lesion outline")]
    if stage.factor > 1:
        note = f"Shown as means over {stage.factor}³ voxels. {note}".strip()
    return {
        "title": title,
        "note": note,
        "caption": "",
        "shape": list(stage.shape),
        "spacing": list(stage.spacing),
        "origin": [s.start for s in stage.box],
        "factor": stage.factor,
        "limit": limit,
        "outline": outline,
        "controls": list(controls),
        "columns": [list(column) for column in columns],
        "charts": list(charts),
        "readouts": [{"label": label, "value": value} for label, value in readouts],
        "frames": list(stage.frames),
        "initial": {c["id"]: c["start"] for c in controls}
        | {"view": 2, "cursor": _middle(stage), "window": 1.0, "level": 0.5, "cross": 1},
    }


def _middle(stage: Stage) -> list[int]:
    """The frame's voxel in the middle of the brain, on a slice worth looking at."""
    z = best_slice(stage.mask, stage.lesions)
    inside = stage.mask[0, :, :, z].nonzero().float().mean(0).round().long().tolist()
    return [(v - s.start) // stage.factor for v, s in zip([*inside, z], stage.box, strict=True)]


def by(control: str, values: Iterable[Any]) -> dict[str, Any]:
    """A value that follows a control."""
    return {"by": control, "values": list(values)}


def slider(name: str, label: str, values: Sequence[str], start: int = 0) -> dict[str, Any]:
    return {"id": name, "kind": "slider", "label": label, "values": list(values), "start": start}


def select(name: str, label: str, values: Sequence[str], start: int = 0) -> dict[str, Any]:
    return {"id": name, "kind": "select", "label": label, "values": list(values), "start": start}


def check(name: str, label: str, start: int = 0) -> dict[str, Any]:
    return {"id": name, "kind": "check", "label": label, "values": ["off", "on"], "start": start}


def panel(title: Any, image: Any, units: Any = None) -> dict[str, Any]:
    """One image; a panel whose image is None in a state is hidden.

    ``units`` is (low, high, unit) of its black and white where that is not the [0,1] scale.
    """
    return {"title": title, "image": image, "units": units}


def difference(title: Any, image: Any, minus: Any, units: Any = None) -> dict[str, Any]:
    """``image - minus``, computed where it is shown."""
    return panel(title, image, units) | {"minus": minus}


def series(
    name: str,
    points: Sequence[tuple[float, float]],
    *,
    colour: str,
    marker: str | None = None,
    line: str | None = None,
    picks: Sequence[int] | None = None,
    names: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """Points of a chart; with a ``marker`` point i stands for the control's value ``picks[i]``.

    ``line`` is "solid", "dashed" or "dotted"; ``names`` are read aloud, ``labels`` printed; a
    series with a ``name`` is in the legend.
    """
    picks = list(range(len(points)) if picks is None else picks)
    return {
        "name": name,
        "points": [[float(x), float(y)] for x, y in points],
        "colour": colour,
        "marker": marker,
        "line": line,
        "picks": picks,
        "names": list(names) or [f"{x:.3g}, {y:.3g}" for x, y in points],
        "labels": list(labels) or [""] * len(points),
    }


def chart(
    control: str,
    title: str,
    x_label: str,
    y_label: str,
    lines: Sequence[Mapping],
    *,
    rules: Mapping[str, float] | None = None,
    guide: bool = True,
    log_x: bool = False,
    size: tuple[int, int] = (340, 230),
) -> dict[str, Any]:
    """A chart of ``series`` whose points set ``control``; ``rules`` are horizontal lines by name.

    With ``guide`` a vertical line marks the current value, and a click picks the nearest x.
    Values that are not finite are left out, as a chart has no place for them.
    """
    return {
        "control": control,
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "series": [found for line in lines if (found := _finite(line))["points"]],
        "rules": [{"label": k, "y": float(v)} for k, v in (rules or {}).items()],
        "guide": guide,
        "log_x": log_x,
        "size": list(size),
    }


def _finite(line: Mapping) -> dict[str, Any]:
    keep = [i for i, point in enumerate(line["points"]) if all(map(math.isfinite, point))]
    return {**line, **{k: [line[k][i] for i in keep] for k in ("points", "picks", "names", "labels")}}


def clamp_state(spec: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """A whole state: values out of range moved into it, missing or meaningless ones initial."""
    initial = spec["initial"]

    def number(name: str, low: float, high: float, whole: bool = True) -> float:
        return _clamped(state.get(name), initial[name], low, high, whole)

    cursor = state.get("cursor")
    if not isinstance(cursor, list | tuple) or len(cursor) != 3:
        cursor = initial["cursor"]
    places = zip(cursor, initial["cursor"], spec["shape"], strict=True)
    return {c["id"]: number(c["id"], 0, len(c["values"]) - 1) for c in spec["controls"]} | {
        "view": number("view", 0, 2),
        "cursor": [_clamped(v, start, 0, n - 1) for v, start, n in places],
        "window": number("window", 0.02, 2, whole=False),
        "level": number("level", 0, 1, whole=False),
        "cross": number("cross", 0, 1),
    }


def _clamped(value: Any, default: float, low: float, high: float, whole: bool = True) -> float:
    good = isinstance(value, int | float) and math.isfinite(value)
    found = min(max(value if good else default, low), high)
    return round(found) if whole else float(found)
