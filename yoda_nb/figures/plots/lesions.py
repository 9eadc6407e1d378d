"""Lesion figures: outlines on images, and Bland-Altman plots of volume fractions."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from yoda_nb.figures.plots.base import FAMILIES, STYLE
from yoda_nb.figures.plots.slices import _letters, slice_of

__all__ = ["bland_altman", "lesion_outlines"]

FOUND, TRUE = "#E69F00", "#56B4E9"  # Okabe and Ito's orange and sky blue, both clear on grey


def lesion_outlines(
    images: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    true: Tensor | None = None,
    *,
    view: int = 2,
    index: int | None = None,
    margin: int = 4,
) -> Figure:
    """Images (1,D,H,W) in [-1,1] side by side, outlined where lesions were found and where they are.

    ``masks`` has the mask (1,D,H,W) of each image by the same name; ``true`` is drawn dashed on
    all. The slice is cut to the brain, the voxels above -1 of the first image, and a margin.
    """
    slices = {label: slice_of(image, view, index) for label, image in images.items()}
    rows, columns = (next(iter(slices.values())) > -1).nonzero()
    cut = (slice(None), slice(None))
    if len(rows):
        down, across = (slice(max(0, at.min() - margin), at.max() + 1 + margin) for at in (rows, columns))
        cut = (down, across)
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1, len(images), figsize=(2.3 * len(images) + 0.2, 3.1), squeeze=False, layout="constrained"
        )
        for ax, (label, shown) in zip(axes[0], slices.items(), strict=True):
            ax.imshow((shown[cut] + 1) / 2, cmap="gray", vmin=0, vmax=1)
            for mask, colour, style in ((true, TRUE, "dashed"), (masks[label], FOUND, "solid")):
                plane = None if mask is None else slice_of(mask, view, index)[cut]
                if plane is not None and plane.any():  # without a level to cross, contour warns
                    ax.contour(plane.astype(float), [0.5], colors=colour, linestyles=style, linewidths=1.3)
            ax.set_title(label)
            ax.set_axis_off()
            _letters(ax, view)
        handles = [Line2D([], [], color=FOUND, label="found")]
        if true is not None:
            handles.append(Line2D([], [], color=TRUE, ls="--", label="true"))
        fig.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return fig


def bland_altman(pairs: Mapping[str, pd.DataFrame], limits: pd.DataFrame, *, unit: str, against: str) -> Figure:
    """Difference against mean of paired measurements, a panel a sampler on common axes (Fig. 4).

    ``pairs``: sampler -> columns x, y; ``limits``: one row a sampler, with columns sampler, bias,
    low, high (nan draws none).
    """
    at = limits.set_index("sampler")
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(
            1,
            len(pairs),
            figsize=(2.6 * len(pairs) + 0.8, 2.9),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax, (label, pair) in zip(axes[0], pairs.items(), strict=True):
            colour, marker = FAMILIES.get(label.split()[0], ("k", "x"))
            ax.axhline(0, color="0.7", lw=1)
            ax.plot((pair.x + pair.y) / 2, pair.x - pair.y, marker, color=colour, ms=6, ls="none")
            for name, style in (("bias", "-"), ("low", "--"), ("high", "--")):
                ax.axhline(at.loc[label, name], color=colour, ls=style, lw=1)
            ax.set_title(label)
            ax.set_xlabel(f"mean of both ({unit})")
        axes[0, 0].set_ylabel(f"difference to {against}\n({unit})")
    return fig
