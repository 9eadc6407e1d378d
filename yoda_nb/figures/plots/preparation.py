"""Pictures of a preparation: do two contrasts lie on each other, does the mask fit, what are the intensities.

Images are (1,D,H,W) on any scale; views are radiological, as everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from yoda_nb.diffusion.slabs import VIEWS
from yoda_nb.figures.plots.base import STYLE
from yoda_nb.figures.plots.slices import busiest_slice, slice_of
from yoda_nb.images.space import roi_box

__all__ = ["checkerboards", "histograms", "outlines"]

ROOM = 12  # voxels around the brain
SQUARES = 9  # of a checkerboard, along the longer side
EDGE = "#E69F00"  # of a mask
ORDER = (2, 1, 0)  # axial, coronal, sagittal
LINES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def checkerboards(reference: Tensor, others: Mapping[str, Tensor], mask: Tensor) -> Figure:
    """Squares of the reference between squares of each other image, in three views: edges must go on.

    Images (1,D,H,W) in their files' units, cut to the mask's surroundings.
    """
    reference, others = _around(reference, mask), {name: _around(image, mask) for name, image in others.items()}
    mask = _around(mask, mask)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(len(others), 3, figsize=(9, 3.0 * len(others)), squeeze=False, layout="constrained")
        for row, (name, image) in zip(axes, others.items(), strict=True):
            for ax, view in zip(row, ORDER, strict=True):
                index = busiest_slice(mask, view)
                a, b = (_scaled(x, mask, view, index) for x in (reference, image))
                ax.imshow(np.where(_board(a.shape), a, b), cmap="gray", vmin=0, vmax=1)
                ax.set_title(f"{name}, {VIEWS[view]}")
                ax.set_axis_off()
    return fig


def outlines(image: Tensor, mask: Tensor, name: str) -> Figure:
    """The mask's outline on an image, in three views: the brain must lie in it, and nothing else."""
    image, mask = _around(image, mask), _around(mask, mask)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
        for ax, view in zip(axes, ORDER, strict=True):
            index = busiest_slice(mask, view)
            ax.imshow(_scaled(image, mask, view, index), cmap="gray", vmin=0, vmax=1)
            ax.contour(slice_of(mask, view, index).astype(float), [0.5], colors=EDGE, linewidths=1.2)
            ax.set_title(f"{name}, {VIEWS[view]}")
            ax.set_axis_off()
    return fig


def histograms(images: Mapping[str, Tensor], mask: Tensor) -> Figure:
    """How often each intensity in the mask is, one line a contrast, on the [0,1] scale of the package."""
    with plt.rc_context(STYLE):
        fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
        for k, (name, image) in enumerate(images.items()):
            counts, edges = np.histogram(((image[mask] + 1) / 2).numpy(), bins=80, range=(0, 1), density=True)
            colour, style = LINES[k % len(LINES)]
            ax.plot((edges[1:] + edges[:-1]) / 2, counts, color=colour, ls=style, label=name)
        ax.set(xlabel="intensity", ylabel="density", xlim=(0, 1), ylim=(0, None))
        ax.legend(frameon=False)
    return fig


def _around(x: Tensor, mask: Tensor) -> Tensor:
    """What lies in the mask's box and a little around it."""
    return x[:, *roi_box(mask, (ROOM,) * 3)]


def _scaled(image: Tensor, mask: Tensor, view: int, index: int) -> np.ndarray:
    """A slice on [0,1]: from zero to what only vessels and fat exceed in the mask."""
    high = float(np.percentile(image[mask].numpy(), 99.5))
    return np.clip(slice_of(image, view, index) / max(high, 1e-6), 0, 1)


def _board(shape: tuple[int, ...]) -> np.ndarray:
    side = max(1, round(max(shape) / SQUARES))
    rows, columns = np.indices(shape) // side
    return (rows + columns) % 2 == 0
