"""What headers say of their grid: read where it can be read, one sentence where it contradicts itself, refused beyond."""

from __future__ import annotations

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from yoda_nb.errors import Doubt, InputError
from yoda_nb.images.nifti import read_grid, read_image, read_voxels, tell, write_image
from yoda_nb.preparation.kept import Pieces, recall

SHAPE = (5, 6, 7)
AFFINE = np.array([[3.0, 0, 0, -8], [0, 3, 0, -9], [0, 0, 3, -10], [0, 0, 0, 1]])
LPS = np.diag([-1.0, -1, 1, 1]) @ AFFINE
DATA = np.arange(1, 211, dtype=np.float32).reshape(SHAPE)
CODES, QUATERNION, PIXDIM, OFFSET, UNITS = 252, 256, 76, 108, 123  # bytes of a NIfTI-1 header


def saved(path, sform=AFFINE, qform=AFFINE, codes=(1, 1), data=DATA):
    """A file whose two forms and codes (qform, sform) are what they are given as."""
    image = nib.Nifti1Image(data, sform if codes[1] else qform)
    image.set_qform(qform, codes[0], update_affine=False)
    image.set_sform(sform, codes[1], update_affine=False)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def patched(path, *changes):
    """The file with fields packed into its bytes: (offset, format, values ...)."""
    packed = path.suffix == ".gz"
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    for offset, form, *values in changes:
        struct.pack_into(form, raw, offset, *values)
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    return path


def sized(step):
    """The affine with other voxels."""
    affine = AFFINE.copy()
    affine[:3, :3] *= step / 3
    return affine


def moved(by):
    affine = AFFINE.copy()
    affine[0, 3] += by
    return affine


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nothing_is_said_of_a_clean_file(tmp_path, ending, kind):
    image = kind(DATA, AFFINE)
    image.header.set_xyzt_units("mm")
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / f"a{ending}")
    data, affine, grid = read_image(tmp_path / f"a{ending}")
    assert grid.doubts == () and np.array_equal(data, DATA) and np.allclose(affine, AFFINE)


# --- a quaternion that is longer than 1


@pytest.mark.parametrize("length", [1.0000002, 1.00001, 1.0004])
def test_a_quaternion_that_rounding_made_longer_than_1_is_read(tmp_path, length):
    path = patched(saved(tmp_path / "a.nii"), (CODES, "<2h", 1, 0), (QUATERNION, "<6f", 0, 0, length, 8, 9, -10))
    data, affine, grid = read_image(path)
    assert np.allclose(affine[:3, :3], 3 * np.eye(3)) and grid.doubts == ()
    assert np.allclose(grid.affine, np.diag([-3.0, -3, 3, 1]) + np.array([[0, 0, 0, x] for x in (8, 9, -10, 0)]))
    assert np.array_equal(data, DATA[::-1, ::-1])


def test_a_quaternion_that_is_none_is_named(tmp_path):
    path = patched(saved(tmp_path / "a.nii"), (CODES, "<2h", 1, 0), (QUATERNION, "<6f", 0, 0, 1.2, 8, 9, -10))
    with pytest.raises(InputError, match="quaternion") as said:
        read_image(path)
    assert "truncated" not in str(said.value) and str(path) in str(said.value)


def test_a_quaternion_that_is_none_does_not_matter_where_the_sform_is_set(tmp_path):
    path = patched(saved(tmp_path / "a.nii"), (QUATERNION, "<6f", 0, 0, 1.2, 8, 9, -10))
    assert np.allclose(read_image(path)[1], AFFINE)
    assert [("qform" in said, "sform is used" in said) for said in read_grid(path).doubts] == [(True, True)]


# --- two forms


