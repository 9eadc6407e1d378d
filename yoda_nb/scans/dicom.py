"""Folders of DICOM files to NIfTI, by the program dcm2niix (Li et al., J. Neurosci. Methods 264, 2016, 47-56).

DICOM of many vendors is a field of its own, and dcm2niix is what the field uses: it is called, not imitated.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from yoda_nb.errors import InputError

PROGRAM = "dcm2niix"
NOTHING, SOME = 2, 8  # exit codes: no DICOM there; some of it not converted
OPTIONS = (
    "-z",
    "y",
    "-b",
    "y",
    "-ba",
    "y",
    "-f",
    "%d_%s",
)  # compressed, sidecars without names, description and number


def find_dcm2niix() -> str:
    """The program on the PATH or beside this Python; InputError saying how to get it."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    if found := shutil.which(PROGRAM, path=path):
        return found
    raise InputError(
        f"{PROGRAM} is not installed, and reads DICOM here: pip install 'yoda-nb[dicom]', "
        "conda install -c conda-forge dcm2niix, or apt install dcm2niix."
    )


def convert_dicom(folder: str | Path, out: str | Path) -> list[Path]:
    """Convert all series below ``folder`` to ``out`` (made if need be); the .nii.gz files, sorted.

    Files are called by the series' description and number; a JSON sidecar, without the patient's name, and the
    tables of a diffusion series lie beside them.  Warns where some series could not be converted.  Raises InputError,
    and leaves nothing in ``out``, without dcm2niix, for a folder without DICOM, where the program fails, and where a
    file is already there.
    """
    folder, out = Path(folder), Path(out)
    program = find_dcm2niix()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: name one with DICOM files.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".dicom-") as work:
            _run(program, folder, work)
            made = sorted(Path(work).iterdir())
            if not any(path.name.endswith(".nii.gz") for path in made):
                raise InputError(f"{folder} gave no image: check that it holds DICOM files of slices or volumes.")
            if there := [path.name for path in made if (out / path.name).exists()]:
                raise InputError(f"{out / there[0]} exists: name another folder, or remove it.")
            for path in made:
                os.replace(path, out / path.name)
    except OSError as error:
        raise InputError(f"cannot convert {folder} to {out} ({error.strerror or error}): check both.") from error
    return [out / path.name for path in made if path.name.endswith(".nii.gz")]


def _run(program: str, folder: Path, work: str) -> None:
    command = [program, *OPTIONS, "-o", work, str(folder.resolve())]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode == NOTHING:
        raise InputError(f"{folder} contains no DICOM images: name the folder with the series.")
    if done.returncode:
        said = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        why = said[-1] if said else "it says nothing"
        if done.returncode != SOME:
            raise InputError(f"{PROGRAM} failed on {folder} with code {done.returncode} ({why}): check the files.")
        warnings.warn(f"{PROGRAM} could not convert all of {folder} ({why})", stacklevel=3)
