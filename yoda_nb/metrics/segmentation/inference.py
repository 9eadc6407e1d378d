"""From a FLAIR image to a lesion mask: slabs of three views through one net, then a threshold."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import Tensor

from yoda_nb.diffusion.denoise import padded, slices_to_run
from yoda_nb.diffusion.slabs import average_slabs, from_slices, gather_slabs
from yoda_nb.errors import InputError
from yoda_nb.images.space import resample_like
from yoda_nb.images.volumes import Volume, conform, required
from yoda_nb.metrics.segmentation.net import SHIPPED, Segmenter, load_segmenter
from yoda_nb.nets.devices import find_device

VIEWS = (0, 1, 2)
BATCH = 32  # slabs at once


def segment(
    image: Tensor | Volume,
    where: Tensor | Volume | None = None,
    *,
    threshold: float | None = None,
    segmenter: str | os.PathLike | Segmenter = SHIPPED,
    device: str | None = None,
) -> Tensor:
    """Lesions of a FLAIR image: (1,D,H,W) in [-1,1] -> (1,D,H,W) bool, inside the brain.

    ``where`` is the brain mask, or the Volume that the image belongs to; a Volume alone has its
    target segmented. ``threshold`` is a probability, None the card's. A Volume of another voxel
    size is segmented at the segmenter's and brought back; a bare image is taken to be at it.
    """
    find_device(device)
    segmenter = segmenter if isinstance(segmenter, Segmenter) else load_segmenter(segmenter)
    found = lesion_probability(image, where, segmenter=segmenter, device=device)
    return found > (segmenter.threshold if threshold is None else threshold)


def lesion_probability(
    image: Tensor | Volume,
    where: Tensor | Volume | None = None,
    *,
    segmenter: str | os.PathLike | Segmenter = SHIPPED,
    device: str | None = None,
) -> Tensor:
    """Probability of lesion, (1,D,H,W) in [0,1], 0 outside the brain; arguments as ``segment``'s.

    The mean over the three views. Raises InputError for an image without brain mask, of another
    shape than it, or not finite, and for a device that is not here.
    """
    place = find_device(device)
    segmenter = segmenter if isinstance(segmenter, Segmenter) else load_segmenter(segmenter)
    image, mask, volume = _arguments(image, where)
    if volume is None:
        return _probability(image, mask, segmenter, place)
    small = conform(replace(volume, target=image), segmenter.spacing)
    found = _probability(required(small, "target"), small.mask, segmenter, place)
    found = resample_like(found, small.affine, volume.affine, volume.shape, order=1, fill=0.0)
    return torch.where(mask, found, 0.0)


def _arguments(image, where) -> tuple[Tensor, Tensor, Volume | None]:
    """Image and mask, both (1,D,H,W), and the Volume they are of, if one was given."""
    if isinstance(image, Volume):
        image, where = image.target, image
    if image is None:
        raise InputError(f"{where.subject} has no target image to segment: add its FLAIR.")
    volume = where if isinstance(where, Volume) else None
    mask = volume.mask if volume else where
    if mask is None or image.ndim != 4 or len(image) != 1 or image.shape != mask.shape:
        raise InputError(
            f"The image {tuple(image.shape)} and its brain mask {None if mask is None else tuple(mask.shape)} "
            "must share one shape (1, D, H, W): give the mask, or the Volume, that the image belongs to."
        )
    if not torch.isfinite(image).all():
        raise InputError("The image to segment contains NaN or infinity: fix it first.")
    return image.float(), mask.bool(), volume


@torch.inference_mode()
def _probability(image: Tensor, mask: Tensor, segmenter: Segmenter, where: torch.device) -> Tensor:
    """(1,D,H,W), (1,D,H,W) -> mean over views of the slices that hold brain, 0 elsewhere."""
    net = segmenter.net.to(where)
    total = torch.zeros_like(image)
    for axis in VIEWS:
        centres = slices_to_run(image, mask, axis)

        def run(part: Tensor, axis: int = axis) -> Tensor:
            slabs = gather_slabs(image, axis, part, segmenter.thickness).to(where)
            return padded(net, slabs, segmenter.divisor).sigmoid().cpu()

        found = torch.cat([run(part) for part in centres.split(BATCH)])  # (K,1,A,B)
        total += from_slices(average_slabs(found, centres, image.shape[1 + axis]), axis)
    return torch.where(mask, total / len(VIEWS), 0.0).clone()
