"""Figures of many systems: a ranking with every subject, and a plane whose labels do not overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from yoda_nb.figures.plots.base import STYLE
from yoda_nb.figures.plots.studies import SERIES
from yoda_nb.study.tables import interval

RINGS = (7, 14, 22, 32, 44)  # points between a marker's middle and its name
ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
REFERENCES = {"truth": ("#000000", "*"), "acquired": ("#7F7F7F", "X"), "no net": ("#7F7F7F", "P")}
MORE = ("v", "P", "<", "h", ">", "d", "p", "8")  # markers of a second round of colours: no pair of both is met twice


def group_style(groups: Sequence[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) of each group, the same in every figure of the same groups."""
    looks = [(colour, marker) for colour, marker, _ in SERIES]
    looks += [(colour, marker) for (colour, _, _), marker in zip(SERIES, MORE, strict=True)]
    free = (look for look in looks if look not in REFERENCES.values())
    known = sorted(set(groups), key=str.lower)
    return {g: REFERENCES[g] if g in REFERENCES else next(free, ("#000000", "x")) for g in known}


def ranking(
    table: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    by: str = "sampler",
    group: str = "paper",
    apart: str = "",
    lines: Mapping[str, float] | None = None,
) -> Figure:
    """Each system on its own line, best first by the first column: subjects, their mean, its 95 % interval.

    ``table`` has a row a subject and system, ``columns`` maps its columns to axis labels, ``group``
    gives colour and marker, ``apart`` names a column whose values stand in blocks of their own, in
    their order of appearance, ``lines`` vertical reference values by column.
    """
    blocks = _blocks(table, by, next(iter(columns)), apart)
    order = [name for block in blocks.values() for name in block]
    belongs = table.groupby(by)[group].first()
    style = group_style(table[group])
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1,
            len(columns),
            figsize=(3.0 * len(columns) + 1.8, 0.27 * len(order) + 1.3),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, (column, label) in zip(axes[0], columns.items(), strict=True):
            for at, level in enumerate(order):
                values = table.loc[table[by] == level, column].dropna().to_numpy(float)
                colour, marker = style[belongs[level]]
                ax.plot(values, np.full(len(values), at), ls="", marker=marker, ms=3, color=colour, alpha=0.4)
                mean, low, _ = interval(values)
                half = mean - low if len(values) > 1 else 0.0
                ax.errorbar(mean, at, xerr=half, fmt=marker, color=colour, ms=6, mec="k", mew=0.6, capsize=2, lw=1.3)
            if lines and column in lines:
                ax.axvline(lines[column], color="0.4", ls="--", lw=1)
            for edge in np.cumsum([len(block) for block in blocks.values()])[:-1]:
                ax.axhline(edge - 0.5, color="0.6", lw=0.8)
            ax.set(xlabel=label)
            ax.grid(axis="x", color="0.92")
            ax.locator_params(axis="x", nbins=4)
        axes[0, 0].set_yticks(range(len(order)), order)
        axes[0, 0].set_ylim(len(order) - 0.5, -0.5)
        for name, block in blocks.items():
            top = order.index(block[0]) - 0.4
            axes[0, -1].annotate(
                name, (1.02, top), xycoords=("axes fraction", "data"), rotation=-90, va="top", fontsize=8
            )
        fig.legend(handles=_handles(style), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return fig


def _blocks(table: pd.DataFrame, by: str, column: str, apart: str) -> dict[str, list[str]]:
    """Of each block, in their order of appearance, the names by ``column``'s mean, best first."""
    parts = table.groupby(apart, sort=False) if apart else [("", table)]
    return {str(name): list(part.groupby(by)[column].mean().sort_values(ascending=False).index) for name, part in parts}


def system_plane(
    table: pd.DataFrame,
    x: str,
    y: str,
    *,
    x_label: str,
    y_label: str,
    label: str = "sampler",
    group: str = "paper",
    lines: Mapping[str, float] | None = None,
    log_y: bool = False,
) -> Figure:
    """Systems as points on a plane, each with its name beside it where there is room.

    One row a system; ``group`` gives colour and marker; ``lines`` are horizontal values of y by name.
    """
    style = group_style(table[group])
    with plt.rc_context(STYLE):
        fig, ax = plt.subplots(figsize=(8.2, 5.6), layout="constrained")
        for name, rows in table.groupby(group, sort=False):
            colour, marker = style[name]
            ax.plot(rows[x], rows[y], ls="", marker=marker, color=colour, ms=9, mec="k", mew=0.6)
        if log_y:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.yaxis.set_minor_formatter(NullFormatter())
        for name, value in (lines or {}).items():
            ax.axhline(value, color="0.4", ls="--", lw=1)
            ax.annotate(
                name,
                (0.99, value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color="0.3",
            )
        ax.margins(0.1)
        ax.set(xlabel=x_label, ylabel=y_label)
        fig.legend(handles=_handles(style), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        label_points(ax, list(zip(table[x], table[y], strict=True)), list(table[label]))
    return fig


def _handles(style: Mapping[str, tuple[str, str]]) -> list:
    return [
        plt.Line2D([], [], ls="", marker=marker, color=colour, mec="k", mew=0.6, label=name)
        for name, (colour, marker) in style.items()
    ]


def label_points(ax, points: Sequence[tuple[float, float]], names: Sequence[str], *, fontsize: float = 8) -> list[Bbox]:
    """Write each name where it covers no point and no other name, with a line to its point if far.

    Places around a point are tried from near to far; the least covered one is taken. Returns the
    boxes of the names in pixels.
    """
    fig = ax.figure
    fig.canvas.draw()  # the layout must stand before anything is measured
    renderer, frame = fig.canvas.get_renderer(), ax.get_window_extent()
    at = ax.transData.transform(np.asarray(points, float))
    unit = fig.dpi / 72
    taken = [Bbox.from_bounds(px - 6 * unit, py - 6 * unit, 12 * unit, 12 * unit) for px, py in at]  # markers
    placed: list[Bbox] = []
    # whoever has the most neighbours chooses first
    crowd = [(np.hypot(*(at - p).T) < 60 * unit).sum() for p in at]
    boxes: dict[int, Bbox] = {}
    for k in sorted(range(len(at)), key=lambda k: -crowd[k]):
        text = ax.annotate(names[k], points[k], fontsize=fontsize, color="0.15", annotation_clip=False)
        size = text.get_window_extent(renderer)
        options = [_box(at[k], size.width, size.height, r * unit, angle) for r, angle in product(RINGS, ANGLES)]
        costs = [_cover(box, [*taken, *placed], frame) + 0.02 * i for i, box in enumerate(options)]
        best = int(np.argmin(costs))
        box = options[best]
        text.set_in_layout(False)
        text.set_position(ax.transData.inverted().transform((box.x0, box.y0 + 0.2 * box.height)))
        if best >= 2 * len(ANGLES):  # beyond two rings
            end = ax.transData.inverted().transform(_nearest(box, at[k]))
            ax.plot(*zip(points[k], end, strict=True), color="0.5", lw=0.6, zorder=0)
        boxes[k] = box
        placed.append(box)
    return [boxes[k] for k in range(len(at))]


def _box(point: np.ndarray, width: float, height: float, radius: float, angle: float) -> Bbox:
    """A box of this size whose nearest edge lies ``radius`` pixels from the point, in that direction."""
    dx, dy = np.cos(angle), np.sin(angle)
    cx, cy = point[0] + dx * (radius + width / 2), point[1] + dy * (radius + height / 2)
    return Bbox.from_bounds(cx - width / 2, cy - height / 2, width, height)


def _cover(box: Bbox, others: Sequence[Bbox], frame: Bbox) -> float:
    """Square pixels of other boxes under this one; what lies outside the frame counts much more."""
    both = (Bbox.intersection(box, other) for other in others)
    covered = sum(b.width * b.height for b in both if b is not None)
    inside = Bbox.intersection(box, frame)
    outside = box.width * box.height - (0 if inside is None else inside.width * inside.height)
    return covered + 10 * outside


def _nearest(box: Bbox, point: np.ndarray) -> tuple[float, float]:
    return float(np.clip(point[0], box.x0, box.x1)), float(np.clip(point[1], box.y0, box.y1))