@pytest.mark.parametrize(
    ("sform", "qform", "codes", "words", "taken"),
    [
        (AFFINE, np.diag([-1.0, 1, 1, 1]) @ AFFINE, (1, 1), ("mirror images", "sform is used"), AFFINE),
        (moved(5.0), AFFINE, (1, 1), ("5 mm apart", "sform is used"), moved(5.0)),
        (sized(2.4), AFFINE, (1, 4), ("2.4 x 2.4 x 2.4", "template", "qform is used"), AFFINE),
        (np.zeros((4, 4)), AFFINE, (1, 1), ("sform is not a valid affine", "qform is used"), AFFINE),
        (AFFINE, AFFINE, (0, 0), ("no orientation", "may be exchanged"), None),
    ],
    ids=["handedness", "shift", "template", "zeros", "codes"],
)
def test_forms_that_disagree_are_told_in_one_sentence(tmp_path, sform, qform, codes, words, taken):
    path = saved(tmp_path / "a.nii.gz")
    rows = [(280, "<12f", *np.asarray(sform[:3]).ravel()), (CODES, "<2h", *codes)]
    image = nib.Nifti1Image(DATA, qform)
    image.set_qform(qform, 1)
    nib.save(image, path)
    patched(path, *rows, (UNITS, "<B", 2))
    _, affine, grid = read_image(path)
    assert len(grid.doubts) == 1 and all(word in grid.doubts[0] for word in (str(path), *words)), grid.doubts
    if taken is not None:
        assert np.allclose(grid.affine, taken, atol=1e-4) and np.allclose(affine, taken, atol=1e-4)
    assert read_grid(path).doubts == grid.doubts, "the header alone says so"
    with pytest.warns(Doubt, match=words[0]):
        tell(grid.doubts)


def test_forms_of_different_voxel_sizes_are_refused(tmp_path):
    path = saved(tmp_path / "a.nii", sized(2.4), AFFINE)
    with pytest.raises(InputError, match="3 x 3 x 3 mm and 2.4 x 2.4 x 2.4 mm.*repair"):
        read_grid(path)


def test_forms_that_differ_by_rounding_are_one(tmp_path):
    assert read_grid(saved(tmp_path / "a.nii", moved(0.01), AFFINE)).doubts == ()


@pytest.mark.parametrize("codes", [(1, 1), (1, 4), (2, 1)])
@pytest.mark.parametrize("qform", [np.diag([-1.0, 1, 1, 1]) @ AFFINE, moved(4.0), LPS], ids=["hand", "shift", "turn"])
def test_what_is_written_has_both_forms_as_the_file_had_them(tmp_path, qform, codes):
    path = saved(tmp_path / "a.nii", AFFINE, qform, codes)
    data, _, grid = read_image(path)
    write_image(data, grid, tmp_path / "b.nii")
    before, after = nib.load(path), nib.load(tmp_path / "b.nii")
    for form in ("get_qform", "get_sform"):
        (one, code), (other, again) = (getattr(image.header, form)(coded=True) for image in (before, after))
        assert code == again and np.allclose(one, other, atol=1e-4)
    assert np.array_equal(before.get_fdata(), after.get_fdata()) and np.allclose(before.affine, after.affine)
    assert [said.partition(": ")[2] for said in read_grid(tmp_path / "b.nii").doubts] == [
        said.partition(": ")[2] for said in grid.doubts
    ], "what contradicts itself is not mended in silence"


def test_a_template_sform_is_given_back_beside_the_qform_that_was_taken(tmp_path):
    path = saved(tmp_path / "a.nii", sized(2.4), AFFINE, (1, 4))
    data, affine, grid = read_image(path)
    write_image(data, grid, tmp_path / "b.nii")
    made = nib.load(tmp_path / "b.nii").header
    assert np.allclose(made.get_qform(), AFFINE) and np.allclose(made.get_sform(), sized(2.4), atol=1e-5)
    assert np.allclose(read_image(tmp_path / "b.nii")[1], affine)


def test_a_grid_that_was_kept_comes_back_with_both_forms_and_its_doubts(tmp_path):
    grid = read_grid(saved(tmp_path / "a.nii", AFFINE, np.diag([-1.0, 1, 1, 1]) @ AFFINE, (1, 4)))
    pieces = Pieces({"mask": DATA > 99, "after T1w": DATA}, AFFINE, grid, {}, ("odd.", *grid.doubts))
    for make in (lambda: pieces, None):  # the second time it is read
        found = recall(tmp_path / "kept", {"of": "this"}, make)
        assert found.warnings == pieces.warnings and found.grid.doubts == grid.doubts and len(grid.doubts) == 1
        assert found.grid.shape == grid.shape and (found.grid.qform_code, found.grid.sform_code) == (1, 4)
        for form in ("affine", "qform", "sform"):
            assert np.array_equal(getattr(found.grid, form), getattr(grid, form))
        assert np.array_equal(found.images["after T1w"], DATA) and found.images["mask"].dtype == bool


# --- single fields


