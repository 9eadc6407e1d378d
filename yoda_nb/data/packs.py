"""Packs: the voxels of a volume that training needs, in a file of a few MB.

Only what lies inside the mask (of the brain; with a CT of the head or body) is kept, as float16: 7 MB for three
contrasts of a brain at 1 mm. Outside it every image is -1 anyway. Lesions are kept where they are known, and so is
the split of the person in a manifest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from yoda_nb.data.rows import MISSING
from yoda_nb.errors import InputError
from yoda_nb.images.nifti import MAX_VOXELS, atomic
from yoda_nb.images.space import roi_box
from yoda_nb.images.volumes import Volume, crop_volume, required

ENDING = ".pack.safetensors"
Side = Annotated[int, Field(gt=0)]
Row = tuple[float, float, float, float]
Split = Literal["train", "val", "test"]


class About(BaseModel):
    """What a pack says of its volume."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)
    shape: tuple[Side, Side, Side]
    affine: tuple[Row, Row, Row, Row]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    contrast: str
    subject: str
    split: Split | None = None  # of its person in the manifest; None: nobody said
    made: str | None = None  # of a phantom: a hash of all that it was made of


def write_pack(volume: Volume, path: str | Path, *, split: str | None = None, made: str | None = None) -> Path:
    """Keep sources (C,D,H,W), target (1,D,H,W), mask and lesions of a volume in a ``.pack.safetensors`` file.

    Values are rounded to float16 (5e-4 on [-1,1]). ``split`` (train, val, test) and ``made`` are kept as they are.
    The file appears whole or not at all. Raises InputError for a volume without target.
    """
    inside = volume.mask[0]
    images = torch.cat([volume.source, required(volume, "target")])
    said = {name: getattr(volume, name) for name in ("shape", "contrast", "subject")}
    lists = {"affine": np.asarray(volume.affine).tolist(), "sources": tuple(volume.sources)}
    more = {"split": None if split == MISSING else split, "made": made}
    about = About.model_validate(said | lists | more, strict=False)
    tensors = {"values": images[:, inside].half().contiguous(), "mask": _bits(inside)}
    if volume.lesions is not None:
        tensors["lesions"] = _bits(volume.lesions[0][inside])
    with atomic(Path(path)) as part:
        save_file(tensors, part, metadata={"volume": about.model_dump_json(exclude_none=True)})
    return Path(path)


def pack(volume: Volume, folder: Path, *, rescans: int = 0, split: str | None = None) -> list[Path]:
    """Write a volume cut to its mask, and ``rescans`` more of it as other scanners would see its sources.

    All carry the ``split`` (train, val, test) of their person.
    """
    from yoda_nb.phantoms.scanner import rescanned

    cut = crop_volume(volume, roi_box(volume.mask, (4, 4, 4)))
    each = [cut, *(rescanned(cut, seed) for seed in range(1, rescans + 1))]
    folder.mkdir(parents=True, exist_ok=True)
    return [write_pack(v, folder / f"{v.subject}{ENDING}", split=split) for v in each]


def read_about(path: str | Path) -> About:
    """What a pack says of its volume; no image is read.  Raises InputError for a file that is no pack."""
    with _opened(path) as (_, about):
        return about


def read_pack(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Volume:
    """The Volume that ``write_pack`` kept: in [-1,1], -1 outside the mask; float16 takes half the memory.

    Raises InputError for a file that is no pack, is cut short, or does not hold what it says of itself.
    """
    with _opened(path) as (file, about):
        return _volume(about, {name: file.get_tensor(name) for name in file.keys()}, dtype)  # noqa: SIM118


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, About]]:
    """A pack's file and what it says; InputError for what turns out to be no pack."""
    try:
        with safe_open(path, "pt") as file:
            yield file, About.model_validate_json((file.metadata() or {})["volume"])
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a pack of a volume: write it again with 'yoda-nb data pack'.") from error


def _volume(about: About, stored: dict[str, Tensor], dtype: torch.dtype) -> Volume:
    """The parts of a pack put together; ValueError where they do not fit each other, before memory is asked for."""
    affine, n = np.array(about.affine), math.prod(about.shape)
    if n > MAX_VOXELS or not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise ValueError("no such grid can be")
    inside = _unpacked(stored["mask"], n).reshape(about.shape)
    values = stored["values"]
    if values.dtype is not torch.float16 or values.shape != (len(about.sources) + 1, int(inside.sum())):
        raise ValueError("the values are not those of the mask")
    if not values.numel() or not bool((values.abs() <= 1).all()):  # nor is NaN
        raise ValueError("values are outside of [-1, 1]")
    images = torch.full((len(values), *about.shape), -1.0, dtype=dtype)
    images[:, inside] = values.to(dtype)
    lesions = None
    if "lesions" in stored:
        lesions = torch.zeros((1, *about.shape), dtype=torch.bool)
        lesions[:, inside] = _unpacked(stored["lesions"], values.shape[1])
    return Volume(
        source=images[:-1],
        mask=inside[None],
        affine=affine,
        sources=about.sources,
        contrast=about.contrast,
        subject=about.subject,
        target=images[-1:],
        lesions=lesions,
    )


def _bits(mask: Tensor) -> Tensor:
    """A mask of any shape, eight voxels in a byte."""
    return torch.from_numpy(np.packbits(mask.numpy()))


def _unpacked(bits: Tensor, n: int) -> Tensor:
    """The (n,) mask of ``_bits``; ValueError for bytes of another number."""
    if bits.dtype is not torch.uint8 or bits.shape != (-(-n // 8),):
        raise ValueError(f"{n} voxels are not {tuple(bits.shape)} bytes")
    return torch.from_numpy(np.unpackbits(bits.numpy(), count=n).astype(bool))
