"""What ``bench --growth`` found, drawn: work, time and memory beside voxels, steps and samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from yoda_nb.figures.plots.base import STYLE

PANELS = {"gflop": "operations (GFLOP)", "seconds": "CPU time (s)", "mb": "peak memory (MB)"}
LINES = {"voxels": ("#0072B2", "o"), "n_steps": ("#D55E00", "s"), "n_ex": ("#009E73", "D")}
SPOKEN = {"voxels": "voxels", "n_steps": "steps", "n_ex": "samples ($N_{Ex}$)"}


def growth_figure(result: Mapping[str, Any]) -> Figure:
    """A panel for each of ``PANELS`` that was measured: everything as multiples of its smallest case, log-log.

    ``result`` is that of ``growth.growth``, also as read from JSON. The dashed line is proportional growth.
    """
    found = result["growth"]
    panels = [name for name in PANELS if f"{name}_by_voxels" in found]
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.1), squeeze=False, layout="constrained")
        for ax, what in zip(axes[0], panels, strict=True):
            for kind, (colour, marker) in LINES.items():
                x, y = zip(*((float(x), y) for x, y in found[f"{what}_by_{kind}"].items()), strict=True)
                label = f"{SPOKEN[kind]}: exponent {result[f'exponent_{what}_by_{kind}']:.2f}"
                ax.loglog([v / x[0] for v in x], [v / y[0] for v in y], color=colour, marker=marker, label=label)
            ends = ax.get_xlim()
            ax.plot(ends, ends, color="0.5", ls="--", lw=1, zorder=0)
            ax.set(title=PANELS[what], xlabel="times the smallest case", xlim=ends)
            ax.legend(frameon=False, fontsize=8)
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(FormatStrFormatter("%g"))
                axis.set_minor_formatter(NullFormatter())
        axes[0, 0].set_ylabel("times that of the smallest case")
    return fig
