"""A table as a cohort: what tells images apart, and who stands out of known numbers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.sweep import cohort

COMMON = {"dataset": "d", "split": "test", "model": "m", "state": "done", "error": None, "reference": "acquired"}


def table(scores, **columns) -> pd.DataFrame:
    rows = {"trial": range(len(scores)), "subject": [f"s{k}" for k in range(len(scores))], "system": "unet", "seed": 0}
    of = dict.fromkeys(("psnr", "mae", "mse", "data_range", "noise"), 1.0) | {"ssim": scores}
    return pd.DataFrame(rows | COMMON | of | columns)


def test_a_way_is_told_by_what_differs_and_no_more():
    rows = pd.concat([table([0.5, 0.6], n_steps=8), table([0.7, 0.8], n_steps=16), table([0.9], system="yoda")])
    assert cohort.ways(rows) == ["unet, n_steps 8.0"] * 2 + ["unet, n_steps 16.0"] * 2 + ["yoda"]
    assert cohort.ways(table([0.5, 0.6], seed=[0, 1])) == ["unet, seed 0", "unet, seed 1"]
    assert cohort.ways(table([0.5, 0.6], n_steps=8)) == ["unet", "unet"]


def test_one_reference_is_kept_and_failures_are_left_out():
    both = pd.concat([table([0.5, 0.6]), table([0.7, 0.8], reference="truth"), table([np.nan], state="failed")])
    assert cohort.done(both).ssim.tolist() == [0.5, 0.6] and cohort.done(both, "truth").ssim.tolist() == [0.7, 0.8]
    assert set(cohort.done(table([0.7], reference="truth")).reference) == {"truth"}, "there is no other"
    with pytest.raises(InputError, match="scored against acquired"):
        cohort.done(table([0.7], reference="truth"), "acquired")
    with pytest.raises(InputError, match="No image"):
        cohort.done(table([np.nan], state="failed"))


def test_deviations_are_robust_and_of_each_way():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.9, 0.01, 4000)
    scores[:400] = 0.1  # a tenth is spoilt, which would double an ordinary standard deviation many times
    rows = cohort.done(pd.concat([table(scores), table(rng.normal(0.5, 0.1, 4000), system="other")]))
    found = cohort.deviations(rows)
    kept = found[(found.ssim > 0.2) & (found.system == "unet")]
    assert kept.z.std() == pytest.approx(1, abs=0.15) and found[found.system == "other"].z.std() == pytest.approx(
        1, 0.1
    )
    assert (found[found.ssim == 0.1].z < -50).all()
    out = cohort.outliers(rows)
    assert set(out.trial[:400]) == set(range(400)) and out.z.abs().is_monotonic_decreasing
    by_chance = 7600 * 2 * stats.norm.sf(cohort.FAR)
    assert len(out) - 400 < by_chance + 6 * by_chance**0.5


def test_nobody_stands_out_where_half_are_equal():
    assert (cohort.deviations(cohort.done(table([0.5, 0.5, 0.5, 0.9]))).z == 0).all()


def test_the_worst_are_people_with_their_worst_image():
    rows = pd.concat([table([0.9, 0.8, 0.7, 0.6, 0.5]), table([0.9, 0.9, 0.89, 0.91, 0.2], system="other")])
    found = cohort.worst(cohort.done(rows), 2)
    assert found.subject.tolist() == ["s4", "s2"] and found.ssim.tolist() == [0.2, 0.89]


def test_a_matrix_shows_zero_in_the_middle_and_leaves_gaps():
    fig = plots.matrix(pd.DataFrame({"a": [0.0, -9.0], "b": [3.0, np.nan]}, index=["x", "y"]), label="z", limit=3)
    (mesh,) = fig.axes[0].collections
    assert mesh.get_clim() == (-3, 3) and np.ma.getmaskarray(mesh.get_array()).sum() == 1
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["x", "y"]
    plt.close(fig)
