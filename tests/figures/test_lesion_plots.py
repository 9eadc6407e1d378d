"""Figures of lesions: outlines, and limits of agreement."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from yoda_nb.figures import plots
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.segmentation import agreement, fraction_pairs


def blob_volume(shape=(12, 14, 10)) -> Volume:
    """A brain of grey 0 with two bright lesions."""
    lesions = torch.zeros(1, *shape, dtype=torch.bool)
    lesions[0, 3:5, 4:6, 4:6] = lesions[0, 8:10, 9:11, 4:7] = True
    clean = torch.where(lesions, 0.8, 0.0)
    mask = torch.ones_like(lesions)
    return Volume(
        source=clean.repeat(2, 1, 1, 1),
        mask=mask,
        affine=np.diag([3.0, 3, 3, 1]),
        sources=("T1w", "T2w"),
        subject="blob",
        target=clean,
        clean=clean,
        labels=torch.full(lesions.shape, 3, dtype=torch.uint8),
        lesions=lesions,
        sigma=0.04,
    )


def fractions(found: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"subject": k, "sampler": name, "volume_fraction": f} for name, fs in found.items() for k, f in enumerate(fs)
    ]
    return pd.DataFrame(rows)


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
