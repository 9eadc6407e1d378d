"""Image files in and out: read to the last checksum, refuse what cannot be right, write atomically.

Arrays here are float32 ``(D, H, W)`` in the file's own intensity units, turned (flips and
transposes only, no interpolation) so that the axes run right, anterior, superior (RAS+).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import uuid
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.headers import PREPARED, SYNTHETIC, Forms, Nifti1, Nifti2, forms_of, offset_doubt
from yoda_nb.images.masks import as_mask
from yoda_nb.images.outputs import check_there

SUFFIXES = (".nii.gz", ".nii", ".mgz")
MAX_VOXELS = 2**29  # 812 cubed: above any head scan, below what exhausts a laptop's memory
FAR = 1e5  # mm from a header's origin: no scanner is so large
SAME_MM = 1e-2  # corners of two grids that are one
RAS = axcodes2ornt("RAS")
Image = Any  # what nibabel loads, whose types say less of it than its documentation


@dataclass(frozen=True)
class Grid:
    """The voxel grid of a file on disk: what is needed to write a result back onto it."""

    shape: tuple[int, int, int]
    affine: np.ndarray  # (4, 4) voxel indices of the file -> RAS+ mm
    qform_code: int = 1
    sform_code: int = 1
    qform: np.ndarray | None = None  # (4, 4) as the file has it; None: the affine
    sform: np.ndarray | None = None
    doubts: tuple[str, ...] = ()  # sentences on what the file says of itself and cannot be so

    def canonical(self) -> Grid:
        """The same voxels turned to RAS+: shape and affine permuted, codes kept."""
        turn = io_orientation(self.affine)
        d, h, w = (int(n) for n in np.array(self.shape)[np.argsort(turn[:, 0])])
        affine = self.affine @ inv_ornt_aff(turn, self.shape)
        return Grid((d, h, w), affine, self.qform_code, self.sform_code, doubts=self.doubts)


def sha256(path: str | Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def suffix(path: str | Path) -> str:
    """``.nii.gz``, ``.nii`` or ``.mgz``; any other ending raises InputError."""
    for ending in SUFFIXES:
        if Path(path).name.lower().endswith(ending):
            return ending
    raise InputError(f"{path} does not end in {', '.join(SUFFIXES)}: convert it to NIfTI (or rename it if it is one).")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and move it there on success: whole file or none.

    A folder that is missing or cannot be written raises InputError.
    """
    path = Path(path)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"cannot write {path}: name a file in a folder that exists.")
    part = path.parent / f".{uuid.uuid4().hex}-{path.name}"  # ends like path: nibabel looks at it
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): check free space and permissions."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def read_image(path: str | Path) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Read one image of varying intensity: array (D, H, W), its RAS+ affine, the file's grid.

    Raises InputError for a constant image and for all that :func:`read_voxels` refuses.
    """
    data, affine, grid = read_voxels(path)
    if data.min() == data.max():
        raise InputError(f"{path} holds the single value {data.flat[0]:g}: pass a real image.")
    return data, affine, grid


def read_mask(path: str | Path) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Read a mask: bool (D, H, W), by the rule of ``masks.as_mask``.  An empty one is refused."""
    data, affine, grid = read_voxels(path)
    mask, said = as_mask(data)
    if not mask.any():
        raise InputError(f"the mask {path} is empty: pass one that is above 0 inside the brain.")
    return mask, affine, replace(grid, doubts=(*grid.doubts, *([f"{path} {said}"] if said else [])))


