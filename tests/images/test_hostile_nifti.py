"""Files that are broken, odd or do not belong together (reliability tests R1 to R5)."""

from __future__ import annotations

import gzip
import struct
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import read_image
from yoda_nb.preparation.load import load_volume

SHAPE = (20, 22, 21)
AFFINE = np.array([[7.0, 0, 0, -60], [0, 7, 0, -70], [0, 0, 7, -65], [0, 0, 0, 1]])


def image(dtype=np.float32, affine=AFFINE):
    mm = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2) * 7
    ball = (mm**2).sum(-1) < 60**2
    data = np.where(ball, np.random.default_rng(0).integers(40, 120, SHAPE), 0)
    return nib.Nifti1Image(data.astype(dtype), affine, dtype=dtype)


def save(folder, name, img=None) -> Path:
    nib.save(img if img is not None else image(), folder / name)
    return folder / name


def refuse(path, *words):
    """One sentence naming the file and saying what to do, both for reading and for loading."""
    for read in (read_image, lambda p: load_volume({"T1w": p})):
        with pytest.raises(InputError) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        message = str(caught.value)
        assert str(path) in message and "\n" not in message and message.endswith(".")
        assert ": " in message  # what is wrong: what to do
        for word in words:
            assert word in message


# R1: cut, empty, other kinds of file


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
@pytest.mark.parametrize("keep", [0.0, 0.001, 0.25, 0.5, 0.99])
def test_cut_files(tmp_path, name, keep):
    path = save(tmp_path, name)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])
    refuse(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz"])
@pytest.mark.parametrize(
    "content",
    [b"just text, no image\n" * 50, b"\x00" * 4000, b"\xff" * 4000, gzip.compress(b"text in gzip" * 100, mtime=0)],
    ids=["text", "zeros", "ones", "gzip"],
)
def test_other_content_under_an_image_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name)


def test_plain_named_gz_and_gz_named_plain(tmp_path):
    (tmp_path / "b.nii.gz").write_bytes(save(tmp_path, "a.nii").read_bytes())
    refuse(tmp_path / "b.nii.gz")
    (tmp_path / "d.nii").write_bytes(save(tmp_path, "c.nii.gz").read_bytes())
    refuse(tmp_path / "d.nii")


def test_missing_folder_and_suffix(tmp_path):
    refuse(tmp_path / "no.nii.gz", "does not exist")
    (tmp_path / "dir.nii").mkdir()
    refuse(tmp_path / "dir.nii", "not a file")
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    refuse(tmp_path / "a.png", ".nii.gz")


# R2: nibabel alone reads all of these without a word


