"""Images: NIfTI and MGZ files, whole, compressed, of either byte order; read beside a reader of the format by hand."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from random import Random

import nibabel as nib
import numpy as np
from inputs import Case, Input
from mutate import NUMBERS, mutated_bytes

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import SUFFIXES, read_image
from yoda_nb.preparation.load import load_volume

SHAPE = (12, 10, 8)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, 2, 0.1, -8], [0, -0.1, 2, -7], [0, 0, 0, 1]])
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
MGH_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2"}
FIELDS = (0, 40, 42, 48, 56, 70, 72, 76, 80, 92, 108, 112, 116, 123, 252, 254, 256, 268, 280, 296, 312, 344)  # NIfTI-1
Bases = dict[str, list[tuple[str, bytes]]]  # T1w, T2w and mask -> suffix and bytes


def bases() -> Bases:
    return {
        "T1w": [_nifti(1, ".nii"), _nifti(1, ".nii", np.int16), _nifti(1, ".nii.gz", np.uint8), _mgz(1)],
        "T2w": [_nifti(2, ".nii.gz"), _swapped(2), _nifti(2, ".nii", np.float64), _nifti2(2)],
        "mask": [(".nii", _bytes(nib.Nifti1Image((_head(0) > 0.5).astype(np.uint8), AFFINE)))],
    }


def _head(seed: int) -> np.ndarray:
    """A ball of varying brightness, (12, 10, 8), 0 outside."""
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    noise = np.random.default_rng(seed).random(SHAPE)
    return np.where((at**2).sum(0) < 0.8, 0.6 + 0.4 * noise, 0)


def _bytes(image: nib.spatialimages.SpatialImage) -> bytes:
    return image.to_bytes()


def _nifti(seed: int, suffix: str, dtype: type = np.float32) -> tuple[str, bytes]:
    raw = _bytes(nib.Nifti1Image((100 * _head(seed)).astype(dtype), AFFINE))
    return suffix, gzip.compress(raw, mtime=0) if suffix.endswith("gz") else raw


def _nifti2(seed: int) -> tuple[str, bytes]:
    return ".nii", _bytes(nib.Nifti2Image((100 * _head(seed)).astype(np.float32), AFFINE))


def _swapped(seed: int) -> tuple[str, bytes]:
    header = nib.Nifti1Header(endianness=">")
    return ".nii", _bytes(nib.Nifti1Image((100 * _head(seed)).astype(">i2"), AFFINE, header))


def _mgz(seed: int) -> tuple[str, bytes]:
    raw = _bytes(nib.MGHImage((100 * _head(seed)).astype(np.float32), AFFINE))
    return ".mgz", gzip.compress(raw, mtime=0)


def good(bases: Bases) -> Input:
    return Input({f"{name}{files[0][0]}": files[0][1] for name, files in bases.items()})


def mutated(rng: Random, bases: Bases) -> Input:
    """One or two of three files changed: their bytes, what is inside of the compression, fields, or their names."""
    chosen = {name: rng.choice(files) for name, files in bases.items()}
    changed = {}
    for name in {rng.choice(list(chosen)), rng.choice(list(chosen))}:
        suffix, raw = chosen[name]
        other = rng.choice(bases[rng.choice(list(bases))])[1]
        inside = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else None
        if inside is not None and rng.random() < 0.5:
            changed[name] = suffix, gzip.compress(_field(rng, inside, other), 1, mtime=0)
        elif rng.random() < 0.05:
            changed[name] = rng.choice(SUFFIXES), raw
        else:
            changed[name] = suffix, _field(rng, raw, other) if inside is None else mutated_bytes(rng, raw, other)
    files = {f"{name}{suffix}": raw for name, (suffix, raw) in {**chosen, **changed}.items()}
    links = {rng.choice(list(files)): rng.choice((".", "nowhere", "T1w.nii"))} if rng.random() < 0.02 else {}
    return Input(files, links)


def _field(rng: Random, raw: bytes, other: bytes) -> bytes:
    """A number written into a field of the header, or bytes changed."""
    if rng.random() < 0.5:
        return mutated_bytes(rng, raw, other)
    at, number = rng.choice(FIELDS), rng.choice((*NUMBERS, struct.pack("<h", rng.randrange(20))))
    return raw[:at] + number + raw[at + len(number) :]


def read(folder: Path, bases: Bases, same: bool) -> None:
    paths = {name: next(iter(sorted(folder.glob(f"{name}.*"))), folder / f"{name}.nii") for name in bases}
    try:
        _check_volume(paths)
    except InputError:
        for path in paths.values():  # each on its own, as another may be the one that was refused
            _check_image(path)
        raise
    for path in paths.values():
        _check_image(path)


def _check_volume(paths: dict[str, Path]) -> None:
    volume = load_volume({k: paths[k] for k in ("T1w", "T2w")}, mask=paths["mask"])
    source = volume.source.numpy()
    assert source.dtype == np.float32 and source.shape == (2, *volume.shape) and min(volume.shape) > 1
    assert np.isfinite(source).all() and source.min() >= -1 and source.max() <= 1
    assert volume.mask.any() and (source[:, ~volume.mask[0].numpy()] == -1).all()
    assert np.isfinite(volume.affine).all() and volume.affine.shape == (4, 4) and min(volume.spacing) > 0


def _check_image(path: Path) -> None:
    """What is read is what a reader by hand reads: the same values, in any order of the axes."""
    try:
        data, affine, grid = read_image(path)
    except InputError:
        return
    assert data.ndim == 3 and np.isfinite(data).all() and np.isfinite(affine).all() and np.isfinite(grid.affine).all()
    values = by_hand(path)
    if values is not None:
        assert sorted(data.shape) == sorted(values.shape[:3]), (data.shape, values.shape)
        found, wanted = np.sort(data, axis=None), np.sort(values.astype(np.float32), axis=None)
        assert np.allclose(found, wanted, rtol=1e-5, atol=0), "other values than the file holds"


def by_hand(path: Path) -> np.ndarray | None:
    """The values of a NIfTI-1 or MGH file, scaled, float64; None for NIfTI-2, which has other offsets.

    A damaged compression raises what the module gzip raises.
    """
    raw = path.read_bytes()
    if path.name.endswith("gz"):
        with gzip.open(io.BytesIO(raw)) as stream:
            raw = stream.read()
    with np.errstate(all="ignore"):
        return _mgh(raw) if path.suffix == ".mgz" else _nifti1(raw)


def _nifti1(raw: bytes) -> np.ndarray | None:
    order = "<" if 1 <= struct.unpack_from("<h", raw, 40)[0] <= 7 else ">"
    if struct.unpack_from("<i", raw, 0)[0] == 540 or struct.unpack_from(">i", raw, 0)[0] == 540:
        return None
    rank, *sides = struct.unpack_from(order + "8h", raw, 40)
    code = struct.unpack_from(order + "h", raw, 70)[0]
    offset, slope, shift = struct.unpack_from(order + "3f", raw, 108)
    first = int(offset) if 352 <= offset < np.inf else 352  # inside the header there are no voxels
    values = _array(raw, order + TYPES[code], first, sides[:rank])
    return values if slope == 0 or not np.isfinite(slope) else values * slope + shift


def _mgh(raw: bytes) -> np.ndarray:
    _, *sides, code = struct.unpack_from(">6i", raw, 0)
    return _array(raw, ">" + MGH_TYPES[code], 284, sides)


def _array(raw: bytes, dtype: str, offset: int, sides: list[int]) -> np.ndarray:
    n = int(np.prod(sides, dtype=object))
    return np.frombuffer(raw, dtype, n, offset).astype(float).reshape(sides, order="F")


CASE = Case("images", 20, bases, good, mutated, read)
