"""Packs: the voxels of a volume that training needs, in a file of a few MB.

Only what lies inside the brain mask is kept, as float16: 7 MB for three contrasts at 1 mm. Outside it
every image is -1 anyway. Lesions are kept where they are known.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic
from yoda_nb.images.space import roi_box
from yoda_nb.images.volumes import Volume, crop_volume, required

ENDING = ".pack.safetensors"


def write_pack(volume: Volume, path: str | Path) -> Path:
    """Keep sources (C,D,H,W), target (1,D,H,W), mask and lesions of a volume in a ``.pack.safetensors`` file.

    Values are rounded to float16 (5e-4 on [-1,1]). The file appears whole or not at all. Raises
    InputError for a volume without target.
    """
    inside = volume.mask[0]
    images = torch.cat([volume.source, required(volume, "target")])
    about = {
        "shape": volume.shape,
        "affine": np.asarray(volume.affine).tolist(),
        "sources": volume.sources,
        "contrast": volume.contrast,
        "subject": volume.subject,
    }
    tensors = {"values": images[:, inside].half().contiguous(), "mask": _bits(inside)}
    if volume.lesions is not None:
        tensors["lesions"] = _bits(volume.lesions[0][inside])
    with atomic(Path(path)) as part:
        save_file(tensors, part, metadata={"volume": json.dumps(about)})
    return Path(path)


def pack(volume: Volume, folder: Path, *, rescans: int = 0) -> list[Path]:
    """Write a volume cut to its brain, and ``rescans`` more of it as other scanners would see its sources."""
    from yoda_nb.data.scanner import rescanned

    cut = crop_volume(volume, roi_box(volume.mask, (4, 4, 4)))
    each = [cut, *(rescanned(cut, seed) for seed in range(1, rescans + 1))]
    folder.mkdir(parents=True, exist_ok=True)
    return [write_pack(v, folder / f"{v.subject}{ENDING}") for v in each]


def read_pack(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Volume:
    """The Volume that ``write_pack`` kept: in [-1,1], -1 outside the mask; float16 takes half the memory.

    Raises InputError for a file that is no pack or is cut short.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["volume"])
            values, bits = file.get_tensor("values").to(dtype), file.get_tensor("mask")
            names = list(file.keys())
            sick = file.get_tensor("lesions") if "lesions" in names else None
        shape = tuple(about["shape"])
        inside = _unpacked(bits, math.prod(shape)).reshape(shape)
        images = torch.full((len(values), *shape), -1.0, dtype=dtype)
        images[:, inside] = values
        lesions = None
        if sick is not None:
            lesions = torch.zeros((1, *shape), dtype=torch.bool)
            lesions[:, inside] = _unpacked(sick, values.shape[1])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is no pack of a volume: write it again with 'yoda-nb data pack'.") from error
    return Volume(
        source=images[:-1],
        mask=inside[None],
        affine=np.array(about["affine"]),
        sources=tuple(about["sources"]),
        contrast=about["contrast"],
        subject=about["subject"],
        target=images[-1:],
        lesions=lesions,
    )


def _bits(mask: Tensor) -> Tensor:
    """A mask of any shape, eight voxels in a byte."""
    return torch.from_numpy(np.packbits(mask.numpy()))


def _unpacked(bits: Tensor, n: int) -> Tensor:
    """The (n,) mask of ``_bits``."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=n).astype(bool))
