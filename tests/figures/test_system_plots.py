"""Figures of the table of systems: names that can be read, a ranking from the best."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from score_tables import scores

from yoda_nb.figures import plots
from yoda_nb.figures.plots.systems import REFERENCES, group_style, label_points

plt.switch_backend("agg")


def test_names_cover_neither_points_nor_each_other():
    """Even where all points lie in one heap."""
    rng = np.random.default_rng(1)
    points = [(float(x), float(y)) for x, y in rng.normal(0.5, 0.06, (14, 2))]
    fig, ax = plt.subplots(figsize=(8, 5.5))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    boxes = label_points(ax, points, [f"system-{k}" for k in range(14)])
    at, frame = ax.transData.transform(points), ax.get_window_extent()
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :])
        assert not any(box.contains(*p) for p in at)
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    written = sorted(t.get_text() for t in ax.texts)
    assert written == sorted(f"system-{k}" for k in range(14))
    plt.close(fig)


def test_the_ranking_starts_with_the_best():
    table = scores(low=-0.1, high=0.1, middle=0.0).assign(paper="x")
    fig = plots.ranking(table, {"ssim": "SSIM", "psnr": "PSNR (dB)"})
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["high", "middle", "low"]
    assert fig.axes[0].get_ylim()[0] > fig.axes[0].get_ylim()[1], "the first line is at the top"
    plt.close(fig)
    parts = table.assign(compared=table["sampler"].map({"low": "one", "middle": "other", "high": "other"}))
    fig = plots.ranking(parts, {"ssim": "SSIM"}, apart="compared")
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["low", "high", "middle"]
    assert [t.get_text() for t in fig.axes[0].texts] == ["one", "other"], "each block has its name"
    plt.close(fig)


def test_every_paper_has_a_look_of_its_own():
    names = [f"paper {k}" for k in range(13)] + list(REFERENCES)
    assert len(set(group_style(names).values())) == len(names)
