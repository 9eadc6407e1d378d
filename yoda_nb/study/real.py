"""Real scans: scores of a translation with what bounds them, and straight lines to beat.

The acquired image is noisy and its scale is its scanner's own, so a score against it says little
alone. Beside it stand the score after a linear match of intensities, which tells scale from anatomy, and
the score that the truth itself would get through the acquired image's noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from yoda_nb.images.space import roi_box
from yoda_nb.images.volumes import Volume, crop_volume, required
from yoda_nb.metrics.images import evaluate, matched_to, noise_bound, score
from yoda_nb.metrics.noise import add_rician, rician_mean, rician_std, white_matter_noise
from yoda_nb.study.tables import white_matter

WATER = 97  # percentile of T2w inside the mask above which a voxel holds mostly CSF
GOALS = {  # inside the brain at 1 mm, regression, of people never seen
    "zero-shot": {"ssim": 0.85, "csf": 0.6, "lesions": 0.8},
    "fine-tuned": {"ssim": 0.87, "csf": 0.6, "lesions": 0.8},
}


def real_scores(volume: Volume, image: Tensor) -> dict[str, float]:
    """How near an image (1,D,H,W) in [-1,1] is to the acquired target, on the [0,1] scale, data range 1.

    ssim, psnr: as they are; matched_ssim, matched_psnr: after the best gain and offset; bound: the SSIM
    that this image without error would have through the acquired image's white-matter noise ``sigma``;
    csf: the median of CSF over that of white matter; lesions: the contrast of lesions to white matter
    as a share of the acquired one, nan without lesions. Raises InputError without target or T1w.
    """
    found = evaluate(volume, image)
    matched = score(
        matched_to((image + 1) / 2, _target(volume), volume.mask), _target(volume), volume.mask, data_range=1
    )
    inner = inside_white_matter(volume)
    sigma = white_matter_noise(_target(volume), inner)
    bound = noise_bound((image + 1) / 2, volume.mask, sigma, 1, generator=torch.Generator().manual_seed(0))
    return {
        "ssim": found["ssim"],
        "psnr": found["psnr"],
        "matched_ssim": matched["ssim"],
        "matched_psnr": matched["psnr"],
        "bound": bound,
        "sigma": sigma,
        "csf": water_over_white((image + 1) / 2, volume),
        "lesions": lesion_share(volume, (image + 1) / 2),
    }


def inside_white_matter(volume: Volume) -> Tensor:
    """(1,D,H,W) bool: white matter by T1w, without lesions where they are known."""
    known = torch.zeros_like(volume.mask) if volume.lesions is None else volume.lesions
    return white_matter(volume) & ~known


def water_over_white(image01: Tensor, volume: Volume) -> float:
    """Median of CSF, by T2w, over the median of white matter: below 0.6 in any FLAIR worth the name."""
    t2w = volume.source[volume.sources.index("T2w")][None]
    csf = volume.mask & (t2w > np.percentile(t2w[volume.mask].numpy(), WATER))
    return float(image01[csf].median() / image01[inside_white_matter(volume)].median())


def lesion_share(volume: Volume, image01: Tensor) -> float:
    """Contrast of lesions to white matter, over that of the acquired image; nan without lesions."""
    if volume.lesions is None or not volume.lesions.any():
        return float("nan")
    inner = inside_white_matter(volume)

    def contrast(image: Tensor) -> Tensor:
        return image[volume.lesions].mean() / image[inner].mean() - 1

    return float(contrast(image01) / contrast(_target(volume)))


def tissue_peaks(volume: Volume) -> np.ndarray:
    """Where the histogram of each source has its peak inside the mask, (C,) on [0,1]."""
    edges = np.linspace(0, 1, 257)
    counts = [np.histogram((x[volume.mask[0]].numpy() + 1) / 2, edges[2:])[0] for x in volume.source]  # 0: clipped air
    smooth = gaussian_filter1d(np.asarray(counts, float), 4, axis=1)
    return (edges[2:-1] + 0.5 / 256)[smooth.argmax(1)]


def with_peaks(volume: Volume, peaks: np.ndarray) -> Volume:
    """The volume with a gain on each source that puts its tissue peak at ``peaks`` (C,), clipped at 1."""
    gain = torch.from_numpy(peaks / tissue_peaks(volume)).float().view(-1, 1, 1, 1)
    scaled = ((volume.source + 1) / 2 * gain).clamp(max=1)
    return replace(volume, source=torch.where(volume.mask, 2 * scaled - 1, -1.0))


def straight_line(volumes: Iterable[Volume]) -> np.ndarray:
    """Weights (C+1,) of the sources and a constant that come nearest to the targets of all volumes, [-1,1]."""
    columns, wanted = [], []
    for v in volumes:
        inside = v.mask[0]
        columns.append(np.column_stack([v.source[:, inside].numpy().T, np.ones(int(inside.sum()))]))
        wanted.append(required(v, "target")[0][inside].numpy())
    return np.linalg.lstsq(np.concatenate(columns), np.concatenate(wanted), rcond=None)[0]


def along_line(volume: Volume, weights: np.ndarray) -> Tensor:
    """The image (1,D,H,W) in [-1,1] that a straight line makes of the sources."""
    image = torch.tensordot(torch.from_numpy(weights[:-1]).float(), volume.source, 1)[None] + float(weights[-1])
    return torch.where(volume.mask, image.clamp(-1, 1), -1.0)


def slab(volume: Volume, mm: float) -> Volume:
    """The brain of a volume, cut to axial slices over ``mm`` around its lesions, or its middle."""
    side, body, up = roi_box(volume.mask, (4, 4, 4))
    sick = volume.lesions is not None and bool(volume.lesions.any())
    middle = int((required(volume, "lesions") if sick else volume.mask)[0].sum((0, 1)).argmax())
    half, deep = round(mm / 2 / volume.spacing[2]), volume.shape[2]
    low = max(0, min(middle - half, deep - 2 * half))
    return crop_volume(volume, (side, body, slice(max(low, up.start), min(low + 2 * half, up.stop))))


def worst_slice(image: Tensor, volume: Volume) -> int:
    """The axial slice of an image (1,D,H,W) that is furthest from the target, where at least half of the brain is."""
    area = volume.mask[0].sum((0, 1))
    wrong = ((image - required(volume, "target")).abs() * volume.mask)[0].sum((0, 1)) / area.clamp_min(1)
    return int(torch.where(area >= area.max() / 2, wrong, -1.0).argmax())


def second_acquisition(
    image01: Tensor, clean01: Tensor, mask: Tensor, sigmas: Sequence[float], *, generator: torch.Generator
) -> pd.DataFrame:
    """How near a first scan and a synthetic image are to a second scan of the same head, at each noise.

    All (1,D,H,W) on [0,1]; both scans are the noise-free image with Rician noise. Columns sigma, image ("first
    scan" | "synthetic"), mse as measured, and law: twice the noise's variance, against the variance and
    the squared distance of the synthetic image to what the second scan is on average.
    """
    rows = []
    for sigma in sigmas:
        first, second = (add_rician(clean01, sigma, generator=generator) for _ in range(2))
        mean = torch.from_numpy(rician_mean(clean01[mask].numpy(), sigma))
        noise = float((rician_std(clean01[mask].numpy(), sigma) ** 2).mean())
        laws = {"first scan": 2 * noise, "synthetic": noise + float((image01[mask] - mean).square().mean())}
        for (name, law), image in zip(laws.items(), (first, image01), strict=True):
            mse = float((image[mask] - second[mask]).square().mean())
            rows.append({"sigma": sigma, "image": name, "mse": mse, "law": law})
    return pd.DataFrame(rows)


def _target(volume: Volume) -> Tensor:
    return (required(volume, "target") + 1) / 2