@pytest.mark.parametrize(
    ("codes", "change", "words"),
    [
        ((0, 1), (PIXDIM + 4, "<3f", 2, 2, 2), ("sform states voxels of 3 x 3 x 3", "pixdim 2 x 2 x 2")),
        ((1, 1), (UNITS, "<B", 3), ("micrometres",)),
        ((1, 1), (UNITS, "<B", 1), ("metres",)),
    ],
    ids=["pixdim", "micrometres", "metres"],
)
def test_odd_fields_are_told_in_one_sentence(tmp_path, codes, change, words):
    path = patched(saved(tmp_path / "a.nii", codes=codes), change)
    _, affine, grid = read_image(path)
    assert np.allclose(affine, AFFINE)
    assert len(grid.doubts) == 1 and all(word in grid.doubts[0] for word in words), grid.doubts


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("stated", [0.0, 16.0, float("nan")])
def test_voxels_said_to_begin_inside_the_header_are_read_from_behind_it(tmp_path, stated, ending):
    path = patched(saved(tmp_path / f"a{ending}"), (OFFSET, "<f", stated))
    data, _, grid = read_voxels(path)
    assert np.array_equal(data, DATA)
    assert len(grid.doubts) == 1 and "inside the header" in grid.doubts[0]


def test_voxels_inside_the_header_and_bytes_too_many_are_refused(tmp_path):
    path = patched(saved(tmp_path / "a.nii"), (OFFSET, "<f", 16))
    path.write_bytes(path.read_bytes() + bytes(40))
    with pytest.raises(InputError, match="begin at byte 16, inside the header"):
        read_voxels(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_bytes_after_the_voxels_are_told(tmp_path, ending):
    path = saved(tmp_path / f"a{ending}")
    raw = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    path.write_bytes(gzip.compress(raw + bytes(40)) if ending == ".nii.gz" else raw + bytes(40))
    data, _, grid = read_voxels(path)
    assert np.array_equal(data, DATA) and len(grid.doubts) == 1 and "40 bytes more" in grid.doubts[0]


def test_a_synthetic_image_is_told_when_it_is_read_again(tmp_path):
    _, _, grid = read_image(saved(tmp_path / "a.nii"))
    write_image(
        DATA, grid, tmp_path / "made.nii.gz", made="synthetic: FLAIR by yoda-nb, yoda-expa, tiny \u00e9" + "x" * 90
    )
    assert bytes(nib.load(tmp_path / "made.nii.gz").header["descrip"].item()).startswith(b"synthetic: FLAIR by yoda-nb")
    (said,) = read_grid(tmp_path / "made.nii.gz").doubts
    assert "is a synthetic image" in said and "yoda-expa" in said
    write_image(DATA, grid, tmp_path / "plain.nii.gz")
    assert read_grid(tmp_path / "plain.nii.gz").doubts == ()


# --- what is no image file


def pointer(text):
    return lambda path: path.write_text(text)


NO_FILES = {
    "dead link": (lambda path: path.symlink_to("../.git/annex/objects/aa/MD5E-s1--a.nii.gz"), "datalad get"),
    "annex": (pointer("/annex/objects/MD5E-s5040360--49a3a52d.nii.gz\n"), "datalad get"),
    "annex link as text": (pointer("../../.git/annex/objects/aa/bb/MD5E-s1--a.nii.gz"), "datalad get"),
    "lfs": (pointer("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 1\n"), "git lfs pull"),
    "empty": (lambda path: path.write_bytes(b""), "is empty: copy or download it again"),
    "missing": (lambda path: None, "does not exist: check the path"),
    "folder": (lambda path: path.mkdir(), "is not a file: name one image file"),
}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_with_content_is_one_sentence_with_what_to_do(tmp_path, kind, ending):
    make, says = NO_FILES[kind]
    path = tmp_path / f"a{ending}"
    make(path)
    for read in (read_grid, read_image):
        with pytest.raises(InputError, match=says) as said:
            read(path)
        assert str(path) in str(said.value) and "truncated" not in str(said.value)


@pytest.mark.parametrize("name", ["a" * 300 + ".nii", "a\0.nii"], ids=["long", "zero"])
def test_names_that_no_file_can_have_are_one_sentence(tmp_path, name):
    with pytest.raises(InputError, match="check the path"):
        read_grid(tmp_path / name)


@pytest.mark.parametrize("name", ["a.img", "a.hdr"])
def test_pairs_of_header_and_image_are_to_be_converted(tmp_path, name):
    nib.save(nib.Nifti1Pair(DATA, AFFINE), tmp_path / "a.img")
    with pytest.raises(InputError, match=f"{name} .*convert it to NIfTI"):
        read_image(tmp_path / name)
