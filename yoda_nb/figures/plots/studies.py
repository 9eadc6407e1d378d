"""Figures of studies: curves over a setting, and designs side by side with every subject shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from yoda_nb.figures.plots.base import FAMILIES, STYLE
from yoda_nb.study.tables import interval

# Okabe and Ito's colours that read on white, each with a marker and a dash of its own
SERIES = tuple(
    zip(
        ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F"),
        ("o", "^", "D", "s", "v", "P", "*", "X"),
        ("", (4, 1.5), (1, 1), (6, 1.5, 1, 1.5), (2, 1), (8, 2), (3, 3), (1, 3)),
        strict=True,
    )
)
CROWD = 6  # so many series have their legend in the first panel; of more it would hide some
TICKS = 10  # so many values of a logarithmic axis are each named; of more, round numbers


def series_style(names: Sequence[str]) -> dict[str, tuple]:
    """(colour, marker, dashes) of each name: a sampler's family keeps its colour everywhere."""
    free = iter(SERIES)
    style = {}
    for name in names:
        colour, marker, dashes = next(free, SERIES[-1])
        colour, marker = FAMILIES.get(str(name).split()[0], (colour, marker))
        style[name] = colour, marker, dashes
    return style


def curves(
    table: pd.DataFrame,
    x: str,
    y: Mapping[str, str],
    by: str,
    *,
    x_label: str,
    log_x: bool = False,
    log_y: bool = False,
    lines: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Mean over rows of each x with a 95 % interval, one panel for each column in ``y``.

    ``y`` maps columns to axis labels, ``by`` names the column of the series, ``lines`` maps a
    column to horizontal reference values by name. Intervals appear where an x has several rows.
    The legend of more than ``CROWD`` series stands beside the panels.
    """
    names = list(dict.fromkeys(table[by]))
    style, beside = series_style(names), len(names) > CROWD
    with plt.rc_context(STYLE):
        size = (3.9 * len(y) + (1.8 if beside else 0.4), 3.2)
        fig, axes = plt.subplots(1, len(y), figsize=size, squeeze=False, layout="constrained")
        for ax, (column, label) in zip(axes[0], y.items(), strict=True):
            for name in names:
                colour, marker, dashes = style[name]
                rows = table[table[by] == name]
                sns.lineplot(
                    rows,
                    x=x,
                    y=column,
                    ax=ax,
                    color=colour,
                    marker=marker,
                    errorbar=("ci", 95),
                    seed=0,
                    dashes=dashes,
                    ls=(0, dashes) if dashes else "-",
                    label=str(name),
                    lw=1.4,
                )
            for name, value in (lines or {}).get(column, {}).items():
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
            ax.set(xlabel=x_label, ylabel=label)
            _scales(ax, sorted(table[x].unique()), log_x, log_y)
            handles = ax.get_legend_handles_labels()
            ax.get_legend().remove()
        legend = {"frameon": False, "fontsize": 8}
        fig.legend(*handles, loc="outside right center", **legend) if beside else axes[0, 0].legend(**legend)
    return fig


def _scales(ax, values: Sequence[float], log_x: bool, log_y: bool) -> None:
    if log_x:
        ax.set_xscale("log")
        _name_ticks(ax.xaxis, values if len(values) <= TICKS else _round(values[0], values[-1]))
    if log_y:
        ax.set_yscale("log")
        if len(ticks := _round(*ax.get_ylim())) > 1:
            _name_ticks(ax.yaxis, ticks)


def _name_ticks(axis, ticks: Sequence[float]) -> None:
    axis.set_ticks(ticks, [f"{v:g}" for v in ticks])
    axis.minorticks_off()


def _round(low: float, high: float) -> list[float]:
    """The 1, 2 and 5 of each power of ten between two positive numbers, or the powers alone where they are many."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.log10(high) + 1)
    fine, coarse = ([p * m for p in powers for m in of if low <= p * m <= high] for of in ((1, 2, 5), (1,)))
    return fine if len(fine) <= TICKS else coarse


def designs(table: pd.DataFrame, by: str, columns: Mapping[str, str], *, order: Sequence[str] = ()) -> Figure:
    """Each level of ``by`` on its own line: a dot for every subject, their mean with its 95 % interval.

    Rows of one subject and level are averaged first; ``columns`` maps columns to axis labels.
    """
    means = table.groupby([by, "subject"], sort=False)[list(columns)].mean().reset_index()
    order = list(order) or list(dict.fromkeys(means[by]))
    style = series_style(order)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1,
            len(columns),
            figsize=(3.3 * len(columns) + 1.6, 0.42 * len(order) + 1.1),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, (column, label) in zip(axes[0], columns.items(), strict=True):
            for at, level in enumerate(order):
                values = means.loc[means[by] == level, column].to_numpy(float)
                colour, marker, _ = style[level]
                ax.plot(
                    values,
                    at + np.linspace(-0.18, 0.18, len(values)),
                    ls="",
                    marker=marker,
                    ms=3.5,
                    color=colour,
                    alpha=0.55,
                )
                mean, low, _ = interval(values)
                half = mean - low if len(values) > 1 else 0.0
                ax.errorbar(mean, at, xerr=half, fmt=marker, color=colour, ms=7, mec="k", capsize=3, lw=1.5)
            ax.set(xlabel=label)
            ax.grid(axis="x", color="0.9")
            ax.locator_params(axis="x", nbins=4)
        axes[0, 0].set_yticks(range(len(order)), order)
        axes[0, 0].set_ylim(len(order) - 0.5, -0.5)
    return fig


def maps(images: Mapping[str, np.ndarray], *, label: str, cmap: str = "cividis", limit: float | None = None) -> Figure:
    """Slices (rows, columns) of one quantity side by side on a shared sequential scale from 0."""
    limit = limit or max(float(np.nanpercentile(x, 99.5)) for x in images.values())
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1, len(images), figsize=(2.3 * len(images) + 0.9, 2.8), squeeze=False, layout="constrained"
        )
        for ax, (name, image) in zip(axes[0], images.items(), strict=True):
            shown = ax.imshow(image, cmap=cmap, vmin=0, vmax=limit)
            ax.set_title(name)
            ax.set_axis_off()
        fig.colorbar(shown, ax=axes[0].tolist(), shrink=0.8, label=label, extend="max")
    return fig


