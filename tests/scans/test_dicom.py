"""DICOM folders through dcm2niix: one that plays it, and the real one where it is installed."""

from __future__ import annotations

import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from yoda_nb.errors import InputError
from yoda_nb.scans import dicom
from yoda_nb.scans.dicom import convert_dicom

PLAYED = """#!{python}
import pathlib, sys
words = sys.argv[1:]
out, folder = pathlib.Path(words[words.index("-o") + 1]), pathlib.Path(words[-1])
given = sorted(path.name for path in folder.glob("*.dcm"))
for name in given:
    (out / (name[:-4] + ".nii.gz")).write_bytes(b"image")
    (out / (name[:-4] + ".json")).write_text(" ".join(words))
print("Conversion required 0.01 seconds" if given else "Error: Unable to find any DICOM images")
print("Warning: slice missing", file=sys.stderr)
sys.exit({code} if given else 2)
"""


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Puts a dcm2niix on the PATH that makes an image of each file and exits with a code."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))

    def installed(code: int = 0):
        (programs / "dcm2niix").write_text(PLAYED.format(python=sys.executable, code=code))
        (programs / "dcm2niix").chmod(0o755)

    return installed


@pytest.fixture
def series(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("t1_3", "t2_4"):
        (folder / f"{name}.dcm").write_bytes(b"DICM")
    return folder


def test_images_appear_with_their_sidecars(play, series, tmp_path):
    play()
    made = convert_dicom(series, tmp_path / "new" / "out")
    assert made == [tmp_path / "new/out" / name for name in ("t1_3.nii.gz", "t2_4.nii.gz")]
    words = (tmp_path / "new/out/t1_3.json").read_text().split()
    assert words[words.index("-z") + 1] == words[words.index("-ba") + 1] == "y"  # compressed, and without names
    assert sorted(path.suffix for path in (tmp_path / "new/out").iterdir()) == [".gz", ".gz", ".json", ".json"]


def test_without_the_program_the_sentence_says_how_to_get_it(series, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"yoda-nb\[dicom\]"):
        convert_dicom(series, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_converted_leaves_nothing(play, series, tmp_path):
    play(code=4)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="code 4"):
        convert_dicom(series, tmp_path / "out")
    with pytest.raises(InputError, match="no DICOM images"):
        convert_dicom(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match="not a folder"):
        convert_dicom(tmp_path / "nowhere", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_part_is_kept_with_a_warning(play, series, tmp_path):
    play(code=dicom.SOME)
    with pytest.warns(UserWarning, match="could not convert all"):
        assert len(convert_dicom(series, tmp_path / "out")) == 2


def test_files_that_are_there_stay(play, series, tmp_path):
    play()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/t2_4.json").write_text("mine")
    with pytest.raises(InputError, match="t2_4.json exists"):
        convert_dicom(series, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["t2_4.json"]


def test_the_real_program_keeps_voxels_and_millimetres(tmp_path):
    try:
        dicom.find_dcm2niix()
    except InputError as error:
        pytest.skip(str(error))
    (tmp_path / "in").mkdir()
    data = np.arange(6 * 12 * 16, dtype=np.int16).reshape(6, 12, 16)  # slices, rows, columns
    for k, plane in enumerate(data):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.5, 0.75, 3.0))
        tags = {
            "0008|0060": "MR",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
            "0008|0020": "20260101",
            "0008|0030": "120000",
            "0008|103e": "t1 axial",
            "0010|0010": "Somebody^Known",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0011": "5",
            "0020|0013": str(k + 1),
            "0020|0032": f"-4\\-4.5\\{3 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "3",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(tmp_path / "in" / f"{k}.dcm"))
        writer.Execute(image)
    (path,) = convert_dicom(tmp_path / "in", tmp_path / "out")
    made = nib.as_closest_canonical(nib.load(path))
    assert made.shape == (16, 12, 6) and np.allclose(made.header.get_zooms(), (0.5, 0.75, 3))
    assert (made.get_fdata() == data.transpose(2, 1, 0)[::-1, ::-1]).all()  # DICOM runs left and posterior
    assert "Somebody" not in "".join(file.read_text() for file in (tmp_path / "out").glob("*.json"))
