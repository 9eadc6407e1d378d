"""A head around a brain, and its CT in Hounsfield units."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.images.units import AIR, WINDOWS, width
from yoda_nb.phantoms.anatomy import BRAIN, HEAD, OUTSIDE
from yoda_nb.phantoms.head import CUTOFF, HOUNSFIELD, QUANTUM, SHELLS, around, reconstructed
from yoda_nb.phantoms.phantom import TISSUES, phantom_case

ROOM = {"spacing": 4.0, "shape": (52, 58, 50)}  # voxels that hold a head


def hu(image: torch.Tensor) -> torch.Tensor:
    low, high = WINDOWS["CT"]
    return low + (high - low) * (image + 1) / 2


@pytest.fixture(scope="module")
def head():
    return phantom_case(3, target="CT", **ROOM)


def test_shells_lie_around_the_brain_in_their_order():
    """A sphere of brain: along a ray the shells come one after the other, as thick as they are said to be."""
    spacing, n = 1.0, 80
    r = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2] * 3, indexing="ij")), axis=0)
    ball = np.clip(20.5 - r, 0, 1)
    brain = np.stack([np.zeros_like(ball), np.zeros_like(ball), ball])
    shares = around(brain, spacing, np.random.default_rng(0))
    assert shares.shape == (len(BRAIN) + len(OUTSIDE), n, n, n)
    assert shares.min() >= 0 and shares.sum(0).max() == pytest.approx(1)
    assert np.allclose(shares[2], ball), "the brain is as it was"
    of = dict(zip((*BRAIN, *OUTSIDE), shares, strict=True))
    ray = {name: share[n // 2, n // 2, n // 2 :] for name, share in of.items()}
    middle = {name: float((np.arange(n // 2) * x).sum() / x.sum()) for name, x in ray.items()}
    assert middle["WM"] < middle["CSF"] < middle["marrow"] < middle["fat"]
    bone = ray["bone"]
    assert bone[: int(middle["marrow"])].sum() > 0.5 < bone[int(middle["marrow"]) :].sum(), (
        "an inner and an outer table"
    )
    volume = sum(of[name].sum() for name in OUTSIDE) + of["CSF"].sum()
    outer = 20.5 + sum(thickness for _, thickness in SHELLS)
    assert volume == pytest.approx(4 / 3 * np.pi * (outer**3 - 20.5**3), rel=0.15)


def test_a_ct_has_the_hounsfield_units_of_its_tissues(head):
    clean = hu(head.clean)[0]
    assert (clean[~head.mask[0]] == AIR).all() and clean.max() < WINDOWS["CT"][1]
    share = {name: float(clean[head.labels[0] == TISSUES.index(name)].mean()) for name in ("GM", "WM", "fat")}
    assert share["WM"] == pytest.approx(HOUNSFIELD["WM"][0], abs=8) and share["WM"] < share["GM"]
    bone = clean[head.labels[0] == TISSUES.index("bone")]
    assert bone.mean() > 500 and bone.std() > 100
    deep = (head.labels[0] == TISSUES.index("WM")) & ~head.lesions[0]
    noise = (hu(head.target)[0] - clean)[deep]
    assert noise.std() == pytest.approx(QUANTUM * 0.04, rel=0.1) and abs(noise.mean()) < 2
    assert head.sigma == pytest.approx(QUANTUM * 0.04 / width("CT"))


def test_mr_images_of_a_head_show_no_bone_and_bright_fat(head):
    t1 = head.source[0]
    where = {name: head.labels[0] == TISSUES.index(name) for name in TISSUES}
    assert t1[where["fat"]].mean() > t1[where["WM"]].mean() > t1[where["bone"]].mean()
    assert head.mask.sum() > 1.3 * sum(where[name].sum() for name in BRAIN)


def test_a_ct_changes_no_mr_image_of_the_same_brain():
    brain, head = (phantom_case(5, sigma=0.0, bias=0.0, bias_own=0.0, target=t, **ROOM) for t in ("FLAIR", "CT"))
    deep = (brain.labels == TISSUES.index("WM")) & (head.labels == TISSUES.index("WM"))
    ratio = (head.source[0][deep[0]] + 1) / (brain.source[0][deep[0]] + 1)
    assert ratio.quantile(0.05) == pytest.approx(float(ratio.quantile(0.95)), rel=0.02), "another window, that is all"
    assert torch.equal(brain.lesions, head.lesions)


def test_the_noise_of_a_reconstruction_has_a_ramp_and_a_kernel():
    noise = reconstructed(np.random.default_rng(0).standard_normal((64, 64, 200)), CUTOFF)
    assert noise.std() == pytest.approx(1, rel=0.02)
    power = (np.abs(np.fft.fft2(noise, axes=(0, 1))) ** 2).mean(-1) / 64**2
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(64)] * 2, indexing="ij"))
    wanted = f * np.exp(-((f / CUTOFF) ** 2))
    assert np.allclose(power, wanted / wanted.mean(), rtol=0.5, atol=0.05) and power[0, 0] < 1e-12


def test_a_label_map_brings_its_own_skull(tmp_path):
    codes = np.zeros((60, 60, 60), np.int16)
    r = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(60) - 29.5] * 3, indexing="ij")), axis=0)
    for outer, code in ((26, 511), (24, 507), (22, 515), (19, 24), (17, 3), (12, 2), (5, 4)):
        codes[r < outer] = code
    assert {511, 507, 515} <= set(HEAD)
    whole, brain = tmp_path / "head.nii.gz", tmp_path / "brain.nii.gz"
    nib.save(nib.Nifti1Image(codes, np.diag([3.0, 3, 3, 1])), whole)
    nib.save(nib.Nifti1Image(np.where(codes < 500, codes, 0).astype(np.int16), np.diag([3.0, 3, 3, 1])), brain)
    v = phantom_case(1, target="CT", anatomy=whole, **ROOM)
    ct = hu(v.clean)[0]
    assert (ct > 700).sum() > 500 and ct[v.labels[0] == TISSUES.index("bone")].mean() > 600
    with pytest.raises(InputError, match="skull"):
        phantom_case(1, target="CT", anatomy=brain, **ROOM)


@pytest.mark.parametrize("options", [{"style": 0.1}, {"look": "a"}, {"hidden": 0.5}, {"scanner": "any"}])
def test_what_a_ct_does_not_have_is_refused(options):
    with pytest.raises(InputError, match="CT"):
        phantom_case(1, target="CT", **options)