def damaged(raw: bytes, how: str) -> bytes:
    raw = bytearray(raw)
    if how == "bit":
        raw[len(raw) // 2] ^= 0x10
    elif how == "crc":
        raw[-8] ^= 0x01
    elif how == "size":
        raw[-1] ^= 0x01
    elif how == "trailer":
        del raw[-8:]
    return bytes(raw)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz"])
@pytest.mark.parametrize("how", ["bit", "crc", "size", "trailer"])
def test_damaged_gzip_is_noticed(tmp_path, name, how):
    path = save(tmp_path, name)
    path.write_bytes(damaged(path.read_bytes(), how))
    refuse(path, "corrupt")


def test_gzip_shorter_than_its_header_says(tmp_path):
    raw = gzip.decompress(save(tmp_path, "a.nii.gz").read_bytes())
    half = gzip.compress(raw[: len(raw) // 2])  # with a checksum that is right
    (tmp_path / "a.nii.gz").write_bytes(half)
    refuse(tmp_path / "a.nii.gz", "truncated")


def test_a_huge_claim_is_refused_before_memory_is_asked_for(tmp_path):
    raw = bytearray(save(tmp_path, "a.nii").read_bytes())
    struct.pack_into("<4h", raw, 40, 3, 30000, 30000, 30000)
    (tmp_path / "a.nii").write_bytes(raw)
    refuse(tmp_path / "a.nii", "30000")


@pytest.mark.parametrize("seed", range(25))
def test_random_header_bytes_never_end_in_anything_but_an_input_error(tmp_path, seed):
    rng = np.random.default_rng(seed)
    raw = bytearray(save(tmp_path, "a.nii").read_bytes())
    for at in rng.integers(0, 348, 12):
        raw[at] = rng.integers(256)
    (tmp_path / "a.nii").write_bytes(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data, affine, _ = read_image(tmp_path / "a.nii")
        except InputError:
            return
    assert np.isfinite(data).all() and np.isfinite(affine).all() and data.ndim == 3


# R3: values and types


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, value):
    img = image()
    data = img.get_fdata()
    data[10, 10, 10] = value
    refuse(save(tmp_path, "a.nii.gz", nib.Nifti1Image(data, AFFINE)), "NaN")


def test_beyond_float32(tmp_path):
    data = image().get_fdata() * 1e300
    refuse(save(tmp_path, "a.nii.gz", nib.Nifti1Image(data, AFFINE)), "overflow")


@pytest.mark.parametrize("value", [0, 7])
def test_constant_images(tmp_path, value):
    data = np.full(SHAPE, value, np.float32)
    refuse(save(tmp_path, "a.nii.gz", nib.Nifti1Image(data, AFFINE)), f"single value {value}")


@pytest.mark.parametrize("shape", [(*SHAPE, 2), (*SHAPE, 1, 3), (20, 22), (20, 22, 1)])
def test_not_three_axes(tmp_path, shape):
    data = np.random.default_rng(0).random(shape).astype(np.float32)
    refuse(save(tmp_path, "a.nii.gz", nib.Nifti1Image(data, AFFINE)), str(shape[:2])[1:-1])


def test_complex_and_rgb(tmp_path):
    data = image().get_fdata().astype(np.complex64)
    refuse(save(tmp_path, "c.nii", nib.Nifti1Image(data, AFFINE)), "complex")
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refuse(save(tmp_path, "rgb.nii", nib.Nifti1Image(rgb, AFFINE)), "RGB")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_real_types_are_read(tmp_path, dtype):
    data, _, _ = read_image(save(tmp_path, "a.nii.gz", image(dtype)))
    assert data.dtype == np.float32
    np.testing.assert_array_equal(data, image().get_fdata())


def test_negative_values_are_kept(tmp_path):
    ct = image().get_fdata() * 20 - 1000
    data, _, _ = read_image(save(tmp_path, "ct.nii", nib.Nifti1Image(ct, AFFINE)))
    assert data.min() == -1000


def test_stored_slope_is_applied(tmp_path):
    raw = bytearray(save(tmp_path, "a.nii", image(np.int16)).read_bytes())
    struct.pack_into("<2f", raw, 112, 0.5, 3.0)  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(raw)
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii")[0], image().get_fdata() / 2 + 3)


def test_trailing_axes_of_one_are_dropped(tmp_path):
    img = nib.Nifti1Image(image().get_fdata()[..., None, None], AFFINE)
    assert read_image(save(tmp_path, "a.nii.gz", img))[0].shape == SHAPE


@pytest.mark.parametrize("value", [0, -1])
def test_empty_masks(tmp_path, value):
    mask = save(tmp_path, "m.nii", nib.Nifti1Image(np.full(SHAPE, value, np.int16), AFFINE))
    with pytest.raises(InputError, match="mask .*m.nii is empty"):
        load_volume({"T1w": save(tmp_path, "a.nii")}, mask=mask)


def test_a_mask_beside_the_brain_names_the_image(tmp_path):
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 0, 0] = 1
    path = save(tmp_path, "a.nii")
    with pytest.raises(InputError, match="a.nii: .*constant inside the brain mask"):
        load_volume({"T1w": path}, mask=save(tmp_path, "m.nii", nib.Nifti1Image(mask, AFFINE)))


def test_no_brain_to_be_found(tmp_path):
    noise = np.random.default_rng(0).random((12, 12, 12)).astype(np.float32) + 1
    path = save(tmp_path, "a.nii", nib.Nifti1Image(noise, np.eye(4)))
    with pytest.raises(InputError, match="a.nii: no brain .*--mask"):
        load_volume({"T1w": path})


# R4: affines


def with_sform(tmp_path, affine, name="a.nii"):
    raw = bytearray(save(tmp_path, name).read_bytes())
    struct.pack_into("<2h", raw, 252, 0, 1)
    struct.pack_into("<12f", raw, 280, *np.asarray(affine, float)[:3].ravel())
    (tmp_path / name).write_bytes(raw)
    return tmp_path / name


@pytest.mark.parametrize(
    ("affine", "word"),
    [
        (np.diag([7.0, 7, 0, 1]), "singular"),
        (np.diag([0.0, 0, 0, 1]), "singular"),
        (np.array([[7.0, 7, 0, 0], [0, 0, 0, 0], [0, 0, 7, 0], [0, 0, 0, 1]]), "singular"),
        (np.diag([np.nan, 7, 7, 1]), "not finite"),
        (np.diag([7e-3, 7e-3, 7e-3, 1]), "units"),
    ],
)
def test_unusable_affines(tmp_path, affine, word):
    refuse(with_sform(tmp_path, affine), "affine" if word != "units" else "mm", word)


def test_shear_is_accepted(tmp_path):
    sheared = AFFINE.copy()
    sheared[0, 1] = 0.7
    path = with_sform(tmp_path, sheared)
    np.testing.assert_allclose(read_image(path)[1], sheared, atol=1e-5)
    assert load_volume({"T1w": path}).shape == SHAPE


# R4 and R5: do the files belong together


def shifted(by, axes="RAS"):
    affine = AFFINE.copy()
    affine[:3, 3] += by
    img = image(affine=affine)
    turn = nib.orientations.axcodes2ornt(axes)
    return img.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), turn))