def read_voxels(path: str | Path) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Read one 3-D file (.nii, .nii.gz, .mgz): float32 (D, H, W), RAS+ affine (4, 4), its grid.

    Any orientation, spacing, shear, integer or real dtype and scaling; trailing axes of size 1
    are dropped.  Compressed files are read to their checksum, which nibabel does not look at.
    What the header says and cannot be so stands in the grid's ``doubts`` (``headers.forms_of``), a sentence each.

    Raises InputError for a missing, empty, cut, corrupt or non-image file; complex or RGB
    voxels; 2-D and 4-D data; NaN or infinity; a singular affine or one not in millimetres.
    """
    path = Path(path)
    image, grid = _opened(path)
    image, extra = _whole(path, image)
    try:
        with np.errstate(all="ignore"):  # what overflows is refused below
            data = image.get_fdata(dtype=np.float32, caching="unchanged").reshape(grid.shape)
    except Exception as error:  # nibabel leaks whatever its readers meet in a hostile file
        raise InputError(f"{path} cannot be read ({error}): copy or convert it again.") from error
    if not np.isfinite(data).all():
        raise InputError(f"{path} holds NaN, infinite or float32-overflowing values: replace them.")
    turned = apply_orientation(data, io_orientation(grid.affine))
    grid = replace(grid, doubts=(*grid.doubts, *([extra] if extra else [])))
    return np.ascontiguousarray(turned), grid.canonical().affine, grid


def read_grid(path: str | Path) -> Grid:
    """The grid of a file from its header alone; InputError as :func:`read_voxels`, but for what the voxels show."""
    return _opened(Path(path))[1]


def tell(sentences: Iterable[str]) -> None:
    """Warn of doubts in Python, each once at one place; the shell shows them in a way of its own."""
    for sentence in dict.fromkeys(sentences):
        warnings.warn(sentence, Doubt, stacklevel=3)


def write_image(data: np.ndarray, grid: Grid, path: str | Path, *, made: str = "") -> None:
    """Write RAS+ data (D, H, W) onto the file grid it was turned from, as float32, atomically.

    Flips and transposes are undone exactly; sform and qform are both set (a qform cannot hold
    shear), as the grid's file had them, and keep its codes.  ``made`` goes into a NIfTI's field descrip (79
    letters).  Raises InputError for an unknown suffix, a shape that is
    not the grid's, values that are not finite, or a folder that cannot be written.
    """
    ending = suffix(path)
    if data.shape != grid.canonical().shape:
        raise InputError(f"{path} needs shape {grid.canonical().shape}, got {data.shape}.")
    if not np.isfinite(data).all():
        raise InputError(f"the image for {path} holds NaN or infinity: nothing was written.")
    turned = apply_orientation(data, ornt_transform(RAS, io_orientation(grid.affine)))
    turned = np.ascontiguousarray(turned, dtype=np.float32)
    image = nib.MGHImage(turned, grid.affine) if ending == ".mgz" else _nifti(turned, grid, made)
    with atomic(path) as part:
        nib.save(image, part)


def is_ours(path: str | Path) -> bool:
    """Whether a NIfTI file says in its header that this package made it."""
    try:
        words = _open(Path(path)).header["descrip"].item().decode("utf-8", "replace")
    except (InputError, KeyError):  # no image, or one of another format
        return False
    return words.startswith((SYNTHETIC, PREPARED))


def _nifti(data: np.ndarray, grid: Grid, made: str) -> nib.Nifti1Image:
    qform, sform = (grid.affine if form is None else form for form in (grid.qform, grid.sform))
    # an image whose affine is not the one that its codes prefer would be saved with that in place of both
    image = nib.Nifti1Image(data, sform if grid.sform_code > 0 else qform)
    image.header.set_xyzt_units("mm")
    image.set_qform(qform, grid.qform_code, update_affine=False)
    image.set_sform(sform, grid.sform_code, update_affine=False)
    if made:
        image.header["descrip"] = made.encode("ascii", "replace")[:79]
    return image


def corner_distance(a: Grid, b: Grid) -> float:
    """Largest distance in mm between matching corners of two canonical grids; inf if shapes differ.

    Millimetres, not matrix entries: float noise in an affine is harmless, a shift is not.
    """
    if a.shape != b.shape:
        return float("inf")
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(a.shape)
    gap = nib.affines.apply_affine(a.affine, corners) - nib.affines.apply_affine(b.affine, corners)
    return float(np.linalg.norm(gap, axis=1).max())


def check_same_grid(files: dict[str, tuple[Path, Grid]], tolerance: float = SAME_MM) -> None:
    """Refuse files whose corners lie more than ``tolerance`` mm apart, naming both and the gap."""
    (first, (path, grid)), *others = files.items()
    for name, (other_path, other) in others:
        gap = corner_distance(grid.canonical(), other.canonical())
        if gap > tolerance:
            how = f"shapes {grid.shape} and {other.shape}" if np.isinf(gap) else f"corners {gap:.3g} mm apart"
            raise InputError(
                f"{first} {path} and {name} {other_path} are not on one grid ({how}): "
                "register and resample one to the other first."
            )


def on_one_grid(files: Mapping[str, str | Path]) -> bool:
    """Whether all images lie on the first one's grid (corners within 0.01 mm); InputError for unreadable files."""
    if not files:
        raise InputError("no image was given: name at least one, such as T1w.")
    first, *others = (read_grid(path).canonical() for path in files.values())
    return all(corner_distance(first, other) <= SAME_MM for other in others)


