"""Small manifests and the small image that their rows name."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np

from yoda_nb.data.rows import COLUMNS

GOOD = dict(zip(COLUMNS, ("d", "s1", "train", "T1w", "a.nii.gz", "n/a", "CC0", "made", "n/a"), strict=True))
URL = "https://example.org/files/map.nii.gz"


def manifest(folder, *rows, columns=COLUMNS, encoding="utf-8", newline="\n"):
    path = folder / "data_manifest.csv"
    with open(path, "w", encoding=encoding, newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator=newline, extrasaction="ignore")
        table.writeheader()
        table.writerows({**GOOD, **row} for row in rows)
    return path


def ball(folder, name, value=1.0):
    mm = (np.moveaxis(np.indices((20,) * 3), 0, -1) - 9.5) * 7
    inside = (mm**2).sum(-1) < 60**2
    data = inside * (np.indices(inside.shape)[0] + 50.0) * value
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([7.0, 7, 7, 1])), folder / name)
    return folder / name
