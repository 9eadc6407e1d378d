"""Contrasts that data sets call by other names: a pelvis with a CT deformed to its MR images, and an angiogram."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch

from yoda_nb.data.layouts import get_layout
from yoda_nb.data.manifest import load_case, read_manifest
from yoda_nb.data.packs import pack, read_pack
from yoda_nb.data.rows import COLUMNS
from yoda_nb.images.units import WINDOWS, called, canonical, hounsfield, in_window, part_of, to_hounsfield
from yoda_nb.images.volumes import normalise, save_image
from yoda_nb.phantoms.phantom import field_of_view, phantom_case
from yoda_nb.preparation.load import load_volume

AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])
FAT, MUSCLE, BONE, AIR = -100, 50, 900, -1000


def pelvis():
    """HU and MR signals (D,H,W) of fat around muscle around bones full of marrow: 9 litres, and no brain."""
    x, y, z = np.meshgrid(*(5.0 * (np.arange(n) - n / 2) for n in (76, 56, 40)), indexing="ij")
    body = ((x / 170) ** 2 + (y / 115) ** 2 < 1) & (abs(z) < 80)
    muscle = ((x / 140) ** 2 + (y / 90) ** 2 < 1) & body
    bone = sum(((x - side) ** 2 + y**2 < 25**2) for side in (-80, 80)).astype(bool) & muscle
    parts = [body, muscle, bone]
    noise = np.random.default_rng(0).normal(0, 4, (3, *x.shape))

    def painted(values, k):
        image = np.full(x.shape, float(values[0]))
        for part, value in zip(parts, values[1:], strict=True):
            image[part] = value
        return image + noise[k]

    return body, {
        "CTdef": painted((AIR, FAT, MUSCLE, BONE), 0),
        "T1": abs(painted((0, 900, 300, 600), 1)),
        "T2": abs(painted((0, 500, 200, 350), 2)),
    }


def manifest(folder, layout, files):
    """A manifest of files below a folder, as their layout reads them; ``files``: path -> image."""
    rows = [",".join(COLUMNS)]
    for path, image in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), folder / path)
        found = get_layout(layout).read(path)
        rows.append(f"{layout},{found.subject},train,{found.contrast},{path},n/a,n/a,n/a,n/a")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return read_manifest(folder / "manifest.csv")


def test_a_pelvis_is_packed_in_hounsfield_units_inside_its_body(tmp_path):
    body, images = pelvis()
    (case,) = manifest(tmp_path, "gold-atlas", {f"1_04_P/{name}.nii.gz": x for name, x in images.items()})
    volume = load_case(case, sources=("T1w", "T2w"), target="CTdef")
    (file,) = pack(replace(volume, subject="p"), tmp_path / "packs")
    back = read_pack(file)
    assert back.contrast == "CTdef" and back.mask.sum() == pytest.approx(body.sum(), rel=0.03), "the body"
    seen = to_hounsfield(back.target, "CTdef")[back.mask]
    wanted = np.percentile(images["CTdef"][body], [5, 50, 99.5])
    assert np.percentile(seen.numpy(), [5, 50, 99.5]) == pytest.approx(wanted, abs=10), "as the file has them"
    save_image(volume.target, volume, tmp_path / "out.nii.gz")
    inside = volume.mask[0].numpy()
    assert nib.load(tmp_path / "out.nii.gz").get_fdata()[inside] == pytest.approx(images["CTdef"][inside], abs=0.01)


def test_a_body_s_own_mask_is_taken(tmp_path):
    """SynthRAD: an MR image that is neither T1w nor T2w by name, a CT, and the mask of the body."""
    body, images = pelvis()
    files = {"mr": images["T2"], "ct": images["CTdef"], "mask": body}
    (case,) = manifest(tmp_path, "synthrad", {f"1PA004/{name}.nii.gz": x for name, x in files.items()})
    volume = load_case(case, sources=("MR",), target="CT")
    assert np.array_equal(volume.mask[0].numpy(), body) and volume.sources == ("MR",)
    assert np.median(to_hounsfield(volume.target, "CT")[volume.mask]) == pytest.approx(MUSCLE, abs=10)
    assert volume.source[0][body].max() < 1, "nothing of the body is cut off"


def test_one_contrast_by_two_names_is_one_contrast(tmp_path):
    assert (canonical("MRA"), canonical("TOF"), canonical("CTdef"), canonical("MR")) == ("TOF", "TOF", "CT", "MR")
    assert called("TOF", ["T1w", "MRA"]) == "MRA" and called("CT", ["CTdef", "CT"]) == "CT"
    assert called("CTdef", ["CT"]) == "CT" and called("CT", ["MRA"]) is None
    assert hounsfield("CTdef") and WINDOWS["CTdef"] == WINDOWS["CT"] and part_of(["T1w", "CTdef"]) == "head"
    assert field_of_view(["CTdef"], 3.0) == field_of_view(["CT"], 3.0)
    at = in_window(torch.zeros(1), "CTdef", (0.0, 1000.0))
    assert torch.equal(at, in_window(torch.zeros(1), "CT", (0.0, 1000.0)))


def test_an_angiogram_is_a_time_of_flight_image(tmp_path):
    v = phantom_case(2, sources=("MRA",), target="CTA", spacing=4.0)
    tof = phantom_case(2, sources=("TOF",), target="CTA", spacing=4.0)
    assert (v.sources, v.contrast) == (("MRA",), "CTA") and torch.equal(v.source, tof.source)
    image, mask = 400 * (v.source[0].numpy() + 1), v.mask[0].numpy()
    assert np.array_equal(normalise(image, mask, "MRA"), normalise(image, mask, "TOF"))
    nib.save(nib.Nifti1Image(image, v.affine), tmp_path / "mra.nii.gz")
    nib.save(nib.Nifti1Image(v.mask[0].numpy().astype(np.uint8), v.affine), tmp_path / "mask.nii.gz")
    found = load_volume({"MRA": tmp_path / "mra.nii.gz"}, mask=tmp_path / "mask.nii.gz")
    blood = v.source[0] > np.percentile(v.source[0][mask], 99.5)
    assert (found.source[0][blood] == 1).float().mean() < 0.1, "vessels are not cut off"
