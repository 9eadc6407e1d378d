"""Perceptual distances between sets of slices: Fréchet and kernel distance, and their features.

An extractor is any callable (N, 1, H, W) in [0, 1] -> (N, d). Both distances compare two feature
sets (N, d); the Fréchet distance is biased upwards on small sets, so n, d and a split-half floor
stand beside it, and an unbiased kernel distance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from yoda_nb.errors import InputError
from yoda_nb.metrics.feature_nets import (
    OFFLINE_WEIGHTS,
    TISSUE_WEIGHTS,
    read_offline,
    read_weights,
    resnet50,
    untrained_net,
    vit_b16,
)
from yoda_nb.nets.devices import find_device

Extractor = Callable[[Tensor], Tensor]

# Independent extractors; a distance is the mean over the nets of one of them. "offline" was trained to recognise
# noise and blur, "tissue" to recognise tissue in noise-free maps; "untrained" has random weights.
EYES = {"offline": ("offline",), "untrained": tuple(f"untrained-{k}" for k in range(5)), "tissue": ("tissue",)}
SOURCES = {
    "radimagenet-resnet50": "ResNet50.pt from https://github.com/BMEII-AI/RadImageNet",
    "imagenet-vit-b16": "https://download.pytorch.org/models/vit_b_16-c867db91.pth",
}


def _features(x: ArrayLike, name: str) -> np.ndarray:
    """(N, d) float64, refusing what has no covariance."""
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise InputError(f"The {name} features have shape {x.shape}, but (N, d) with N >= 2 is needed.")
    if not np.isfinite(x).all():
        raise InputError(f"The {name} features hold NaN or infinity; check the images and the extractor.")
    return x


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = _features(a, "first"), _features(b, "second")
    if a.shape[1] != b.shape[1]:
        raise InputError(f"One set has {a.shape[1]} features, the other {b.shape[1]}; use one extractor.")
    return a, b


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Fréchet distance of the Gaussians fitted to two feature sets (the FID of YODA, III-F).

    (N, d), (M, d) -> |mu_a - mu_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) >= 0, in float64, with
    unbiased covariances A, B. Raises InputError for NaN, N < 2 or unequal d.
    """
    a, b = _pair(a, b)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # Symmetric square roots stay real where a covariance is singular (N <= d).
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    shift = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return max(0.0, float(shift + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def kernel_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)^3 of the kernel inception distance.

    (N, d), (M, d) -> float64; its mean is 0 for two samples of one distribution at any N, so a
    single value may be negative. Raises InputError as ``frechet_distance`` does.
    """
    a, b = _pair(a, b)
    n, m, d = len(a), len(b), a.shape[1]
    k_aa, k_bb, k_ab = (((x @ y.T) / d + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = (k_aa.sum() - np.trace(k_aa)) / (n * (n - 1)) + (k_bb.sum() - np.trace(k_bb)) / (m * (m - 1))
    return float(within - 2 * k_ab.mean())


def perceptual_report(
    real: Tensor, fake: Tensor, extractor: Extractor, *, generator: torch.Generator, halves: int = 5
) -> dict[str, float]:
    """Distances of synthetic to real slices, with what is needed to read them.

    real (N, 1, H, W), fake (M, 1, H, W) in [0, 1] ->
    fd: Fréchet distance; kd: unbiased kernel distance; n: the smaller of n_real and n_fake; d:
    features; floor: mean Fréchet distance between two random halves of the real set, over
    ``halves`` splits: what this extractor calls different where nothing is. It is taken at n / 2,
    so it errs upwards; slices of one subject fall in both halves, so it has no subject variance.
    Warns where n < d; raises InputError for NaN features or fewer than four real slices.
    """
    a, b = (_features(extractor(images), name) for images, name in ((real, "real"), (fake, "synthetic")))
    if len(a) < 4:
        raise InputError(f"{len(a)} real slices cannot be split in halves; give at least 4, better 100.")
    n, d = min(len(a), len(b)), a.shape[1]
    if n < d:
        warnings.warn(
            f"The Fréchet distance of n = {n} slices in d = {d} features is mostly bias; use more "
            "slices or an extractor with fewer features.",
            stacklevel=2,
        )
    splits = [torch.randperm(len(a), generator=generator, device=generator.device) for _ in range(halves)]
    half = len(a) // 2
    floors = [frechet_distance(a[i[:half]], a[i[half:]]) for i in (s.cpu().numpy() for s in splits)]
    return {
        "fd": frechet_distance(a, b),
        "kd": kernel_distance(a, b),
        "floor": float(np.mean(floors)),
        "n": n,
        "n_real": len(a),
        "n_fake": len(b),
        "d": d,
    }


def slices_for_features(volume01: Tensor, mask: Tensor, *, min_fraction: float = 0.25) -> Tensor:
    """The axial slices with enough brain, as images to look at.

    volume01 (1, D, H, W) in [0, 1], axes RAS+; mask (1, D, H, W) -> (N, 1, H, D) in [0, 1], brain
    only, anterior at the top and the subject's right at the left. A slice counts where its brain
    area is at least ``min_fraction`` of the largest slice's. The choice depends on the mask alone,
    so an acquired and a synthetic image give the same slices.
    """
    if volume01.shape != mask.shape or volume01.ndim != 4 or len(volume01) != 1:
        raise InputError(f"Volume {tuple(volume01.shape)} and mask {tuple(mask.shape)} must share (1, D, H, W).")
    inside = mask.bool()
    area = inside[0].sum(dim=(0, 1))
    if not area.any():
        raise InputError("The mask is empty; give a brain mask to choose slices by.")
    brain = torch.where(inside, volume01, 0.0).clamp(0, 1)[0, :, :, area >= min_fraction * area.max()]
    return brain.permute(2, 1, 0).flip(1, 2)[:, None]  # (D, H, N) -> (N, 1, H, D)


def load_extractor(name: str = "offline", *, weights: str | Path | None = None, device: str = "cpu") -> Extractor:
    """An extractor by name: ``offline``, ``tissue`` (shipped), ``untrained-0`` and so on, or a user's net.

    ``radimagenet-resnet50`` and ``imagenet-vit-b16`` read a weights file (.safetensors, or .pt/.pth holding
    tensors only). Raises InputError for an unknown name, a missing or damaged file, keys that differ, or a device
    that is not here.
    """
    find_device(device)
    if name in ("offline", "tissue"):
        own = {"offline": OFFLINE_WEIGHTS, "tissue": TISSUE_WEIGHTS}[name]
        return _extractor(read_offline(weights or own), _as_is, device)
    if name in EYES["untrained"]:
        return _extractor(untrained_net(int(name.rpartition("-")[2])), _as_is, device)
    if name not in SOURCES:
        raise InputError(f"There is no extractor {name!r}; choose {', '.join(EYES)} or {' or '.join(SOURCES)}.")
    if weights is None:
        raise InputError(f"The extractor {name!r} needs weights: get {SOURCES[name]} and pass weights=PATH.")
    state = read_weights(weights)
    if name == "imagenet-vit-b16":
        # timm's files were trained on inputs in [-1, 1], torchvision's on ImageNet's statistics.
        timm = "patch_embed.proj.weight" in state
        mean, std = ((0.5,), (0.5,)) if timm else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        return _extractor(vit_b16(state), partial(_as_colour, mean=mean, std=std), device)
    # RadImageNet's own file takes [-1, 1]; its Keras conversion takes blue-green-red less the mean.
    keras = "conv1.bias" in state
    mean, std = ((0.406, 0.456, 0.485), (1.0,)) if keras else ((0.5,), (0.5,))
    return _extractor(resnet50(state), partial(_as_colour, mean=mean, std=std), device)


def load_eyes(own: Iterable[tuple[str, str]] = ()) -> dict[str, list[Extractor]]:
    """The nets of every offline extractor, and of a user's ``own``: (name, weights file)."""
    eyes = {eye: [load_extractor(name) for name in names] for eye, names in EYES.items()}
    return eyes | {name: [load_extractor(name, weights=path)] for name, path in own}


def _as_is(images: Tensor) -> Tensor:
    return images


def _as_colour(images: Tensor, *, mean: tuple[float, ...], std: tuple[float, ...], size: int = 224) -> Tensor:
    """(N, 1, H, W) in [0, 1] -> (N, 3, size, size), normalised as the net was trained."""
    images = F.interpolate(images, (size, size), mode="bilinear", antialias=True).expand(-1, 3, -1, -1)
    shift, scale = (torch.tensor(v, device=images.device).view(1, -1, 1, 1) for v in (mean, std))
    return (images - shift) / scale


def _extractor(net: nn.Module, prepare: Callable[[Tensor], Tensor], device: str, batch_size: int = 32) -> Extractor:
    net = net.to(device)

    @torch.inference_mode()
    def extract(images: Tensor) -> Tensor:
        """(N, 1, H, W) in [0, 1] -> (N, d) on the CPU."""
        if images.ndim != 4 or images.shape[1] != 1 or len(images) == 0:
            raise InputError(f"Slices have shape {tuple(images.shape)}, but the extractor needs (N, 1, H, W).")
        parts = [net(prepare(part.to(device).float())) for part in images.split(batch_size)]
        # MONAI's ViT returns its hidden states beside the result.
        return torch.cat([(p[0] if isinstance(p, tuple) else p).float().cpu() for p in parts])

    return extract
