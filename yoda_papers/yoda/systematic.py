"""What known truth tells beyond the papers: which part of lesions is systematic, where blur ends and noise begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.phantoms.anatomy import BRAIN
from yoda_nb.phantoms.phantom import TISSUES
from yoda_papers.yoda.averages import drawn, radial_power

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


REACH = 3  # voxels around a lesion in which white matter is compared, as of the CNR [YODA eq. 12]
SMALLEST = 4  # voxels of a lesion
SIZES = (SMALLEST, 8, 16, 32, 64, np.inf)  # groups of lesions, voxels


def lesion_contrast(study: Study) -> pd.DataFrame:
    """Contrast of every lesion, in the truth, in regression, and over samples.

    Columns subject, voxels (of the lesion), true, regression, mean and std (over the samples), noise: the
    standard deviation that white noise of the acquisition's sigma would give that contrast, all on the [0,1]
    scale, and size, the smallest lesion of its group in voxels.
    """
    rows = []
    for v in study.volumes:
        samples, smooth = drawn(study, v), study.samples(v, "yoda-regression")[0]
        for lesion, around in _lesions(v):
            of = [_contrast(x, lesion, around) for x in samples]
            rows.append(
                {
                    "subject": v.subject,
                    "voxels": int(lesion.sum()),
                    "true": _contrast(required(v, "clean"), lesion, around),
                    "regression": _contrast(smooth, lesion, around),
                    "mean": float(np.mean(of)),
                    "std": float(np.std(of, ddof=1)),
                    "noise": (v.sigma or 0.0) * float(np.sqrt(1 / lesion.sum() + 1 / around.sum())),
                }
            )
    table = pd.DataFrame(rows)
    return table.assign(size=[max(s for s in SIZES if s <= n) for n in table.voxels])


def _lesions(v: Volume) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each lesion of at least SMALLEST voxels and the white matter within REACH voxels of it: (D,H,W) bool."""
    sick = required(v, "lesions")[0].numpy()
    white = (required(v, "labels")[0].numpy() == TISSUES.index("WM")) & ~ndimage.binary_dilation(sick)
    numbered, count = ndimage.label(sick)
    found = []
    for number in range(1, count + 1):
        lesion = numbered == number
        around = ndimage.binary_dilation(lesion, iterations=REACH) & white
        if lesion.sum() >= SMALLEST and around.any():
            found.append((lesion, around))
    return found


def _contrast(image: Tensor, lesion: np.ndarray, around: np.ndarray) -> float:
    values = (image[0].double().numpy() + 1) / 2
    return float(values[lesion].mean() - values[around].mean())


def errors_by_frequency(study: Study) -> pd.DataFrame:
    """Power of errors in rings of frequency, by tissue: blur, what a sample adds, and the acquisition's noise.

    Columns subject, tissue, frequency (cycles per voxel), blur (regression less truth), sample (one sample less
    regression), noise (acquired less truth): power per voxel of the tissue, [0,1] scale.
    """
    rows = []
    for v in study.volumes:
        truth, smooth, sample = required(v, "clean"), study.samples(v, "yoda-regression")[0], drawn(study, v)[0]
        differences = {"blur": smooth - truth, "sample": sample - smooth, "noise": required(v, "target") - truth}
        for code, tissue in enumerate(BRAIN, 1):
            inside = required(v, "labels") == code
            power = {name: radial_power(x / 2, inside) for name, x in differences.items()}
            frequencies = next(iter(power.values()))[0]
            rows += [
                {"subject": v.subject, "tissue": tissue, "frequency": f, **{name: p[1][k] for name, p in power.items()}}
                for k, f in enumerate(frequencies)
            ]
    return pd.DataFrame(rows)


TABLES = {"lesion_contrast": lesion_contrast, "errors_by_frequency": errors_by_frequency}
