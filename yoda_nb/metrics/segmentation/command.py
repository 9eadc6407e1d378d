"""Any segmentation program as a function: image file in, label file out, every failure explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid
from yoda_nb.images.space import resample_like
from yoda_nb.images.volumes import Volume
from yoda_nb.preparation.command import run_program


@dataclass(frozen=True)
class Tool:
    """How to call a program and what to keep of its output."""

    command: str  # {input} and {output} are files; {T1w} and the like the Volume's sources
    labels: tuple[int, ...] | None = None  # codes to keep; None: all above 0.5, for masks and probabilities
    resample: bool = False  # bring an output of another grid back, to the nearest voxel
    note: str = ""


# Public command lines, as their authors document them; none is installed or run by this package.
TOOLS = {
    "shiva-wmh": Tool(
        "python predict_one_file.py --gpu 0 -m FLAIR-WMH-model.h5 -i {input} -o {output}",
        note="github.com/pboutinaud/SHIVA_WMH (CC BY-NC-SA): a probability; expects 160 x 214 x 176 voxels of "
        "1 mm, brain centred, in [0, 1]; repeat -m for each fold; T1+FLAIR models take -i {T1w} -i {input}.",
    ),
    "wmh-synthseg": Tool(
        "mri_WMHsynthseg --i {input} --o {output}",
        labels=(77,),
        resample=True,
        note="FreeSurfer 8; 77 is white-matter hyperintensity; the output is of 1 mm.",
    ),
    "synthseg": Tool(
        "mri_synthseg --i {input} --o {output} --keepgeom",
        labels=(2, 41),
        note="FreeSurfer 8; cerebral white matter left and right; it has no label for lesions.",
    ),
    "totalsegmentator": Tool(
        "TotalSegmentator -i {input} -o {output} --ml --task total_mr --roi_subset brain",
        labels=(50,),
        note="version 2, one file of labels (--ml); 50 is the brain; it has no label for lesions.",
    ),
}


def segment_with_command(
    image: Tensor,
    where: Volume | np.ndarray,
    command: str | Tool,
    *,
    labels: tuple[int, ...] | None = None,
    resample: bool = False,
    timeout: float = 3600.0,
) -> Tensor:
    """Run a segmentation program on an image: (1,D,H,W) in [-1,1] -> (1,D,H,W) bool.

    ``where`` is the Volume the image belongs to, or its affine (4,4). ``command`` is one of
    ``TOOLS``, or a template such as "tool --in {input} --out {output}", run without a shell;
    {input} is a float32 NIfTI of the image on the [0,1] scale, {T1w} or another source's name that
    source. ``labels`` are the codes to keep, None keeps values above 0.5. ``timeout`` in seconds.
    Raises InputError where the program is not installed, fails (with the last line it wrote),
    takes too long, or leaves no file, no image, or, without ``resample``, one on another grid.
    """
    tool = command if isinstance(command, Tool) else Tool(command, labels, resample)
    affine = where.affine if isinstance(where, Volume) else np.asarray(where, dtype=float)
    if image.ndim != 4 or len(image) != 1 or affine.shape != (4, 4):
        raise InputError(f"The image {tuple(image.shape)} must be (1, D, H, W) and its affine (4, 4).")
    _, d, h, w = image.shape
    images = {"input": image[0]}
    if isinstance(where, Volume):
        images |= {name: x for name, x in zip(where.sources, where.source, strict=True) if name not in images}
    scaled = {name: ((x.float().cpu() + 1) / 2).numpy() for name, x in images.items() if f"{{{name}}}" in tool.command}
    array, found_affine = run_program(
        tool.command, scaled, Grid((d, h, w), affine), resample=tool.resample, timeout=timeout
    )
    found = torch.from_numpy(array)[None]
    kept = found > 0.5 if tool.labels is None else torch.isin(found.round().long(), torch.tensor(tool.labels))
    return resample_like(kept, found_affine, affine, (d, h, w), order=0, fill=0) if tool.resample else kept
