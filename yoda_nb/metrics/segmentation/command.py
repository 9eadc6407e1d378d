"""Any segmentation program as a function: image file in, label file out, every failure explained."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid, check_same_grid, read_voxels, write_image
from yoda_nb.images.space import resample_like
from yoda_nb.images.volumes import Volume


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
    grid = Grid((d, h, w), affine)
    with TemporaryDirectory(prefix="yoda-nb-") as folder:
        files = _write_inputs(image, where, tool.command, grid, Path(folder))
        files["output"] = Path(folder) / "output.nii.gz"
        argv = [_filled(word, files) for word in shlex.split(tool.command)]
        _run(argv, Path(folder), timeout)
        found, found_affine = _read_output(files["output"], files["input"], grid, argv[0], tool.resample)
    kept = found > 0.5 if tool.labels is None else torch.isin(found.round().long(), torch.tensor(tool.labels))
    return resample_like(kept, found_affine, affine, grid.shape, order=0, fill=0) if tool.resample else kept


def _write_inputs(image: Tensor, where, command: str, grid: Grid, folder: Path) -> dict[str, Path]:
    """Placeholder -> file, for {input} and each source that the command names."""
    if missing := [name for name in ("{input}", "{output}") if name not in command]:
        raise InputError(f"The command {command!r} lacks {missing[0]}: write it where the file's name belongs.")
    images = {"input": image[0]}
    if isinstance(where, Volume):
        images |= {name: x for name, x in zip(where.sources, where.source, strict=True) if f"{{{name}}}" in command}
    files = {name: folder / f"{name}.nii.gz" for name in images}
    for name, path in files.items():
        write_image(((images[name].float().cpu() + 1) / 2).numpy(), grid, path)
    return files


def _filled(word: str, files: dict[str, Path]) -> str:
    for name, path in files.items():
        word = word.replace(f"{{{name}}}", str(path))
    return word


def _run(argv: list[str], folder: Path, timeout: float) -> None:
    """Run a program to its end; what it writes goes to files, which no child of it can keep open."""
    logs = [folder / "stderr.txt", folder / "stdout.txt"]
    with open(logs[0], "wb") as errors, open(logs[1], "wb") as output:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise InputError(
                f"{argv[0]} cannot be run ({error.strerror}): install it, or give the command its full path."
            ) from error
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{argv[0]} was stopped after {timeout:g} s: raise timeout, or use its faster mode."
            ) from None
        finally:
            _stop(process)
    if status != 0:
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-1:] if line.strip()]
        said = f"its last line: {lines[0].strip()}" if lines else "it wrote nothing"
        raise InputError(f"{argv[0]} failed with exit status {status} ({said}): run the command by hand to see more.")


def _stop(process: subprocess.Popen) -> None:
    """End a program that still runs, with all that it started."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _read_output(path: Path, image: Path, grid: Grid, name: str, resample: bool) -> tuple[Tensor, np.ndarray]:
    """What the program left: values (1,D,H,W), RAS+ like the image, and their affine."""
    if not path.is_file():
        raise InputError(f"{name} ended well but wrote no file: check where the command puts {{output}}.")
    try:
        data, affine, found = read_voxels(path)
        if not resample:
            check_same_grid({"its input": (image, grid), "its output": (path, found)})
    except InputError as error:
        raise InputError(f"The output of {name} cannot be used: {error}") from error
    return torch.from_numpy(data)[None], affine
