"""Figures of lesions: outlines, and limits of agreement."""

from __future__ import annotations

import pandas as pd
import torch
from score_tables import fractions
from volumes_by_hand import blob_volume

from yoda_nb.figures import plots
from yoda_nb.metrics.segmentation import agreement, fraction_pairs


def test_figures_draw_outlines_and_limits(recwarn):
    v = blob_volume()
    masks = {"acquired": v.lesions, "empty": torch.zeros_like(v.lesions)}
    fig = plots.lesion_outlines({"acquired": v.target, "empty": v.target}, masks, v.lesions, index=4)
    assert [ax.get_title() for ax in fig.axes] == ["acquired", "empty"]
    assert [len(ax.collections) for ax in fig.axes] == [2, 1], "found and true, and the true one alone"
    table = fractions({"acquired": [0.001, 0.002, 0.004], "regression": [0.0012, 0.002, 0.0035]})
    pairs = {"regression": fraction_pairs(table, "regression")}
    fig = plots.bland_altman(pairs, pd.DataFrame([agreement(table, "regression")]), unit="logit", against="acquired")
    (ax,) = fig.axes
    assert ax.get_title() == "regression" and len(ax.lines[1].get_xdata()) == 3
    assert not [w for w in recwarn if issubclass(w.category, UserWarning)]
    plots.plt.close("all")
