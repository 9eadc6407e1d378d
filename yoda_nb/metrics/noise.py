"""Acquisition noise: make it, describe it, measure it, and split an error into its parts.

Images are magnitudes on the [0, 1] scale, any shape unless stated; sigma is on the same scale.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from scipy.special import i0e, i1e
from torch import Tensor

from yoda_nb.errors import InputError


def add_rician(image01: Tensor, sigma: float | Tensor, *, generator: torch.Generator) -> Tensor:
    """One acquisition of a noise-free magnitude: ``|X' + n_re + i n_im|`` [YODA eq. 1].

    image01: any shape, magnitude >= 0 -> same shape, not clipped above; sigma is the standard
    deviation of the real and of the imaginary part. The noise is drawn on the generator's device.
    """
    noise = torch.randn((2, *image01.shape), generator=generator, device=generator.device)
    real, imaginary = sigma * noise.to(image01)
    return torch.hypot(image01 + real, imaginary)


def rician_mean(signal: ArrayLike, sigma: float) -> np.ndarray:
    """Mean of the Rice distribution, float64: sigma sqrt(pi/2) L_{1/2}(-signal^2 / 2 sigma^2).

    The Laguerre function is written with exponentially scaled Bessel functions, so that it holds
    at any signal-to-noise ratio; ``sigma == 0`` returns the signal.
    """
    signal = np.asarray(signal, dtype=np.float64)
    if sigma == 0:
        return signal.copy()
    y = (signal / (2 * sigma)) ** 2
    return sigma * np.sqrt(np.pi / 2) * ((1 + 2 * y) * i0e(y) + 2 * y * i1e(y))


def rician_std(signal: ArrayLike, sigma: float) -> np.ndarray:
    """Standard deviation of the Rice distribution, float64; tends to sigma at high signal."""
    signal = np.asarray(signal, dtype=np.float64)
    if sigma == 0:
        return np.zeros_like(signal)
    variance = signal**2 + 2 * sigma**2 - rician_mean(signal, sigma) ** 2
    # Above a ratio of 100 the difference of squares loses digits and the expansion is exact.
    high = signal > 100 * sigma
    expansion = sigma**2 * (1 - 0.5 * (sigma / np.where(high, signal, np.inf)) ** 2)
    return np.sqrt(np.where(high, expansion, variance))


def white_matter_noise(image01: Tensor, white_matter_mask: Tensor, *, correct: bool = True) -> float:
    """Noise level sigma from the white matter's deviations from its local mean: ``noise_and_voxels``."""
    return noise_and_voxels(image01, white_matter_mask, correct=correct)[0]


def noise_and_voxels(
    image01: Tensor, white_matter_mask: Tensor, *, correct: bool = True, kernel_size: int = 5, blur: float = 1.1
) -> tuple[float, int]:
    """Noise level sigma of the white matter [YODA III-F], and the number of voxels it rests on.

    image01, white_matter_mask: (1, D, H, W) or (D, H, W), [0, 1] scale -> sigma on that scale. The
    local mean is a Gaussian blur (5 voxels wide, sigma 1.1) normalised inside the mask, so that no
    other tissue enters; only voxels whose 26 neighbours are all white matter count.
    Leave lesions out of the mask: they are structure, and read as noise.

    A local mean contains the voxel itself: for white noise the squared residual is only
    1 - 2 w_0 + sum(w^2) of the variance. ``correct`` divides by that factor, which the paper
    leaves out, and makes the estimate unbiased for white noise; smooth noise still reads low.
    Raises InputError where shapes differ or no voxel is left.
    """
    if image01.shape != white_matter_mask.shape or image01.ndim not in (3, 4):
        raise InputError(
            f"The image {tuple(image01.shape)} and the white-matter mask "
            f"{tuple(white_matter_mask.shape)} must share one shape (1, D, H, W) or (D, H, W)."
        )
    image = image01.reshape(1, 1, *image01.shape[-3:]).double()
    mask = white_matter_mask.reshape(image.shape) > 0.5
    # An image edge counts as a boundary: what lies beyond it is unknown.
    inner = F.max_pool3d(F.pad((~mask).double(), [1] * 6, value=1.0), 3, stride=1)[mask] == 0
    if not inner.any():
        raise InputError(
            f"None of the {int(mask.sum())} white-matter voxels is a voxel away from every tissue "
            "boundary; give a larger white-matter mask or a finer grid to estimate the noise."
        )
    from monai.networks.layers.simplelayers import separable_filtering  # seconds: only where it is used

    line = torch.exp(-0.5 * (torch.arange(kernel_size).double() - kernel_size // 2) ** 2 / blur**2)
    line = (line / line.sum()).to(image.device)
    inside = mask.double()
    weight = separable_filtering(inside, [line] * 3)[mask]
    mean = separable_filtering(torch.where(mask, image, 0.0), [line] * 3)[mask] / weight
    residual = (image[mask] - mean)[inner] ** 2
    if correct:
        w0 = line[kernel_size // 2] ** 3 / weight
        w2 = separable_filtering(inside, [line**2] * 3)[mask] / weight**2
        residual = residual / (1 - 2 * w0 + w2)[inner]
    return float(residual.mean().sqrt()), int(inner.sum())


def mse_split(pred: Tensor, acquired: Tensor, clean: Tensor, pred_clean: Tensor, mask: Tensor) -> dict[str, float]:
    """The terms of MSE(pred, acquired) inside the mask [YODA III-A, the split before eq. 3].

    All (1, D, H, W) on the [0, 1] scale. With the error of the noise-free prediction
    e = pred_clean - clean, the acquired noise n = acquired - clean and the generated noise
    m = pred - pred_clean, pred - acquired = e - n + m exactly, so

        total = <e^2> + <n^2> + <m^2> + cross,  cross = 2<em> - 2<en> - 2<nm>.

    The paper sets the cross terms to zero; here they are returned one by one to be looked at.
    Keys: mse_clean, acquisition_noise, generation_noise, cross, total, and the parts of cross:
    cross_error_generation (2<em>), cross_error_acquisition (-2<en>), cross_noise (-2<nm>).
    """
    inside = mask.bool()
    if not inside.any():
        raise InputError("The mask of the MSE split is empty; give a mask with at least one voxel.")
    p, a, c, pc = (image.double()[inside] for image in (pred, acquired, clean, pred_clean))
    e, n, m = pc - c, a - c, p - pc
    terms = {
        "mse_clean": e * e,
        "acquisition_noise": n * n,
        "generation_noise": m * m,
        "cross_error_generation": 2 * e * m,
        "cross_error_acquisition": -2 * e * n,
        "cross_noise": -2 * n * m,
        "total": (p - a) ** 2,
    }
    split = {name: float(value.mean()) for name, value in terms.items()}
    return split | {"cross": sum(v for name, v in split.items() if name.startswith("cross_"))}
