"""Curves over a setting: every series is named, and a legend of many hides none of them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from yoda_nb.figures import plots

plt.switch_backend("agg")


@pytest.mark.parametrize(("n", "beside"), [(3, False), (8, True)])
def test_a_legend_of_many_stands_beside_the_panels(n, beside):
    names = [f"series {k}" for k in range(n)]
    table = pd.DataFrame([{"by": name, "x": x, "y": k + x, "z": k - x} for k, name in enumerate(names) for x in (1, 2)])
    fig = plots.curves(table, "x", {"y": "Y", "z": "Z"}, "by", x_label="x")
    fig.canvas.draw()
    own = [ax.get_legend() for ax in fig.axes if ax.get_legend()]
    (legend,) = fig.legends if beside else own
    assert bool(own) != beside and [text.get_text() for text in legend.get_texts()] == names
    covered = [ax for ax in fig.axes if legend.get_window_extent().overlaps(ax.get_window_extent())]
    assert covered == ([] if beside else fig.axes[:1])
    plt.close(fig)
