"""Slices of images, side by side or against a reference.

Images are (1,D,H,W) in [-1,1] and shown on the [0,1] scale or in their units, in radiological orientation: the
subject's right is on the left.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from yoda_nb.diffusion.slabs import VIEWS
from yoda_nb.figures.plots.base import STYLE
from yoda_nb.images.units import VIEWED, in_window

Scale = tuple[float, float, str]  # what -1 and 1 of an image stand for, and the unit
UNIT: Scale = (0.0, 1.0, "intensity")
ENDS = {0: ("P", "A"), 1: ("R", "L"), 2: ("R", "L")}  # what is left and right in each view


def slice_of(image: Tensor, view: int = 2, index: int | None = None) -> np.ndarray:
    """One slice for display with ``origin="upper"``: (1,D,H,W) -> (rows, columns)."""
    index = image.shape[1 + view] // 2 if index is None else index
    plane = image[0].movedim(view, 0)[index].numpy()  # the two axes that are left, in R, A, S order
    plane = plane.T[::-1]  # up is anterior or superior
    return plane if view == 0 else plane[:, ::-1]  # radiological


def busiest_slice(mask: Tensor, view: int = 2) -> int:
    """The slice of a mask (1,D,H,W) with most voxels: a good one to look at."""
    return int(mask[0].movedim(view, 0).flatten(1).sum(1).argmax())


def best_slice(volume_mask: Tensor, lesions: Tensor | None, view: int = 2) -> int:
    """A slice through the lesions if there are any, else through the middle of the brain."""
    if lesions is not None and lesions.any():
        return busiest_slice(lesions, view)
    return busiest_slice(volume_mask, view)


def projection(image: Tensor, inside: Tensor, view: int = 2) -> Tensor:
    """The brightest voxel along a view of what lies ``inside``: (1,D,H,W) -> the same with one slice."""
    return torch.where(inside, image, -1.0).amax(1 + view, keepdim=True)


def _letters(ax, view: int) -> None:
    left, right = ENDS[view]
    for x, letter, side in ((0.02, left, "left"), (0.98, right, "right")):
        ax.text(x, 0.02, letter, transform=ax.transAxes, color="white", ha=side, va="bottom", fontsize=8)


def windowed(images: Mapping[str, Tensor], contrast: str, window: str = "") -> tuple[dict[str, Tensor], Scale]:
    """Images in [-1,1] of a contrast in Hounsfield units through one of its windows (``units.VIEWED``), with the scale.

    By default the first window; images of other contrasts stay as they are, on the [0,1] scale.
    """
    windows = VIEWED.get(contrast)
    if windows is None:
        return dict(images), UNIT
    low, high = windows[window or next(iter(windows))]
    return {name: in_window(image, contrast, (low, high)) for name, image in images.items()}, (low, high, "HU")


def image_row(
    images: Mapping[str, Tensor], *, view: int = 2, index: int | None = None, title: str = "", scale: Scale = UNIT
) -> Figure:
    """Any number of images side by side, one slice each; ``scale`` says what -1 and 1 stand for."""
    low, high, unit = scale
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1, len(images), figsize=(2.1 * len(images) + 0.6, 2.7), squeeze=False, layout="constrained"
        )
        for ax, (label, image) in zip(axes[0], images.items(), strict=True):
            values = low + (high - low) * (slice_of(image, view, index) + 1) / 2
            shown = ax.imshow(values, cmap="gray", vmin=low, vmax=high)
            ax.set_title(label)
            ax.set_axis_off()
            _letters(ax, view)
        fig.colorbar(shown, ax=axes[0].tolist(), shrink=0.75, label=unit)
        fig.suptitle(title or f"{VIEWS[view]} slice", fontsize=10)
    return fig


def label_map(
    labels: Tensor, lesions: Tensor | None, names: tuple[str, ...], *, view: int = 2, index: int | None = None
) -> Figure:
    """Tissue labels (1,D,H,W) as colours with a legend, lesions on top."""
    colours = ["#000000", "#56B4E9", "#999999", "#F0E442", "#D55E00"]
    codes = slice_of(labels, view, index).astype(int)
    shown = list(names)
    if lesions is not None:
        codes = np.where(slice_of(lesions, view, index), len(names), codes)
        shown.append("lesion")
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours])[codes]
    with plt.rc_context(STYLE):
        fig, ax = plt.subplots(figsize=(3.6, 2.7), layout="constrained")
        ax.imshow(rgb.astype(np.uint8))
        ax.set_axis_off()
        handles = [plt.Rectangle((0, 0), 1, 1, color=c, ec="k") for c in colours[: len(shown)]]
        ax.legend(handles, shown, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        _letters(ax, view)
    return fig


def comparison(
    images: Mapping[str, Tensor],
    reference: Tensor,
    *,
    reference_name: str,
    limit: float = 0.15,
    view: int = 2,
    index: int | None = None,
    scale: Scale = UNIT,
) -> Figure:
    """Images above, their differences to a reference below on one diverging scale (Fig. 1).

    ``scale`` says what -1 and 1 stand for; ``limit`` is a share of it.
    """
    n, (low_end, high_end, unit) = len(images), scale
    width = high_end - low_end
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(2, n, figsize=(1.85 * n + 0.9, 4.1), squeeze=False, layout="constrained")
        for (top, low), (label, image) in zip(axes.T, images.items(), strict=True):
            values = low_end + width * (slice_of(image, view, index) + 1) / 2
            shown = top.imshow(values, cmap="gray", vmin=low_end, vmax=high_end)
            error = width * (slice_of(image, view, index) - slice_of(reference, view, index)) / 2
            wrong = low.imshow(error, cmap="PuOr", vmin=-limit * width, vmax=limit * width)
            top.set_title(label)
            for ax in (top, low):
                ax.set_axis_off()
            _letters(top, view)
        fig.colorbar(shown, ax=axes[0].tolist(), shrink=0.8, label=unit)
        suffix = "" if scale == UNIT else f" ({unit})"
        label = f"difference to\n{reference_name}{suffix}"
        fig.colorbar(wrong, ax=axes[1].tolist(), shrink=0.8, extend="both", label=label)
    return fig
