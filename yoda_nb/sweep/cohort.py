"""A sweep's table as a cohort: one score for each image, who stands out, and who is worst."""

from __future__ import annotations

import numpy as np
import pandas as pd

from yoda_nb.errors import InputError
from yoda_nb.sweep.record import FAILED, is_setting

CONSISTENT = 1.4826  # median absolute deviation -> standard deviation, where values are normal
FAR = 3.5  # deviations from the median that stand out (Iglewicz and Hoaglin 1993)


def done(table: pd.DataFrame, reference: str = "") -> pd.DataFrame:
    """Rows of one reference, "acquired" before "truth" unless one is named, with a column ``way``: what made them.

    Raises InputError for a table without scores.
    """
    there = table[(table.state != FAILED) & table.reference.notna()]
    names = [name for name in (reference or "acquired", "truth") if (there.reference == name).any()]
    if not names or (reference and names[0] != reference):
        raise InputError(f"No image of this table is scored{f' against {reference}' if reference else ''}.")
    rows = there[there.reference == names[0]]
    return rows.assign(way=ways(rows)).reset_index(drop=True)


def ways(table: pd.DataFrame) -> list[str]:
    """What made each row in words: the system, and of its settings, models and seeds those that differ."""
    settings = [name for name in table if is_setting(name)]
    told = [name for name in (*settings, "model", "seed") if _varies(table, name)]
    return [
        ", ".join([row["system"], *(f"{name} {row[name]}" for name in told if pd.notna(row[name]))])
        for row in table.to_dict("records")
    ]


def _varies(table: pd.DataFrame, name: str) -> bool:
    """Whether a column tells images of one system apart."""
    return bool((table.groupby("system")[name].nunique(dropna=False) > 1).any())


def deviations(rows: pd.DataFrame, metric: str = "ssim") -> pd.DataFrame:
    """The rows with a column ``z``: how far the metric lies from its way's median, in robust standard deviations.

    The scale is 1.4826 times the median absolute deviation; where half of the values are equal nothing can stand out
    and ``z`` is 0.
    """
    of = rows.groupby("way")[metric]
    away = rows[metric] - of.transform("median")
    scale = CONSISTENT * away.abs().groupby(rows.way).transform("median")
    return rows.assign(z=np.where(scale > 0, away / scale.where(scale > 0, 1.0), 0.0))


def outliers(rows: pd.DataFrame, metric: str = "ssim", far: float = FAR) -> pd.DataFrame:
    """Rows that lie further than ``far`` from the median of their way, the furthest first."""
    found = deviations(rows, metric)
    return found[found.z.abs() > far].sort_values("z", key=abs, ascending=False, kind="stable")


def worst(rows: pd.DataFrame, n: int = 10, metric: str = "ssim") -> pd.DataFrame:
    """The ``n`` subjects whose images lie furthest below the median of their way, each with its worst image."""
    found = deviations(rows, metric).sort_values("z", kind="stable").drop_duplicates(["dataset", "subject"])
    return found.head(n)
