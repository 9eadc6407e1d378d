"""What the header of a NIfTI file says of its grid, and where it contradicts itself or the file.

NIfTI-1 holds up to two affines, qform and sform, and voxel sizes (pixdim) beside them
(nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields).  Where they agree there is nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.batteryrunners import Report
from nibabel.quaternions import fillpositive

from yoda_nb.errors import InputError

APART = 0.1  # mm at the corners: qform and sform that differ by less are one
ROUNDING = 1e-3  # of a quaternion's squared length above 1
SIZES = 0.01  # relative difference of voxel sizes that is none
TEMPLATE = (3, 4)  # sform codes of template spaces (Talairach, MNI152)
SCANNER = (1, 2)  # qform codes of the scanner's or another scan's space
UNITS = {1: "metres", 3: "micrometres"}  # xyzt_units, where 2 is millimetres
SYNTHETIC = "synthetic"  # how the field descrip begins of an image that this package made
PREPARED = "prepared by yoda-nb"  # and of one that it prepared
CAUTION = "Lesions may be too pale or missing, small ones above all: do not count lesions on a synthetic image."


@dataclass(frozen=True)
class Forms:
    """The affine to use, the two that the file holds (None where one is not set), and what is odd, in sentences."""

    affine: np.ndarray
    qform: np.ndarray | None = None
    sform: np.ndarray | None = None
    doubts: tuple[str, ...] = ()


class _Lenient:
    """A header that is read as FSL and ITK read it: a quaternion longer than 1 is brought to length 1."""

    def get_qform_quaternion(self: Any) -> np.ndarray:
        part = np.array([self["quatern_b"], self["quatern_c"], self["quatern_d"]], dtype=float)
        length = float(part @ part)
        if 1 < length <= 1 + ROUNDING:
            return np.array([0.0, *(part / np.sqrt(length))])
        return fillpositive(part, self.quaternion_threshold)

    def get_data_offset(self: Any) -> int:
        stated = float(self["vox_offset"])
        return max(int(stated) if np.isfinite(stated) else 0, self.single_vox_offset)

    @staticmethod
    def _chk_offset(hdr: Any, fix: bool = False) -> tuple[Any, Report]:
        return hdr, Report()  # judged by ``offset_doubt``, which knows the file's size


class _Header1(_Lenient, nib.Nifti1Header):
    pass


class _Header2(_Lenient, nib.Nifti2Header):
    pass


class Nifti1(nib.Nifti1Image):
    """A NIfTI-1 file of which only the header has been read."""

    header_class = _Header1


class Nifti2(nib.Nifti2Image):
    """The same of NIfTI-2."""

    header_class = _Header2


def forms_of(path: Path, image: Any) -> Forms:
    """The affine of an opened image, and the sentences about its header.

    The sform is taken where both forms are set, but the qform where the sform is none or leads to a template of
    another size.  Raises InputError where both are of one space and state different voxel sizes.
    """
    header = image.header
    if "sform_code" not in header:
        return Forms(np.array(image.affine, dtype=float))
    qform = _valid(header.get_qform) if header["qform_code"] > 0 else None
    sform = _valid(header.get_sform) if header["sform_code"] > 0 else None
    said = _of_header(path, header, qform, sform)
    if header["sform_code"] > 0 and sform is None and qform is not None:
        return Forms(qform, qform, None, (*said, f"{path}: its sform is not a valid affine; the qform is used."))
    if header["qform_code"] > 0 and qform is None and sform is not None:
        said.append(f"{path}: its qform is not a valid affine; the sform is used.")
    if qform is None or sform is None:
        return Forms(np.array(image.affine, dtype=float), qform, sform, tuple(said))
    gap = _gap(qform, sform, image.shape)
    if gap <= APART:
        return Forms(sform, qform, sform, tuple(said))
    sizes = [_size(qform), _size(sform)]
    if np.allclose(sizes[1], sizes[0], rtol=SIZES) or _is_sheared(sform):
        flipped = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
        how = (
            "are mirror images of each other (left and right may be exchanged)"
            if flipped
            else f"lie up to {gap:.3g} mm apart"
        )
        return Forms(sform, qform, sform, (*said, f"{path}: qform and sform {how}; the sform is used."))
    how = f"qform and sform state voxels of {_millimetres(sizes[0])} and {_millimetres(sizes[1])}"
    if header["sform_code"] in TEMPLATE and header["qform_code"] in SCANNER:
        said.append(f"{path}: {how}, and the sform leads to a template; the qform is used.")
        return Forms(qform, qform, sform, tuple(said))
    raise InputError(f"{path}: {how}: repair its header, or set the code of the wrong one to 0.")


def offset_doubt(path: Path, header: Any, size: int, needed: int) -> str:
    """A sentence where voxels begin inside the header or do not fill the file; "" where all is well.

    ``size`` and ``needed`` in bytes: of the file, and what header and voxels take. Raises InputError where the voxels
    cannot be found.
    """
    if "vox_offset" not in header:
        return ""
    stated, first = float(header["vox_offset"]), header.single_vox_offset
    if not first <= stated < np.inf:
        if size != needed:
            raise InputError(
                f"{path}: its header says that voxels begin at byte {stated:g}, inside the header: convert it again."
            )
        return f"{path}: its header says that voxels begin at byte {stated:g}, inside the header; byte {first} is used."
    if size > needed:
        return f"{path}: the file has {size - needed} bytes more than its header promises: check that it is whole."
    return ""


def _of_header(path: Path, header: Any, qform: np.ndarray | None, sform: np.ndarray | None) -> list[str]:
    """Sentences about single fields."""
    said = []
    if header["qform_code"] <= 0 and header["sform_code"] <= 0:
        said.append(
            f"{path} states no orientation (qform and sform codes are 0): left and right follow the NIfTI default "
            "and may be exchanged."
        )
    pixdim = np.array(header["pixdim"][1:4], dtype=float)
    if sform is not None and qform is None and not np.allclose(_size(sform), np.abs(pixdim), rtol=SIZES):
        said.append(
            f"{path}: its sform states voxels of {_millimetres(_size(sform))}, its pixdim {_millimetres(pixdim)}; "
            "the sform is used."
        )
    if (unit := UNITS.get(int(header["xyzt_units"]) & 7)) is not None:
        said.append(f"{path}: its header gives lengths in {unit}; they are taken as millimetres.")
    words = header["descrip"].item().decode("utf-8", "replace")
    if words.startswith(SYNTHETIC):
        said.append(f"{path} is a synthetic image ({words}), not an acquired one.")
    return said


def _valid(form: Any) -> np.ndarray | None:
    """A form that is an affine, else None."""
    try:
        affine = np.array(form(), dtype=float)
    except Exception:  # what nibabel refuses of a quaternion or of voxel sizes
        return None
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > 0:
        return None
    return affine


def _gap(one: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """The largest distance in mm between corners of a grid by two affines."""
    size = np.array([*shape, 1, 1, 1][:3])
    corners = np.array(list(np.ndindex(2, 2, 2))) * size
    return float(np.linalg.norm(apply_affine(one, corners) - apply_affine(other, corners), axis=1).max())


def _is_sheared(affine: np.ndarray) -> bool:
    """Whether the axes of an affine are not at right angles, which a qform cannot hold."""
    axes = affine[:3, :3] / _size(affine)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SIZES)


def _size(affine: np.ndarray) -> np.ndarray:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _millimetres(sizes: np.ndarray) -> str:
    return f"{' x '.join(f'{side:.3g}' for side in sizes)} mm"
