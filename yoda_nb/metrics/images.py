"""Scores of images, each with a stated data range.

One call scores one case; nothing here averages over cases.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.units import hounsfield
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.hounsfield import hounsfield_scores, vessel_scores

WINDOW = 11  # voxels, the width of the SSIM's Gaussian window (sigma 1.5)


def _checked(pred: Tensor, target: Tensor, mask: Tensor, data_range: float) -> Tensor:
    """The mask as bool, after refusing what would give a meaningless number."""
    if not pred.shape == target.shape == mask.shape or pred.ndim != 4 or len(pred) != 1:
        raise InputError(
            f"Prediction {tuple(pred.shape)}, target {tuple(target.shape)} and mask "
            f"{tuple(mask.shape)} must share one shape (1, D, H, W)."
        )
    inside = mask.bool()
    if not inside.any():
        raise InputError("The mask is empty; give a mask with at least one voxel to score.")
    if not data_range > 0:
        raise InputError(f"data_range is {data_range}; give the positive width of the intensity scale.")
    for name, image in (("prediction", pred), ("target", target)):
        if not torch.isfinite(image[inside]).all():
            raise InputError(f"The {name} is NaN or infinite inside the mask; fix it before scoring.")
    return inside


def _box(inside: Tensor) -> tuple[slice, ...]:
    """The mask's bounding box as an index of a (1, D, H, W) tensor."""
    low, high = inside.nonzero().aminmax(dim=0)
    return tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))


def psnr(pred: Tensor, target: Tensor, mask: Tensor, *, data_range: float, over: str = "mask") -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(data_range^2 / MSE).

    (1, D, H, W) on a scale of width ``data_range`` -> dB; inf for equal images. ``over="mask"``
    averages the squared error over the mask's voxels. ``over="box"`` averages over the mask's
    bounding box with zero error outside the mask, as cropping masked images does (YODA,
    III-F); it is higher by 10 log10(box voxels / mask voxels).
    """
    inside = _checked(pred, target, mask, data_range)
    if over not in ("mask", "box"):
        raise InputError(f"PSNR can average over 'mask' or 'box', not over {over!r}.")
    total = float((pred[inside].double() - target[inside].double()).square().sum())
    count = int(inside.sum()) if over == "mask" else inside[_box(inside)].numel()
    return float(np.inf) if total == 0 else 10 * float(np.log10(data_range**2 * count / total))


def ssim(pred: Tensor, target: Tensor, mask: Tensor, *, data_range: float, background: float = 0.0) -> float:
    """3-D structural similarity with a Gaussian window of 11 voxels, sigma 1.5 [YODA III-F].

    (1, D, H, W) on a scale of width ``data_range`` -> at most 1. Both images are set to
    ``background`` outside the mask and cropped to its box; the mean runs over every window that
    lies wholly in the box, windows of background included. SSIM is not invariant to a shift of
    the scale: reported values take [0, 1] images with background 0 (data_range 1).
    Raises InputError for a box narrower than the window.
    """
    inside = _checked(pred, target, mask, data_range)
    box = _box(inside)
    images = [torch.where(inside, x.float(), background)[box][None] for x in (pred, target)]
    if min(images[0].shape[2:]) < WINDOW:
        raise InputError(
            f"The mask's box is {tuple(images[0].shape[2:])} voxels, but 3-D SSIM needs at least "
            f"{WINDOW} along every axis; score a larger region or a finer grid."
        )
    from monai.metrics.regression import SSIMMetric  # seconds: only where it is used

    metric = SSIMMetric(3, data_range=data_range, win_size=WINDOW, kernel_sigma=1.5)
    return float(torch.as_tensor(metric(*images)))


def score(pred: Tensor, target: Tensor, mask: Tensor, *, data_range: float) -> dict[str, float]:
    """All image scores of one case: psnr, ssim, mae, mse and the data range they belong to.

    (1, D, H, W) on a scale of width ``data_range``. PSNR (dB), MAE and MSE average over the
    mask's voxels, SSIM over the windows of its box.
    """
    inside = _checked(pred, target, mask, data_range)
    error = pred[inside].double() - target[inside].double()
    return {
        "psnr": psnr(pred, target, mask, data_range=data_range),
        "ssim": ssim(pred, target, mask, data_range=data_range),
        "mae": float(error.abs().mean()),
        "mse": float(error.square().mean()),
        "data_range": float(data_range),
    }


def evaluate(volume: Volume, image: Tensor | Volume, *, reference: str = "acquired") -> dict[str, float]:
    """``score`` of an image as the package holds it, (1,D,H,W) in [-1,1], or of a translated Volume's.

    ``reference`` is "acquired", the volume's target, or "truth", its noise-free image, which phantoms
    know. Inside the mask, on the [0,1] scale, data range 1; of a CT with ``hounsfield_scores``, of a CTA with
    ``vessel_scores`` too.
    Raises InputError for a reference that the volume does not have and for images of another shape.
    """
    if isinstance(image, Volume):
        image = _required(image.target, image, "image")
    known = {"acquired": volume.target, "truth": volume.clean}
    if reference not in known:
        raise InputError(f"The reference {reference!r} is unknown: choose acquired or truth.")
    target = _required(known[reference], volume, f"{reference} {volume.contrast}")
    scores = score((image + 1) / 2, (target + 1) / 2, volume.mask, data_range=1)
    if hounsfield(volume.contrast):
        scores |= hounsfield_scores(image, target, volume.mask, volume.contrast)
    if volume.contrast == "CTA":
        scores |= vessel_scores(image, target, volume.mask, volume.affine)
    return scores


def _required(image: Tensor | None, volume: Volume, what: str) -> Tensor:
    if image is None:
        raise InputError(f"{volume.subject} has no {what} to score: give one as its target.")
    return image


def matched_to(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """An image (1,D,H,W) after the gain and offset that bring it nearest to the target in the mask."""
    a, b = image[mask].double(), target[mask].double()
    gain = ((a - a.mean()) * (b - b.mean())).mean() / a.var(unbiased=False).clamp_min(1e-12)
    return (gain * (image - a.mean()) + b.mean()).float()


def pearson(pred: Tensor, target: Tensor, mask: Tensor) -> float:
    """Pearson's correlation r of two images (1, D, H, W) over the mask's voxels (FastUNet).

    Blind to scale and offset of either; nan where one is constant.
    """
    inside = _checked(pred, target, mask, data_range=1.0)
    a, b = (x[inside].double() - x[inside].double().mean() for x in (pred, target))
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())


def noise_bound(clean01: Tensor, mask: Tensor, sigma: float, n_ex: int, *, generator: torch.Generator) -> float:
    """The SSIM that averaging ``n_ex`` independently noisy images allows (data range 1).

    clean01 (1, D, H, W) in [0, 1]: the SSIM between it and itself plus Gaussian noise of
    sigma / sqrt(n_ex). ExpA sampling cannot come closer to the regression image than this while
    each of its samples carries noise of sigma [YODA eq. 2].
    """
    noise = torch.randn(clean01.shape, generator=generator, device=generator.device).to(clean01)
    return ssim(clean01 + sigma / n_ex**0.5 * noise, clean01, mask, data_range=1.0)
