"""Any program on image files: images in, one image out, every failure explained; and those that strip skulls."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from yoda_nb.errors import InputError
from yoda_nb.images.masks import as_mask, solid_part
from yoda_nb.images.nifti import Grid, check_same_grid, read_voxels, write_image

# Public command lines, as their authors document them; none is installed by this package. What is above 0
# in the output is the brain (``masks.as_mask``): HD-BET writes the image without its skull, SynthStrip a mask.
STRIPPERS = {
    "hd-bet": "hd-bet -i {input} -o {output} -device cpu --disable_tta",  # github.com/MIC-DKFZ/HD-BET, version 2
    "synthstrip": "mri_synthstrip -i {input} -m {output}",  # FreeSurfer 7.3 or newer
}


def command_mask(
    image: np.ndarray, affine: np.ndarray, command: str, *, timeout: float = 3600.0
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The brain as another program sees it: bool (D, H, W); and how its output was taken, where that is to be said.

    ``image`` (D, H, W) RAS+ in any units, ``affine`` (4, 4) to mm; ``command`` is one of ``STRIPPERS`` or
    a template with {input} and {output}, a mask or an image that is 0 outside the brain.
    Raises InputError for all that :func:`run_program` refuses, and for an output without a brain.
    """
    d, h, w = image.shape
    template = STRIPPERS.get(command, command)
    found, _ = run_program(template, {"input": image}, Grid((d, h, w), affine), timeout=timeout)
    inside, said = as_mask(found)
    mask = solid_part(inside)
    if not mask.any():
        raise InputError(f"{shlex.split(template)[0]} found no brain: look at the image, or pass a mask with --mask.")
    odd = said and "of an image" not in said  # which some programs write, and may
    return mask, ((f"the output of {shlex.split(template)[0]} {said}",) if odd else ())


def run_program(
    command: str, images: Mapping[str, np.ndarray], grid: Grid, *, resample: bool = False, timeout: float = 3600.0
) -> tuple[np.ndarray, np.ndarray]:
    """Run a program on images (D, H, W) of one grid: what it writes, (D, H, W) RAS+, and its affine (4, 4).

    ``command`` is run without a shell; {output} is the file it has to write, {input} and any other name
    of ``images`` a float32 NIfTI.  ``timeout`` in seconds.
    Raises InputError where the command lacks a file's name, or the program is not installed, fails (with
    the last line it wrote), takes too long, or leaves no file, no image, or, without ``resample``, one on
    another grid.
    """
    if missing := [name for name in ("{input}", "{output}") if name not in command]:
        raise InputError(f"The command {command!r} has no {missing[0]}: write it where the file's name belongs.")
    with TemporaryDirectory(prefix="yoda-nb-") as name:
        folder = Path(name)
        files = {name: folder / f"{name}.nii.gz" for name in (*images, "output") if f"{{{name}}}" in command}
        for name in files.keys() & images.keys():
            write_image(images[name], grid, files[name])
        argv = [_filled(word, files) for word in shlex.split(command)]
        _run(argv, folder, timeout)
        return _read_output(files["output"], files["input"], grid, argv[0], resample)


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


def _read_output(path: Path, image: Path, grid: Grid, name: str, resample: bool) -> tuple[np.ndarray, np.ndarray]:
    """What the program left: values (D, H, W), RAS+ like the image, and their affine."""
    if not path.is_file():
        raise InputError(f"{name} ended well but wrote no file: check where the command puts {{output}}.")
    try:
        data, affine, found = read_voxels(path)
        if not resample:
            check_same_grid({"its input": (image, grid), "its output": (path, found)})
    except InputError as error:
        raise InputError(f"The output of {name} cannot be used: {error}") from error
    return data, affine
