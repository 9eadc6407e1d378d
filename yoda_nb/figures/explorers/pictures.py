"""Explorers of finished images: volumes side by side, the trade-off plane, one trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.slabs import VIEWS
from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.explorers.core import (
    LIMIT,
    by,
    chart,
    difference,
    make_spec,
    make_stage,
    panel,
    select,
    series,
    slider,
)
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.images.units import VIEWED, in_window

LABELS = {
    "ssim": "SSIM (data range 1)",
    "psnr": "PSNR (dB, data range 1)",
    "mae": "mean absolute error ([0,1] scale)",
    "fd": "Fréchet distance",
    "kd": "kernel distance",
    "noise": "white-matter noise ([0,1] scale)",
    "evaluations": "evaluations of the net",
    "seconds": "seconds",
}


def volumes(
    images: Mapping[str, Tensor],
    mask: Tensor,
    *,
    reference: str | None = None,
    lesions: Tensor | None = None,
    title: str = "",
    limit: float = LIMIT,
    spacing: Sequence[float] = (1, 1, 1),
    contrast: str = "",
    beside: Mapping[str, Tensor] | None = None,
) -> Explorer:
    """Any number of images side by side, with linked cursor, view, slice, window and level.

    images: name -> (1,D,H,W) in [-1,1] on the grid of ``mask`` (1,D,H,W). Differences are shown
    to the image named ``reference``, and the reader may choose another. ``limit`` is where their
    colours end ([0,1] scale); ``spacing`` gives the voxels' proportions. Where the ``contrast`` of the images is
    in Hounsfield units the reader chooses a window (``units.VIEWED``), of which ``limit`` is then a share. Images
    ``beside`` come first, on their own scale and without differences: sources. Raises InputError for no
    images, another grid, values that are not finite and an unknown reference.
    """
    names, windows = _names(images, reference), VIEWED.get(contrast, {})
    beside = dict(beside or {})
    each = max(1, len(windows))
    stage = make_stage(mask, lesions=lesions, spacing=spacing, n_frames=each * len(images) + len(beside))
    units = by("shown", [(*window, "HU") for window in windows.values()]) if windows else None

    def frames(image: Tensor, name: str) -> Any:
        if not windows:
            return stage.add(image, name)
        return by("shown", [stage.add(in_window(image, contrast, window), name) for window in windows.values()])

    ids = {name: frames(image, name) for name, image in images.items()}

    def column(name: str) -> list[dict]:
        others = [None if other == name else other for other in names]
        minus = by("reference", [None, *(other and ids[other] for other in others)])
        heading = by("reference", ["", *(f"{name} − {other}" for other in others)])
        return [panel(name, ids[name], units), difference(heading, ids[name], minus, units)]

    start = 0 if reference is None else 1 + names.index(reference)
    choose = [select("reference", "Differences to", ["none", *names], start)] if len(names) > 1 else []
    columns = [column(name) if choose else [panel(name, ids[name], units)] for name in names]
    columns = [[panel(name, stage.add(image, name))] for name, image in beside.items()] + columns
    choose += [select("shown", "HU window", [_window(*each) for each in windows.items()])] if windows else []
    spec = make_spec(stage, title=title, controls=choose, columns=columns, limit=limit)
    at = plots.best_slice(stage.mask, lesions)

    def picture():
        shown, scale = plots.windowed(images, contrast)
        if reference is None:
            return plots.image_row(shown, index=at, title=title, scale=scale)
        known = shown[reference]
        return plots.comparison(shown, known, reference_name=reference, limit=limit, index=at, scale=scale)

    return Explorer(spec, stage.frames, picture)


def _window(name: str, window: tuple[float, float]) -> str:
    return f"{name} ({window[0]:g} to {window[1]:g} HU)".replace("-", "−")


def tradeoff(
    table: pd.DataFrame,
    images: Mapping[str, Tensor],
    mask: Tensor,
    *,
    reference: str,
    x: str = "ssim",
    y: str = "fd",
    x_label: str = "",
    y_label: str = "",
    lines: Mapping[str, float] | None = None,
    start: str | None = None,
    lesions: Tensor | None = None,
    title: str = "Perception against distortion",
    note: str = "",
    limit: float = LIMIT,
    spacing: Sequence[float] = (1, 1, 1),
) -> Explorer:
    """The plane of samplers; each point shows its image, its error map, its noise and its cost.

    ``table`` has one row a sampler: sampler, ``x``, ``y`` and any of the columns in ``LABELS``.
    images: sampler -> (1,D,H,W) in [-1,1], with one for each row and one named ``reference``, to
    which errors are shown. ``lines`` are values of y worth a line, by name; ``start`` is the
    sampler picked first. Raises InputError for a missing column, image or reference.
    """
    names = list(table.sampler)
    _names(images, reference)
    if lacking := [name for name in names if name not in images]:
        raise InputError(f"The table of samplers lists {', '.join(lacking)}, of which images has none: add them.")
    if lacking := [c for c in (x, y) if c not in table]:
        raise InputError(f"The table of samplers has no column {', '.join(lacking)}: choose among {', '.join(table)}.")
    stage = make_stage(mask, lesions=lesions, spacing=spacing)
    ids = {name: stage.add(images[name], name) for name in {*names, reference}}
    index = {name: k for k, name in enumerate(names)}
    x_label, y_label = x_label or LABELS.get(x, x), y_label or LABELS.get(y, y)
    families = table.assign(family=table.sampler.str.split().str[0]).groupby("family", sort=False)
    plane = chart(
        "sampler",
        title,
        x_label,
        y_label,
        [_family(f, g, x, y, index) for f, g in families],
        rules=lines,
        guide=False,
        size=(430, 300),
    )
    chosen = by("sampler", [ids[name] for name in names])
    columns = [
        [panel(by("sampler", names), chosen)],
        [difference(by("sampler", [f"{name} − {reference}" for name in names]), chosen, ids[reference])],
        [panel(reference, ids[reference])],
    ]
    first = index.get(start, 0)
    spec = make_spec(
        stage,
        title=title,
        columns=columns,
        limit=limit,
        note=note,
        charts=[plane],
        controls=[select("sampler", "Sampler", names, first)],
        readouts=[(LABELS[c], by("sampler", map(_number, table[c]))) for c in LABELS if c in table],
    )

    def picture():
        return plots.sampler_plane(table, x, y, x_label=x_label, y_label=y_label, lines=lines)

    return Explorer(spec, stage.frames, picture)


def trajectory(
    steps: Sequence[Mapping[str, Any]],
    mask: Tensor | None = None,
    *,
    clean: Tensor | None = None,
    title: str = "From noise to image",
    limit: float = LIMIT,
    spacing: Sequence[float] = (1, 1, 1),
) -> Explorer:
    """One reverse process from t = T-1 down to the image: what the net sees, and what it says.

    ``steps`` is what ``record_trajectory`` returns: in step order dicts of t, s, view,
    noise_level and the images x (at t) and x0 (predicted from it), (1,D,H,W) in [-1,1]. ``mask``
    and ``clean`` (the noise-free truth) are those of the record unless given.
    """
    if not steps:
        raise InputError("A trajectory without steps cannot be shown: record at least one.")
    mask = steps[0]["mask"] if mask is None else mask
    clean = steps[0].get("clean") if clean is None else clean
    stage = make_stage(mask, spacing=spacing)
    seen, said = (
        by("step", [stage.add(s[name].clamp(-1, 1), f"{name} at t = {s['t']}") for s in steps]) for name in ("x", "x0")
    )
    columns = [[panel("x_t, what the net sees", seen)], [panel("x0, what it predicts", said)]]
    noise = [s["noise_level"] for s in steps]
    told = {
        "t": [f"{s['t']} → {s['s'] if s['s'] >= 0 else 'image'}" for s in steps],
        "Noise level √(1 − ᾱ_t)": [f"{level:.3f}" for level in noise],
        "View used": ["all" if s["view"] is None else VIEWS[s["view"]] for s in steps],
    }
    charts = [_by_step("Noise level of x_t", "√(1 − ᾱ_t)", steps, noise, "#0072B2", "o")]
    if clean is not None:
        truth = stage.add(clean, "The noise-free truth")
        error = [float(((s["x0"] - clean) / 2)[stage.mask].square().mean().sqrt()) for s in steps]
        columns += [[difference("x0 − truth", said, truth)], [panel("truth", truth)]]
        told["RMS error of x0"] = [f"{e:.4f}" for e in error]
        charts.append(_by_step("Error of x0 to the truth", "RMS error ([0,1] scale)", steps, error, "#D55E00", "^"))
    values = [f"{k + 1} of {len(steps)}: t = {s['t']}" for k, s in enumerate(steps)]
    spec = make_spec(
        stage,
        title=title,
        columns=columns,
        limit=limit,
        controls=[slider("step", "Step", values)],
        charts=charts,
        readouts=[(label, by("step", each)) for label, each in told.items()],
        note="Shown inside the brain and clamped to the range of images.",
    )

    def picture():
        shown = [steps[k] for k in sorted({0, len(steps) // 3, 2 * len(steps) // 3, len(steps) - 1})]
        row = {f"{name}, t = {s['t']}": s[name].clamp(-1, 1) for s in shown for name in ("x", "x0")}
        return plots.image_row(row, index=plots.best_slice(mask, None), title=title)

    return Explorer(spec, stage.frames, picture)


def _names(images: Mapping[str, Tensor], reference: str | None) -> list[str]:
    if not images:
        raise InputError("An explorer needs at least one image.")
    if reference is not None and reference not in images:
        raise InputError(f"The reference {reference!r} is none of the images: choose among {', '.join(images)}.")
    return list(images)


def _family(family: str, group: pd.DataFrame, x: str, y: str, index: Mapping[str, int]) -> dict[str, Any]:
    """A family of samplers as a series of the plane, drawn as in ``plots.sampler_plane``."""
    colour, marker = plots.FAMILIES.get(family, ("#7F7F7F", "o"))
    points = list(zip(group[x], group[y], strict=True))
    names = [f"{name}: {x} {a:.3g}, {y} {b:.3g}" for name, (a, b) in zip(group.sampler, points, strict=True)]
    line = "solid" if len(points) > 1 else None
    return series(
        "",
        points,
        colour=colour,
        marker=marker,
        line=line,
        names=names,
        labels=list(group.sampler),
        picks=[index[name] for name in group.sampler],
    )


def _by_step(
    title: str, label: str, steps: Sequence[Mapping], values: Sequence[float], colour: str, marker: str
) -> dict[str, Any]:
    names = [f"t = {s['t']}: {label} {value:.3g}" for s, value in zip(steps, values, strict=True)]
    points = [(k + 1, value) for k, value in enumerate(values)]
    line = series("", points, colour=colour, marker=marker, line="solid", names=names)
    return chart("step", title, "step", label, [line])


def _number(value: Any) -> str:
    """For a read-out: three or four digits; a dash for what is not known."""
    return "–" if pd.isna(value) else f"{value:.4g}"
