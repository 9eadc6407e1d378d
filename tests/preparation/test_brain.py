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
from yoda_nb.preparation.brain import (
    background,
    brain_mask,
    deepbet_mask,
    deepbet_version,
    dice,
    find_brain,
    find_part,
    has_skull,
    head_mask,
    template_mask,
)
from yoda_nb.preparation.load import load_volume


def test_a_stripped_brain_is_its_own_mask():
    data, ball = head()
    data[10, 12, 11] = 0  # a hole
    data[0, 0, 0] = 5  # a speck
    np.testing.assert_array_equal(brain_mask(data, AFFINE), ball)


def template_head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MNI152's T1w brain (D, H, W) in a bright scalp, air noise everywhere, nodding and shifted; its affine and mask."""
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
    return data, affine, brain


@pytest.mark.parametrize("method", [template_mask, deepbet_mask])
def test_a_brain_inside_a_head_is_found_again(method):
    """By each method, twice the same."""
    if method is deepbet_mask and deepbet_version() is None:
        pytest.skip("needs the extra scans")
    data, affine, brain = template_head()
    found = method(data, affine)
    assert dice(found, brain) > 0.93
    np.testing.assert_array_equal(found, method(data, affine))


def test_an_image_of_one_value_has_no_brain_for_the_net():
    pytest.importorskip("deepbet.bet")
    assert not deepbet_mask(np.full((20, 20, 20), 7, np.float32), AFFINE).any()


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
    assert background(scaled) == scaled[0, 0, 0] and np.array_equal(
        found, find_part(scaled, affine, "T1w", "brain").mask
    )
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


def test_a_brain_whose_size_the_template_misses_is_taken_by_the_net(monkeypatch):
    """The registered template runs into the scalp: the plausible mask is taken, with both and a doubt."""
    points = np.moveaxis(np.indices((60, 60, 60)), 0, -1) - 30
    ball, wide = (np.linalg.norm(points, axis=-1) < radius for radius in (22, 27))
    affine = np.diag([3.0, 3, 3, 1])
    image = np.random.default_rng(0).normal(100, 10, ball.shape).astype(np.float32)
    for name, value in {
        "_registered_mask": lambda *_: wide,
        "refined": lambda image, affine, mask: mask,
        "deepbet_version": lambda: "1",
        "deepbet_mask": lambda *_: ball,
    }.items():
        monkeypatch.setattr(module, name, value)
    seen = find_brain(image, affine, "T2w")
    np.testing.assert_array_equal(seen.mask, ball)
    np.testing.assert_array_equal(seen.other, wide)
    assert "2219 ml" in seen.doubts[0] and "deepbet" in seen.doubts[0] and "--mask" in seen.doubts[0]
    assert find_brain(image, affine, "T1w").doubts == (), "on a T1w the net is asked first"
    monkeypatch.setattr(module, "deepbet_version", lambda: None)
    np.testing.assert_array_equal(find_brain(image, affine, "T1w").mask, wide, "a brain in view is not refused")
