"""Where the brain is: in a stripped image, inside a head, and in a real one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from heads_by_hand import AFFINE, head, tilted

from yoda_nb.errors import InputError
from yoda_nb.images.masks import millilitres, solid_part
from yoda_nb.images.space import resample_like
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation import brain as module
from yoda_nb.preparation.brain import background, brain_mask, has_skull, head_mask, part_mask
from yoda_nb.preparation.load import load_volume


def test_a_stripped_brain_is_its_own_mask():
    data, ball = head()
    data[10, 12, 11] = 0  # a hole
    data[0, 0, 0] = 5  # a speck
    np.testing.assert_array_equal(brain_mask(data, AFFINE), ball)


def test_a_brain_inside_a_head_is_found_again():
    """MNI152 brain in a bright scalp, air noise everywhere, nodding and shifted; twice the same."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
    from scipy.ndimage import binary_dilation

    template = load_mni152_template(resolution=4)
    brain = load_mni152_brain_mask(resolution=4).get_fdata() > 0.5
    data = np.pad(template.get_fdata(dtype=np.float32), 8)
    brain = np.pad(brain, 8)
    skull = binary_dilation(brain, iterations=2)
    scalp = binary_dilation(skull, iterations=2) & ~skull
    data = np.where(brain, data, 0.9 * scalp) + 0.0
    noise = np.random.default_rng(1).normal(scale=0.03, size=(2, *data.shape))
    data = np.hypot(data + noise[0], noise[1]).astype(np.float32)
    affine = tilted(template.affine, (10, 3, -5))
    affine[:3, 3] += [15, 10, -25]
    found = brain_mask(data, affine)
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.93
    np.testing.assert_array_equal(found, brain_mask(data, affine))


def test_a_real_head(mirror):
    path = next(mirror.rglob("avg152T1.nii.gz"))
    volume = load_volume({"T1w": path})
    from nilearn.datasets import load_mni152_brain_mask

    known = load_mni152_brain_mask(resolution=2)  # the same space
    known = resample_like(
        torch.from_numpy(known.get_fdata() > 0.5)[None], known.affine, volume.affine, volume.shape, order=0, fill=0
    )
    overlap = 2 * (known & volume.mask).sum() / (known.sum() + volume.mask.sum())
    assert overlap > 0.9


# --- stripped, or a head whose air is zero


@cache
def whole_head():
    """T1w and T2w of a head, scalp and all, in air of exact zeros: (D, H, W) by contrast, and the affine."""
    v = phantom_case(7, target="CT")
    return {
        n: (300 * (v.source[k].numpy() + 1)).astype(np.int16).astype(np.float32) for k, n in enumerate(v.sources)
    }, v.affine


@cache
def bare_brain():
    v = phantom_case(7, spacing=4.0, shape=(48, 52, 46))
    return v.source[0].numpy(), v.mask[0].numpy(), v.affine


@pytest.mark.parametrize("outside", ["0", "-1", "the minimum", "-1000"])
def test_a_stripped_image_keeps_its_brain_whatever_its_background(outside):
    image, mask, affine = bare_brain()
    scaled = {
        "0": 300 * (image + 1),
        "-1": image,
        "the minimum": (image - image[mask].mean()) / image[mask].std(),  # as z-scores
        "-1000": np.where(mask, 300 * (image + 1), -1000),
    }[outside].astype(np.float32)
    found = brain_mask(scaled, affine)
    assert background(scaled) == scaled[0, 0, 0] and np.array_equal(found, part_mask(scaled, affine, "T1w", "brain"))
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.99


@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
@pytest.mark.parametrize("who", ["adult", "slab", "child"])
def test_a_head_in_air_of_zeros_is_not_taken_for_a_brain(who, contrast):
    images, affine = whole_head()
    image, affine = images[contrast], affine.copy()
    if who == "slab":  # 78 mm thick
        image = image[:, :, 28:54]
        affine[2, 3] += 28 * 3
    elif who == "child":
        affine[:3] *= 0.82
    shown = solid_part(image != background(image))
    if who != "adult":
        assert 300 < millilitres(shown, affine) < 2200, "as large as a brain"
    assert has_skull(image, shown, affine) and module._stripped_part(image, affine) is None


def test_a_small_head_is_found_whole_where_the_head_is_wanted():
    images, affine = whole_head()
    child = affine.copy()
    child[:3] *= 0.82
    image = images["T1w"]
    found = head_mask(image, child, "T1w")
    assert 2 * (found & (image > 0)).sum() / (found.sum() + (image > 0).sum()) > 0.95


@pytest.mark.parametrize(("side", "litres"), [(0.3, "2.7e-05"), (30.0, "27")])
def test_where_no_brain_is_found_the_voxel_size_is_named(side, litres, monkeypatch):
    def never(*_):
        raise RuntimeError("all samples map outside")

    monkeypatch.setattr(module, "_registered_mask", never)
    image = np.random.default_rng(0).normal(100, 10, (10, 10, 10)).astype(np.float32)
    size = f"{side:g} x {side:g} x {side:g} mm"
    with pytest.raises(
        InputError, match=f"no brain was found in the image of {litres} litres, with voxels of {size}"
    ) as said:
        brain_mask(image, np.diag([side, side, side, 1.0]))
    assert "check the voxel size" in str(said.value) and "--mask" in str(said.value)
