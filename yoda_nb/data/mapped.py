"""Packs that stay on disk: a training of more volumes than memory holds reads the slabs that it draws.

A pack's file is mapped for as long as one slab is cut from it. Of each volume only where its rows begin stays in
memory: 0.1 MB at 1 mm, where a volume of three contrasts would take 40.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from yoda_nb.data.packs import read_pack
from yoda_nb.images.volumes import Volume

SHARE = 0.5  # of a machine's memory that packs may fill before they are left on disk
Cut = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class MappedPack:
    """A pack that is read when asked: a ``Volume`` to those who want its target, mask or contrasts."""

    path: Path
    starts: np.ndarray  # (D,H): how many voxels of the mask lie before each row along W
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    sources: tuple[str, ...]
    contrast: str
    subject: str

    def read(self) -> Volume:
        """The whole volume in float16, as ``read_pack`` gives it."""
        return read_pack(self.path, dtype=torch.float16)

    @property
    def target(self) -> Tensor | None:
        return self.read().target

    @property
    def mask(self) -> Tensor:
        return self.read().mask

    def images(self, low: Sequence[int], shape: Sequence[int]) -> MappedImages:
        """Target and sources on a grid of ``shape`` that begins ``low`` voxels before the volume's."""
        return MappedImages(self, tuple(low), (1 + len(self.sources), *shape))

    def masks(self, low: Sequence[int], shape: Sequence[int], *, lesions: bool) -> MappedMasks:
        """The brain and, where asked for, its lesions, on such a grid."""
        return MappedMasks(self, tuple(low), (1 + lesions, *shape))


@dataclass(frozen=True, eq=False)
class _Mapped:
    pack: MappedPack
    low: tuple[int, ...]  # voxels of background before the volume along D, H, W
    shape: tuple[int, ...]

    def _within(self, cut: Cut) -> tuple[slice, tuple[int, ...], Cut, Cut]:
        """The channels, the shape of what is cut, where its voxels lie in the volume and where in the cut."""
        ends = [s.indices(n)[:2] for s, n in zip(cut, self.shape, strict=True)]
        there, here = [], []
        for (a, b), low, n in zip(ends[1:], self.low, self.pack.shape, strict=True):
            first, last = min(max(a - low, 0), n), min(max(b - low, 0), n)
            there.append(slice(first, last))
            here.append(slice(first + low - a, last + low - a))
        return slice(*ends[0]), tuple(b - a for a, b in ends[1:]), tuple(there), (slice(None), *here)


class MappedImages(_Mapped):
    """(1+C,D,H,W) float16, indexed by four slices: a tensor of its own, -1 outside the mask."""

    def __getitem__(self, cut: Cut) -> Tensor:
        channels, shape, there, here = self._within(cut)
        images = np.full((self.shape[0], *shape), -1.0, dtype=np.float16)
        with safe_open(self.pack.path, "pt") as file:
            inside, at = _located(file, self.pack, there)
            values = file.get_tensor("values").numpy()[:, at]
        order = [-1, *range(len(values) - 1)]  # a pack holds the target last
        images[here][:, inside] = values[order]
        return torch.from_numpy(images[channels])


class MappedMasks(_Mapped):
    """(1,D,H,W) bool, (2,D,H,W) with lesions, indexed by four slices: a tensor of its own, False outside."""

    def __getitem__(self, cut: Cut) -> Tensor:
        channels, shape, there, here = self._within(cut)
        masks = np.zeros((self.shape[0], *shape), dtype=bool)
        with safe_open(self.pack.path, "pt") as file:
            inside, at = _located(file, self.pack, there)
            masks[here][0] = inside
            if len(masks) > 1 and "lesions" in list(file.keys()):
                bits = file.get_tensor("lesions").numpy()
                masks[here][1, inside] = bits[at // 8] >> (7 - at % 8) & 1
        return torch.from_numpy(masks[channels])


def open_packs(paths: Sequence[Path], mapped: bool | None = None) -> list[Volume | MappedPack]:
    """The volumes of packs, in float16, or left on disk where ``mapped``; by default where they would fill ``SHARE``.

    Each file is read and checked once either way. Raises InputError for one that is no pack.
    """
    if mapped is None:
        mapped = sum(map(_bytes_in_memory, paths)) > SHARE * _memory()
    return [map_pack(path) if mapped else read_pack(path, dtype=torch.float16) for path in paths]


def map_pack(path: str | Path) -> MappedPack:
    """A pack to be read later, checked now; InputError where it is none."""
    v = read_pack(path, dtype=torch.float16)
    counts = v.mask[0].sum(-1).numpy()
    starts = (counts.cumsum() - counts.ravel()).reshape(counts.shape)
    return MappedPack(Path(path), _apart(starts), v.shape, v.spacing, v.sources, v.contrast, v.subject)


def _apart(numbers: np.ndarray) -> np.ndarray:
    """As int32 in memory of their own: in the gap that a volume leaves they would make it too small for the next."""
    own = np.frombuffer(mmap(-1, 4 * numbers.size), np.int32).reshape(numbers.shape)
    own[...] = numbers
    return own


def _located(file, pack: MappedPack, cut: tuple[slice, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels of three slices lie in the mask, and where among the pack's values those (K,) are."""
    (d0, d1), (h0, h1), (w0, w1) = ((s.start, s.stop) for s in cut)
    _, height, width = pack.shape
    bits, n = file.get_tensor("mask").numpy(), (h1 - h0) * width
    rows = np.zeros((d1 - d0, h1 - h0, width), dtype=bool)
    for k in range(d1 - d0):  # rows of one sagittal slice follow one another
        first = ((d0 + k) * height + h0) * width
        some = np.unpackbits(bits[first // 8 : (first + n + 7) // 8])
        rows[k] = some[first % 8 : first % 8 + n].reshape(h1 - h0, width)
    inside = rows[..., w0:w1]
    before = pack.starts[d0:d1, h0:h1] + np.count_nonzero(rows[..., :w0], axis=-1)
    at = before[..., None] + np.cumsum(inside, axis=-1, dtype=np.int32) - 1
    return inside, at[inside]


def _bytes_in_memory(path: Path) -> int:
    """Of a pack's volume, without reading it; 0 for what is no pack."""
    try:
        with safe_open(path, "pt") as file:
            voxels = 8 * file.get_slice("mask").get_shape()[0]
            return voxels * (2 * file.get_slice("values").get_shape()[0] + 1)
    except (SafetensorError, OSError):
        return 0


def _memory() -> int:
    """Of this machine, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
