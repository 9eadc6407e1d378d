"""What is doubted of files that lie on one grid: contrasts, persons, masks and sizes; and nothing of good ones."""

from __future__ import annotations

import warnings
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from yoda_nb.errors import Doubt, quiet
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation.doubts import cut_off, likeness, stripped, water_is_bright
from yoda_nb.preparation.load import load_volume


@cache
def phantom(seed=7):
    """Images as a scanner's numbers and the mask, (D, H, W), by name; and the affine."""
    v = phantom_case(seed)
    images = dict(zip((*v.sources, "FLAIR"), (*v.source, v.target[0]), strict=True))
    return {n: (300 * (x.numpy() + 1)).astype(np.int16) for n, x in images.items()} | {
        "mask": v.mask[0].numpy()
    }, v.affine


def save(folder, images, affine):
    for name, image in images.items():
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), folder / f"{name}.nii")
    return folder


def said(folder, sources, target=None, mask="mask"):
    """What is doubted of files, by contrast; it is what Python's warnings say."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        volume = load_volume(
            {name: folder / f"{file}.nii" for name, file in sources.items()},
            target=("FLAIR", folder / f"{target}.nii") if target else None,
            mask=folder / f"{mask}.nii" if mask else None,
        )
    assert [str(one.message) for one in seen] == list(volume.doubts)
    assert all(issubclass(one.category, Doubt) for one in seen)
    return list(volume.doubts)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return save(tmp_path_factory.mktemp("files"), *phantom())


RIGHT = {"T1w": "T1w", "T2w": "T2w"}


@pytest.mark.parametrize("mask", ["mask", None])
def test_nothing_is_said_of_good_files(files, mask):
    assert said(files, RIGHT, "FLAIR", mask) == []
    assert said(files, {"T2w": "T2w"}, mask=mask) == []


@pytest.mark.parametrize("mask", ["mask", None])
def test_exchanged_contrasts_are_told_for_each(files, mask):
    assert said(files, {"T1w": "T2w", "T2w": "T1w"}, mask=mask) == [
        "fluid is bright as in T2w in what was given as T1w: check that the files were not exchanged.",
        "fluid is dark as in T1w or FLAIR in what was given as T2w: check that the files were not exchanged.",
    ]


@pytest.mark.parametrize(
    ("sources", "target", "words"),
    [
        (RIGHT, "T2w", ["as in T2w in what was given as FLAIR", "FLAIR and T1w|FLAIR and T2w"][:1]),
        (RIGHT, "T1w", ["as in T1w in what was given as FLAIR", "FLAIR and T1w are one image"]),
        ({"T1w": "FLAIR", "T2w": "T2w"}, None, ["as in FLAIR in what was given as T1w"]),
        ({"T1w": "T1w", "PDw": "T1w"}, None, ["PDw and T1w are one image"]),
        ({"T1w": "T1w", "T2w": "T1w"}, None, ["dark as in T1w or FLAIR in what was given as T2w", "one image"]),
    ],
)
def test_images_in_the_wrong_place_are_told(files, sources, target, words):
    found = said(files, sources, target)
    assert len(found) == len(words) and all(word in sentence for word, sentence in zip(words, found, strict=True)), (
        found
    )


@pytest.mark.parametrize(("scale", "litres"), [(0.6, True), (0.8, False), (1.2, False), (1.35, True), (10.0, True)])
def test_a_brain_that_is_no_adults_is_told_by_its_volume(tmp_path, scale, litres):
    images, affine = phantom()
    affine = affine.copy()
    affine[:3] *= scale
    found = said(save(tmp_path, images, affine), RIGHT)
    volume = round(images["mask"].sum() * (3 * scale) ** 3 / 1000)
    told = [f"the brain measures {volume:.0f} ml: not plausible for an adult. Check mask and voxel sizes."]
    assert found == (told if litres else [])


def test_a_mask_of_more_than_the_brain_is_told(files, tmp_path):
    images, affine = phantom()
    box = np.zeros_like(images["mask"])
    place = np.argwhere(images["mask"])
    box[tuple(slice(low, high) for low, high in zip(place.min(0), place.max(0), strict=True))] = True
    save(tmp_path, images | {"mask": box}, affine)
    assert any("of the mask lie where T1w shows nothing" in sentence for sentence in said(tmp_path, RIGHT))


def test_a_brain_that_the_file_cuts_off_is_told_with_the_face(tmp_path):
    images, affine = phantom()
    top = np.argwhere(images["mask"])[:, 2]
    k = int((top.min() + top.max()) // 2)
    save(tmp_path, {name: image[:, :, :k] for name, image in images.items()}, affine)
    found = [sentence for sentence in said(tmp_path, RIGHT) if "cut off" in sentence]
    assert len(found) == 1 and "cut off at the top of T1w" in found[0]
    assert cut_off(images["mask"], affine, "T1w") == []


def test_images_of_two_persons_have_little_in_common():
    rng = np.random.default_rng(0)
    one = rng.normal(size=20_000)
    assert likeness(one, -one) > 0.9 and likeness(one, rng.normal(size=20_000)) < 0.04
    assert likeness(one, one**2 + 0.1 * rng.normal(size=20_000)) > 0.1, "not the sign counts"


def test_files_of_two_persons_are_told(tmp_path):
    images, affine = phantom()
    other = np.flip(np.roll(images["T2w"], 9, axis=2), axis=1)
    save(tmp_path, images | {"T2w": np.where(images["mask"], np.maximum(other, 1), 0)}, affine)
    assert any("T2w and T1w have little in common" in sentence for sentence in said(tmp_path, RIGHT))


@pytest.mark.parametrize("bright", [1.6, 2.5, 4.0])
def test_a_large_bright_tumour_is_not_called_an_exchange(tmp_path, bright):
    """FLAIR in which the brightest tenth is tumour, and fluid is dark."""
    images, affine = phantom()
    mask = images["mask"]
    mm = apply_affine(affine, np.moveaxis(np.indices(mask.shape), 0, -1))
    middle = apply_affine(affine, np.argwhere(mask).mean(axis=0)) + (30, 10, 15)
    distance = np.linalg.norm(mm - middle, axis=-1)
    tumour = mask & (distance < np.quantile(distance[mask], 0.1))
    middle_grey = np.median(images["FLAIR"][mask])
    dark = middle_grey * (images["FLAIR"] / middle_grey) ** 2  # fluid as dark as in scans of 1 mm
    flair = np.where(tumour, bright * middle_grey, dark)
    assert water_is_bright(flair[mask]) in (False, None) and water_is_bright(images["T2w"][mask]) is True
    save(tmp_path, images | {"FLAIR": flair}, affine)
    assert said(tmp_path, RIGHT, "FLAIR") == []


def test_a_scale_below_zero_does_not_hide_what_fluid_shows():
    images, _ = phantom()
    for name, bright in (("T1w", False), ("T2w", True), ("FLAIR", False)):
        values = images[name][images["mask"]].astype(float)
        scaled = water_is_bright((values - values.mean()) / values.std())
        assert water_is_bright(values) is bright and scaled in (bright, None), "none the wrong way round"


def test_nothing_is_said_of_good_files_that_were_scaled_to_a_mean_of_zero(tmp_path):
    images, affine = phantom()
    mask = images["mask"]
    for name in ("T1w", "T2w", "FLAIR"):
        image = images[name].astype(np.float32)
        image = np.where(mask, (image - image[mask].mean()) / image[mask].std(), 0)
        nib.save(nib.Nifti1Image(image.astype(np.float32), affine), tmp_path / f"{name}.nii")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), tmp_path / "mask.nii")
    assert said(tmp_path, RIGHT, "FLAIR") == []


def test_a_head_that_is_no_larger_than_a_brain_is_told():
    small, large = np.ones((40, 40, 40), bool), np.ones((60, 60, 60), bool)
    (sentence,) = stripped(small, np.diag([2.5, 2.5, 2.5, 1]))
    assert "1000 ml" in sentence and "whole head" in sentence and stripped(large, np.diag([2.5, 2.5, 2.5, 1])) == []


def test_doubts_can_be_had_without_warnings(files):
    with warnings.catch_warnings(), quiet():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", Doubt)
        volume = load_volume({"T1w": files / "T2w.nii"}, mask=files / "mask.nii")
    assert len(volume.doubts) == 1 and "exchanged" in volume.doubts[0]