def matrix(table: pd.DataFrame, *, label: str, limit: float) -> Figure:
    """A table of numbers as colours on one diverging scale about 0, up to ``limit``; what is missing stays blank."""
    with plt.rc_context(STYLE):
        size = (1.1 * table.shape[1] + 2.2, min(0.24 * len(table), 12) + 1.4)
        fig, ax = plt.subplots(figsize=size, layout="constrained")
        colours = {"cmap": "PuOr", "vmin": -limit, "vmax": limit, "cbar_kws": {"label": label, "extend": "both"}}
        sns.heatmap(table, ax=ax, linewidths=0.5, yticklabels=max(1, len(table) // 50), **colours)
        ax.set(xlabel="", ylabel="")
        ax.tick_params(axis="x", rotation=20)
    return fig


def gallery(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], *, columns: int = 6, title: str = "") -> Figure:
    """Many pairs of slices (rows, columns) on the [0,1] scale, the first of each above the second."""
    height, width = np.vstack(next(iter(pairs.values()))).shape
    rows = -(-len(pairs) // columns)
    with plt.rc_context(STYLE):
        size = (1.35 * columns, (1.35 * height / width + 0.3) * rows + 0.3)
        fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, (name, pair) in zip(axes.flat, pairs.items(), strict=False):
            ax.imshow(np.vstack(pair), cmap="gray", vmin=0, vmax=1)
            ax.set_title(name, fontsize=8)
        fig.suptitle(title, fontsize=10)
    return fig