@pytest.mark.parametrize("other", [shifted(1e-6), shifted(1e-3), shifted(0, "LPS"), shifted(0, "PIR")])
def test_float_noise_and_other_axis_orders_agree(tmp_path, other):
    paths = {"T1w": save(tmp_path, "a.nii"), "T2w": save(tmp_path, "b.nii", other)}
    volume = load_volume(paths)
    assert (volume.source[0] == volume.source[1]).all()  # left stays left


@pytest.mark.parametrize("role", ["source", "target", "mask"])
@pytest.mark.parametrize("how", ["shift", "shape", "mirrored", "scaled"])
def test_grids_that_disagree_name_both_files(tmp_path, role, how):
    img, word = image(), "mm apart"
    if how == "shift":
        img = shifted([2.0, 0, 0])
        word = "corners 2 mm apart"
    elif how == "shape":
        img, word = img.slicer[:-1], f"{SHAPE}"
    elif how == "mirrored":
        img = nib.Nifti1Image(img.get_fdata(), np.diag([-1.0, 1, 1, 1]) @ AFFINE)
    else:
        img = nib.Nifti1Image(img.get_fdata(), AFFINE @ np.diag([1.001, 1, 1, 1]))
    one, two = save(tmp_path, "one.nii"), save(tmp_path, "two.nii", img)
    extra = {"target": ("FLAIR", two)} if role == "target" else {}
    extra = {"mask": two} if role == "mask" else extra
    sources = {"T1w": one, "T2w": two} if role == "source" else {"T1w": one}
    with pytest.raises(InputError) as caught:
        load_volume(sources, **extra)
    for words in (str(one), str(two), word, "register"):
        assert words in str(caught.value)


def test_one_source_missing_or_none_given(tmp_path):
    with pytest.raises(InputError, match="b.nii does not exist"):
        load_volume({"T1w": save(tmp_path, "a.nii"), "T2w": tmp_path / "b.nii"})
    with pytest.raises(InputError, match="at least one"):
        load_volume({})
