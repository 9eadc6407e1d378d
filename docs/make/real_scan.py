"""The README's picture of a real scan: sources, synthetic FLAIR and acquired FLAIR of one person.

Run ``python docs/make/real_scan.py --mirror DIR``, where DIR has the folder ucsf (BraTS 2021, CC BY 4.0). It
translates with the default model of 1 mm, which has not seen this hospital, and writes docs/real_scan.webp.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import yoda_nb as yn
from yoda_nb.figures.plots import best_slice
from yoda_nb.images.nifti import read_mask

OUT = Path(__file__).parents[1] / "real_scan.webp"
PERSON = "BraTS2021_00002"
CONTRASTS = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, required=True)
    folder = parser.parse_args().mirror / "ucsf" / PERSON
    files = {name: folder / f"{PERSON}_{ending}.nii.gz" for name, ending in CONTRASTS.items()}
    labels = folder / f"{PERSON}_seg.nii.gz"
    volume = yn.load_volume({name: files[name] for name in ("T1w", "T2w")}, target=("FLAIR", files["FLAIR"]))
    tumour = torch.from_numpy(read_mask(labels)[0])[None]
    result = yn.translate(volume)
    z = best_slice(volume.mask, tumour & volume.mask)
    scores = yn.evaluate(volume, result)
    images = {
        "T1w (source)": volume.source[:1],
        "T2w (source)": volume.source[1:2],
        "FLAIR, synthetic": result.target,
        "FLAIR, acquired": volume.target,
    }
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.1), layout="constrained", facecolor="black")
    rows, columns = (torch.nonzero(volume.mask[0, :, :, z].any(dim)).squeeze() for dim in (1, 0))
    for axis, (title, image) in zip(axes, images.items(), strict=True):
        values = image[volume.mask]
        low, high = values.quantile(torch.tensor([0.005, 0.995]))
        shown = image[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, z]
        axis.imshow(shown.T, cmap="gray", vmin=low, vmax=high, origin="lower")
        axis.set_title(title, color="white", fontsize=11)
        axis.set_axis_off()
    figure.savefig(OUT, dpi=110, facecolor="black")
    print(OUT, {name: round(value, 3) for name, value in scores.items()})


if __name__ == "__main__":
    main()
