"""Reading, resampling, normalising, cropping and saving, against closed forms and inverses."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from heads_by_hand import AFFINE, SHAPE, head, tilted, world
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt, ornt_transform

from yoda_nb.errors import Doubt, InputError
from yoda_nb.images import nifti
from yoda_nb.images.nifti import read_image, sha256
from yoda_nb.images.space import roi_box, uncrop
from yoda_nb.images.units import HEAD_ROOM, USUAL_ROOM
from yoda_nb.images.volumes import Volume, conform, crop_volume, intensity_window, normalise, save_image
from yoda_nb.preparation.load import load_volume


def write(path, data, affine=AFFINE, codes=(1, 1), axes="RAS", dtype=np.float32):
    """Store RAS data under another axis order; the voxels stay where they are in mm."""
    image = nib.Nifti1Image(data.astype(dtype), affine)
    turn = ornt_transform(nib.io_orientation(affine), axcodes2ornt(axes))
    image = image.as_reoriented(turn)
    image.set_qform(image.affine, codes[0])
    image.set_sform(image.affine, codes[1])
    nib.save(image, path)
    return path


def volume_of(data, affine, mask=None):
    mask = data != 0 if mask is None else mask
    return Volume(torch.from_numpy(normalise(data, mask))[None], torch.from_numpy(mask)[None], affine, ("T1w",))


@pytest.mark.parametrize("axes", ["RAS", "LAS", "LPS", "PIR", "SAL", "ILA"])
@pytest.mark.parametrize("affine", [AFFINE, tilted(AFFINE)], ids=["straight", "oblique"])
def test_any_orientation_reads_the_same_and_saves_back_exactly(tmp_path, axes, affine):
    data, _ = head()
    path = write(tmp_path / "in.nii.gz", data, affine, axes=axes)
    volume = load_volume({"T1w": path})
    read, read_affine, grid = read_image(path)
    np.testing.assert_array_equal(read, data)
    np.testing.assert_allclose(read_affine, affine, atol=1e-4)
    save_image(volume.source, volume, tmp_path / "out.nii.gz", window=(0, 1000))
    before, after = nib.load(path), nib.load(tmp_path / "out.nii.gz")
    assert after.shape == before.shape == grid.shape
    np.testing.assert_array_equal(after.affine, before.affine)
    assert nib.aff2axcodes(after.affine) == tuple(axes)
    assert after.header.get_zooms() == pytest.approx(before.header.get_zooms())
    low, high = intensity_window(data, data != 0)
    np.testing.assert_allclose(after.get_fdata(), before.get_fdata() / high * 1000, atol=2e-3)
    assert low == 0 and after.get_data_dtype() == np.float32


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (0, 4), (2, 3)])
def test_codes_survive(tmp_path, codes):
    path = write(tmp_path / "in.nii", head()[0], tilted(AFFINE), codes)
    volume = load_volume({"T1w": path})
    save_image(volume.source, volume, tmp_path / "out.nii")
    before, after = nib.load(path), nib.load(tmp_path / "out.nii")
    assert (int(after.header["qform_code"]), int(after.header["sform_code"])) == codes
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-4)


def test_no_orientation_codes_warn_and_come_back_to_the_same_voxels(tmp_path):
    data, _ = head()
    image = nib.Nifti1Image(data, None)
    image.header.set_zooms((6, 6, 6))
    image.header["qform_code"] = image.header["sform_code"] = 0
    nib.save(image, tmp_path / "in.nii")
    with pytest.warns(Doubt, match="no orientation") as seen:
        volume = load_volume({"T1w": tmp_path / "in.nii"})
    assert [str(one.message) for one in seen] == list(volume.doubts) and len(seen) == 1
    save_image(volume.source, volume, tmp_path / "out.nii", window=(0, 1))
    after = nib.load(tmp_path / "out.nii")
    assert after.header["qform_code"] == after.header["sform_code"] == 0
    np.testing.assert_allclose(after.affine, nib.load(tmp_path / "in.nii").affine)
    np.testing.assert_allclose(after.get_fdata() * intensity_window(data, data != 0)[1], data, atol=1e-3)


@pytest.mark.parametrize("ending", [".mgz", ".nii", ".nii.gz", ".NII.GZ"])
def test_endings(tmp_path, ending):
    volume = volume_of(*(head()[0], AFFINE))
    save_image(volume.source, volume, tmp_path / f"a{ending}")
    data, affine, grid = read_image(tmp_path / f"a{ending}")
    np.testing.assert_allclose(2 * data - 1, volume.source[0], atol=1e-6)
    np.testing.assert_allclose(affine, AFFINE)
    assert grid.shape == SHAPE and (grid.qform_code, grid.sform_code) == (1, 1)


def test_saving_twice_gives_the_same_bytes(tmp_path):
    volume = volume_of(head()[0], AFFINE)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_image(volume.source, volume, tmp_path / name / "x.nii.gz")
    assert sha256(tmp_path / "a/x.nii.gz") == sha256(tmp_path / "b/x.nii.gz")


def test_load_volume_fields(tmp_path):
    data, ball = head()
    paths = {c: write(tmp_path / f"{c}.nii.gz", data + k * ball) for k, c in enumerate("ab")}
    target = write(tmp_path / "t.nii.gz", 3 * data, axes="LPS")
    mask = write(tmp_path / "m.nii.gz", ball, dtype=np.uint8)
    volume = load_volume(paths, target=("FLAIR", target), mask=mask, subject="s1")
    assert volume.sources == ("a", "b") and volume.contrast == "FLAIR" and volume.subject == "s1"
    assert volume.source.shape == (2, *SHAPE) and volume.target.shape == (1, *SHAPE)
    assert volume.source.dtype == torch.float32 and volume.mask.dtype == torch.bool
    np.testing.assert_array_equal(volume.mask[0], ball)
    assert (volume.source[:, ~volume.mask[0]] == -1).all() and volume.source.abs().max() <= 1
    torch.testing.assert_close(volume.target, volume.source[:1])  # scale does not matter
    assert volume.grid.shape == SHAPE and volume.spacing == pytest.approx((6, 6, 6))


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_cropped_volume_saves_into_the_whole_file(tmp_path, axes):
    """R6: load, turn, crop, save; every voxel back at its place in mm."""
    data, _ = head()
    path = write(tmp_path / "in.nii.gz", data, tilted(AFFINE), axes=axes)
    whole = load_volume({"T1w": path})
    box = roi_box(whole.mask, margin=(1, 0.4, -2))
    part = crop_volume(whole, box)
    corner = [side.start for side in box]
    np.testing.assert_allclose(apply_affine(part.affine, [0, 0, 0]), apply_affine(whole.affine, corner), atol=1e-4)
    save_image(part.source, part, tmp_path / "out.nii.gz", window=(-1, 1))
    read, affine, grid = read_image(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(affine, whole.affine, atol=1e-4)
    assert grid.shape == whole.grid.shape
    np.testing.assert_array_equal(read, uncrop(part.source, box, whole.shape)[0])


@pytest.mark.parametrize("spacing", [4.0, 7.5])
def test_conform_and_back_keeps_world_coordinates(tmp_path, spacing):
    path = write(tmp_path / "in.nii.gz", head()[0], tilted(AFFINE), axes="LIP")
    volume = load_volume({"T1w": path})
    even = conform(volume, spacing)
    assert even.spacing == pytest.approx((spacing,) * 3)
    np.testing.assert_array_equal(even.affine[:3, :3], spacing * np.eye(3))

    def centre(v):  # of brightness, in mm: closed under any change of grid
        weight = (v.source[0] + 1).numpy()
        return (world(v.shape, v.affine) * weight[..., None]).sum((0, 1, 2)) / weight.sum()

    np.testing.assert_allclose(centre(even), centre(volume), atol=0.3)
    save_image(even.source, even, tmp_path / "out.nii.gz", window=(-1, 1))
    read, affine, grid = read_image(tmp_path / "out.nii.gz")
    assert grid.shape == volume.grid.shape
    np.testing.assert_allclose(affine, volume.affine, atol=1e-4)
    inner = (volume.mask[0] & (volume.source[0] > -1)).numpy()
    inner &= np.linalg.norm(world(volume.shape, affine) - centre(volume), axis=-1) < 45
    assert np.abs(read - volume.source[0].numpy())[inner].mean() < 0.02


def test_conform_covers_the_field_of_view_and_is_idle_when_done():
    volume = replace(volume_of(head()[0], AFFINE), sigma=0.04, labels=torch.ones(1, *SHAPE).byte())
    assert conform(volume, 6.0) is volume
    half = conform(volume, 3.0)
    assert half.shape == tuple(2 * n for n in SHAPE) and half.sigma is None
    np.testing.assert_allclose(half.affine[:3, 3], AFFINE[:3, 3] - 1.5)
    assert half.labels.dtype == torch.uint8 and (half.labels == 1).all()
    assert (half.source[:, ~half.mask[0]] == -1).all()
    assert half.mask.sum().item() == pytest.approx(8 * volume.mask.sum().item(), rel=0.02)
    with pytest.raises(InputError, match="voxel size"):
        conform(volume, 0)


def test_window_of_known_intensities():
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 4:16, 4:16] = True
    flat = np.full(mask.shape, 80.0)
    assert intensity_window(flat, mask) == pytest.approx((0, 80 * USUAL_ROOM))
    assert intensity_window(flat[None], mask[None]) == pytest.approx((0, 80 * USUAL_ROOM))
    ct = np.where(np.indices(mask.shape)[0] < 10, -50.0, 150.0)
    low, high = intensity_window(ct, mask)
    assert low == -50 and high == pytest.approx(-50 + USUAL_ROOM * 200, rel=0.01)
    assert intensity_window(flat, mask, "TOF")[1] == pytest.approx(80 * HEAD_ROOM["TOF"]), "room for fresh blood"


def test_noise_hardly_moves_the_window_and_gain_does_not_matter():
    data, ball = head((40, 44, 40), np.diag([3.0, 3, 3, 1]))
    noise = np.random.default_rng(0).normal(scale=8, size=(2, *data.shape))
    noisy = np.hypot(data + noise[0], noise[1])  # Rician, 5 % of the window
    quiet, loud = intensity_window(data, ball)[1], intensity_window(noisy, ball)[1]
    assert loud == pytest.approx(quiet, rel=0.03)
    assert (normalise(noisy, ball)[ball] == 1).mean() < 1e-3
    np.testing.assert_allclose(normalise(1e4 * data, ball), normalise(data, ball), atol=1e-5)
    assert (normalise(data, ball)[~ball] == -1).all()


def test_inputs_are_not_changed(tmp_path):
    volume = volume_of(head()[0], tilted(AFFINE))
    before = volume.source.clone(), volume.affine.copy()
    small = crop_volume(conform(volume, 7.0), (slice(2, 9), slice(3, 9), slice(1, 9)))
    save_image(small.source, small, tmp_path / "a.nii")
    assert torch.equal(volume.source, before[0])
    np.testing.assert_array_equal(volume.affine, before[1])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("a.png", "does not end in"), ("no/a.nii", "folder that exists"), ("dir.nii", "folder that exists")],
)
def test_refused_output_leaves_nothing(tmp_path, name, complaint):
    (tmp_path / "dir.nii").mkdir()
    volume = volume_of(head()[0], AFFINE)
    with pytest.raises(InputError, match=complaint):
        save_image(volume.source, volume, tmp_path / name)
    assert [p.name for p in tmp_path.rglob("*")] == ["dir.nii"]


def test_refused_images_leave_nothing(tmp_path):
    volume = volume_of(head()[0], AFFINE)
    with pytest.raises(InputError, match="shape"):
        save_image(volume.source[:, 1:], volume, tmp_path / "a.nii")
    with pytest.raises(InputError, match="NaN"):
        save_image(volume.source * float("nan"), volume, tmp_path / "a.nii")
    assert not list(tmp_path.iterdir())


def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch):
    volume = volume_of(head()[0], AFFINE)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"old")

    def full_disk(image, part):
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nifti.nib, "save", full_disk)
    with pytest.raises(InputError, match="No space left"):
        save_image(volume.source, volume, path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