def _opened(path: Path) -> tuple[Image, Grid]:
    """A file of which the header alone has been read, and its grid."""
    image = _open(path)
    shape, forms = _shape(path, image), forms_of(path, image)
    code = lambda name: int(image.header[name]) if name in image.header else 1  # noqa: E731
    _check_affine(path, forms)
    codes = code("qform_code"), code("sform_code")
    return image, Grid(shape, forms.affine, *codes, qform=forms.qform, sform=forms.sform, doubts=forms.doubts)


def _open(path: Path) -> Image:
    check_there(path)
    ending = suffix(path)
    try:
        with (
            LoggingOutputSuppressor(),
            np.errstate(all="ignore"),
        ):  # what nibabel says of a header is said by ``forms_of``
            return (nib.MGHImage if ending == ".mgz" else _nifti_class(path)).from_filename(path)
    except Exception as error:  # a hostile header can raise nearly anything inside nibabel
        if isinstance(error, ValueError) and "w2 should be positive" in str(error):
            raise InputError(f"the quaternion of {path}'s qform is longer than 1: repair its header.") from error
        raise InputError(
            f"{path} is not a readable NIfTI or MGZ image (truncated, or another kind of file "
            f"under this name): copy or convert it again."
        ) from error


def _nifti_class(path: Path) -> type[Nifti1] | type[Nifti2]:
    """NIfTI-2 by the size of the header that the file begins with, else NIfTI-1."""
    with (gzip.open if suffix(path) == ".nii.gz" else open)(path, "rb") as stream:
        start = stream.read(4)
    return Nifti2 if {int.from_bytes(start, order) for order in ("little", "big")} & {540} else Nifti1


def _shape(path: Path, image: Image) -> tuple[int, int, int]:
    shape = [int(n) for n in image.shape]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    dtype = image.get_data_dtype()
    if dtype.kind not in "biuf":
        kind = "complex" if dtype.kind == "c" else "colour (RGB)"
        raise InputError(f"{path} has {kind} voxels: convert it to one real value per voxel.")
    if len(shape) > 3:
        raise InputError(f"{path} is a series of shape {tuple(shape)}: extract one 3-D volume.")
    if len(shape) < 3 or min(shape) < 2:
        raise InputError(f"{path} has shape {tuple(shape)}: pass a 3-D volume, not a slice.")
    if np.prod(shape, dtype=object) > MAX_VOXELS:
        raise InputError(f"{path} claims shape {tuple(shape)}, above the limit: crop it.")
    return shape[0], shape[1], shape[2]


def _check_affine(path: Path, forms: Forms) -> None:
    affine = forms.affine
    if not np.isfinite(affine).all():
        raise InputError(f"the affine of {path} is not finite: repair its header.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if abs(np.linalg.det(affine[:3, :3])) <= 1e-3 * np.prod(spacing):
        raise InputError(f"the affine of {path} is singular (axes coincide): repair its header.")
    if np.abs(affine[:3, 3]).max() > FAR:
        raise InputError(f"{path} lies {np.abs(affine[:3, 3]).max():.3g} mm from its origin: repair its header.")
    if spacing.min() < 0.01 or spacing.max() > 50:
        raise InputError(
            f"{path} has voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm: repair the units in its header."
        )


def _whole(path: Path, image: Image) -> tuple[Image, str]:
    """The image with its voxels at hand, and what is odd about its size, or "".

    A compressed file is decompressed once, to its checksum. Raises InputError if it has too few bytes.
    """
    proxy = image.dataobj
    needed = proxy.offset + int(np.prod(proxy.shape, dtype=object)) * proxy.dtype.itemsize
    try:
        if suffix(path) == ".nii":
            size = path.stat().st_size
        else:
            with gzip.open(path) as stream:
                content = stream.read(needed)
                rest = sum(len(block) for block in iter(lambda: stream.read(1 << 20), b""))
            size = len(content) + rest
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is truncated or corrupt ({error}): copy it again.") from error
    if size < needed:
        raise InputError(f"{path} is truncated ({size} of {needed} bytes): copy it again.")
    odd = "" if suffix(path) == ".mgz" else offset_doubt(path, _header(path, image), size, needed)
    if suffix(path) != ".nii":
        with LoggingOutputSuppressor(), np.errstate(all="ignore"):
            image = type(image).from_bytes(content)
    return image, odd


def _header(path: Path, image: Image) -> Any:
    """The header as the file has it: nibabel's own copy forgets where voxels begin."""
    with (gzip.open if suffix(path) == ".nii.gz" else open)(path, "rb") as stream, LoggingOutputSuppressor():
        return image.header_class.from_fileobj(stream)
