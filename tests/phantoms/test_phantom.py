"""Phantoms against the signal equations, the Rician law, and themselves."""

from __future__ import annotations

from functools import cache

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from yoda_nb.errors import InputError
from yoda_nb.metrics.noise import rician_mean, rician_std
from yoda_nb.phantoms.anatomy import BRAIN, subject_fractions, tissue_fractions
from yoda_nb.phantoms.phantom import PROTOCOLS, TISSUE_CONSTANTS, TISSUES, phantom_case, signal

SMALL = {"spacing": 4.0, "shape": (44, 52, 44)}  # one spacing: the maps are blurred only once


@cache
def made(seed: int = 0, **settings):
    """Phantoms are not changed by tests, so each is made once."""
    return phantom_case(seed, **(SMALL | settings))


VOXEL = 27 / 1000  # ml


BOX = {  # the volumes in ``label_map``
    "CSF": 8 * 16 * 8 * VOXEL,
    "GM": (44 * 48 * 38 - 32 * 36 * 26) * VOXEL,
    "WM": (32 * 36 * 26 - 8 * 16 * 8) * VOXEL,
}


@pytest.fixture(scope="module")
def label_map(tmp_path_factory):
    """A box head, 3 mm: white matter in grey matter in CSF, ventricle, one odd code, skull, neck."""
    codes = np.zeros((64, 64, 64), np.int16)
    codes[4:60, 4:60, 2:62] = 507  # skull and face, no brain
    codes[6:58, 6:58, 2:58] = 24  # the maps' CSF fills the skull down to the neck
    codes[10:54, 8:56, 16:54] = 3
    codes[16:48, 14:50, 22:48] = 2
    codes[28:36, 24:40, 30:38] = 4
    codes[18:22, 18:22, 24:28] = 99  # unknown, amid white matter
    path = tmp_path_factory.mktemp("anatomy") / "head.nii.gz"
    nib.save(nib.Nifti1Image(codes, np.diag([3, 3, 3, 1.0])), path)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tissue_ratios_follow_the_signal_equations(protocol):
    """In pure tissue, without field and noise, only the subject's own constants move a ratio."""
    v = phantom_case(
        1, **SMALL, sigma=0, bias=0, bias_own=0, lesions=False, protocol=protocol, sources=("T1w", "T2w", "PDw")
    )
    rng = np.random.default_rng(np.random.SeedSequence(1).spawn(5)[0])
    fractions = subject_fractions(None, v.shape, 4.0, rng)  # of the same subject
    pure = {t: torch.from_numpy(f > 0.97) & v.mask[0] for t, f in zip(BRAIN, fractions, strict=True)}
    images = dict(zip((*v.sources, v.contrast), torch.cat([v.source, v.target]), strict=True))
    compared = 0
    for name, image in images.items():
        mean = {t: float((image[where] + 1).mean()) / 2 for t, where in pure.items()}
        for tissue in ("CSF", "GM"):
            if image[pure[tissue]].max() == 1:  # saturated, as CSF may be in T2w
                continue
            compared += 1
            wanted = _range_of_ratio(PROTOCOLS[protocol][name], tissue)
            found = mean[tissue] / mean["WM"]
            assert wanted[0] * 0.98 <= found <= wanted[1] * 1.02, (name, tissue, found, wanted)
    assert compared >= 7


def _range_of_ratio(sequence, tissue: str, n: int = 400) -> tuple[float, float]:
    """Smallest and largest signal of a tissue over white matter when constants vary (2, 2, 1 %)."""
    rng = np.random.default_rng(0)
    a, b = (np.array(TISSUE_CONSTANTS[t]) * np.exp(rng.normal(0, [0.02, 0.02, 0.01], (n, 3))) for t in (tissue, "WM"))
    ratio = [signal(x, sequence) / signal(y, sequence) for x, y in zip(a, b, strict=True)]
    return min(ratio), max(ratio)


@pytest.mark.parametrize(("sigma", "below"), [(0.04, 0.8), (0.15, 0.4)])  # nearly Gauss; far from it
def test_noise_follows_the_rician_law(sigma, below):
    v = made(3, sigma=sigma)
    clean = ((v.clean[v.mask] + 1) / 2).double().numpy()
    noisy = ((v.target[v.mask] + 1) / 2).double().numpy()
    clean, noisy = clean[clean < below], noisy[clean < below]  # four sigma from the clip at 1
    z = (noisy - rician_mean(clean, sigma)) / rician_std(clean, sigma)
    assert z.size > 1000
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * z.size))


def test_ranges_and_kinds():
    v = made()
    for image in (v.source, v.target, v.clean):
        assert image.dtype == torch.float32 and image.shape[1:] == SMALL["shape"]
        assert image.min() == -1 and image.max() <= 1
        assert (image[:, ~v.mask[0]] == -1).all()
    assert v.mask.dtype == v.lesions.dtype == torch.bool and v.labels.dtype == torch.uint8
    assert torch.equal(v.labels > 0, v.mask) and set(v.labels.unique().tolist()) == {0, 1, 2, 3}
    assert v.sigma == 0.04 and v.spacing == (4, 4, 4) and v.grid is None


def test_lesions_lie_in_white_matter_and_are_bright():
    v = phantom_case(2, **SMALL, sigma=0, bias=0, bias_own=0)
    assert v.lesions.any() and not (v.lesions & ~v.mask).any()
    assert (v.labels[v.lesions] == TISSUES.index("WM")).float().mean() > 0.7
    healthy = (v.labels == TISSUES.index("WM")) & ~v.lesions
    assert v.clean[v.lesions].mean() > v.clean[healthy].mean() + 0.2
    assert not phantom_case(2, **SMALL, lesions=False).lesions.any()


def test_same_seed_same_bytes_other_seed_another_brain():
    a, b, c = phantom_case(5, **SMALL), phantom_case(5, **SMALL), phantom_case(6, **SMALL)
    for name in ("source", "target", "clean", "mask", "labels", "lesions"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert not torch.equal(a.labels, c.labels)
    assert (a.subject, c.subject) == ("phantom-5", "phantom-6")


@pytest.mark.parametrize(
    "settings",
    [{"sigma": 0.2, "bias": 0.3}, {"lesions": False}, {"protocol": "b", "sources": ("PDw",), "target": "T1w"}],
)
def test_acquisition_does_not_move_anatomy(settings):
    assert torch.equal(made().labels, made(**settings).labels)
    assert torch.equal(made().mask, made(**settings).mask)


def test_noise_level_leaves_the_truth_alone():
    assert torch.equal(made(sigma=0.0).clean, made(sigma=0.1).clean)
    assert torch.equal(made(sigma=0.0).clean, made(sigma=0.0).target)


def test_a_contrast_is_the_same_whatever_else_is_asked():
    v, w = made(), made(sources=("FLAIR", "T1w"), target="T2w")
    assert w.sources == ("FLAIR", "T1w") and w.contrast == "T2w"
    assert torch.equal(v.source, torch.cat([w.source[1:], w.target]))
    assert torch.equal(v.target, w.source[:1])


@pytest.mark.parametrize(("spacing", "shape"), [(7, (33, 30, 41)), (12.0, (20, 20, 20)), (25.0, (12, 9, 11))])
def test_any_spacing_and_shape(spacing, shape, label_map):
    v = phantom_case(0, spacing=spacing, shape=shape, anatomy=label_map)
    assert v.shape == shape and v.spacing == pytest.approx((spacing,) * 3)
    brain = BOX["GM"] + BOX["WM"] + BOX["CSF"]
    assert brain / 2 < float(v.mask.sum()) * spacing**3 / 1000 < brain * 2
    middle = v.affine @ [*(np.array(shape) - 1) / 2, 1]
    assert middle[:3] == pytest.approx([0, 0, 0])


def test_unknown_names_are_refused_with_the_choice():
    with pytest.raises(InputError, match=r"protocol 'c' is unknown.*'a', 'b'"):
        phantom_case(0, **SMALL, protocol="c")
    with pytest.raises(InputError, match=r"no contrast \['PET'\].*T1w"):
        phantom_case(0, **SMALL, target="PET")
    with pytest.raises(InputError, match="at least one source"):
        phantom_case(0, **SMALL, sources=())
    with pytest.raises(InputError, match="spacing"):
        phantom_case(0, spacing=0, shape=(16, 16, 16))


def test_a_label_map_as_anatomy(label_map):
    v = phantom_case(0, spacing=6.0, shape=(32, 32, 32), anatomy=label_map)
    assert v.subject == "phantom-0-head"
    volume = torch.bincount(v.labels.flatten().long(), minlength=4) * 6**3 / 1000
    assert volume[2] == pytest.approx(BOX["GM"], rel=0.3)
    assert volume[3] == pytest.approx(BOX["WM"], rel=0.3)
    # of the outer CSF a layer of 4 mm is kept; the skull and the CSF of the neck are not
    assert volume[1:].sum() < (BOX["GM"] + BOX["WM"] + BOX["CSF"]) * 1.3
    ventricle = v.labels[0, 15:17, 15:17, 15:18]
    assert (ventricle == TISSUES.index("CSF")).float().mean() > 0.3


def test_an_unknown_code_takes_its_neighbour(label_map):
    csf, gm, wm = fractions = tissue_fractions(str(label_map), 0.01)[0]  # too fine to blur
    assert (wm > 0.5).sum() * VOXEL == pytest.approx(BOX["WM"])
    assert (gm > 0.5).sum() * VOXEL == pytest.approx(BOX["GM"])
    # 4 mm are one voxel: the six faces of the box around the brain, and the ventricle
    faces = 2 * (44 * 48 + 44 * 38 + 48 * 38)
    assert (csf > 0.5).sum() == 8 * 16 * 8 + faces
    assert fractions.sum(0).max() == 1


def test_a_map_without_tissue_codes_is_refused(tmp_path):
    path = tmp_path / "skull.nii.gz"
    codes = np.zeros((8, 8, 8), np.int16)
    codes[2:6] = 507
    nib.save(nib.Nifti1Image(codes, np.eye(4)), path)
    with pytest.raises(InputError, match=r"skull.nii.gz contains no FreeSurfer tissue code"):
        phantom_case(0, **SMALL, anatomy=path)


def test_a_view_without_brain_is_refused(tmp_path):
    codes = np.zeros((64, 16, 16), np.int16)
    codes[:4] = codes[60:] = 3  # nothing in the middle
    nib.save(nib.Nifti1Image(codes, np.diag([3, 3, 3, 1.0])), path := tmp_path / "halves.nii.gz")
    with pytest.raises(InputError, match="contains no brain: enlarge"):
        phantom_case(0, spacing=3.0, shape=(4, 4, 4), anatomy=path)


def test_a_real_label_map(mirror):
    maps = sorted(mirror.rglob("training_seg_*.nii.gz"))
    assert maps, f"no SynthSeg label map under {mirror}"
    v = phantom_case(0, **SMALL, anatomy=maps[0])
    assert 1000 < float(v.mask.sum()) * 64 / 1000 < 2200
    share = torch.bincount(v.labels[v.mask].long(), minlength=4)[1:] / v.mask.sum()
    assert share[1] > 0.3 and share[2] > 0.2 and share[0] > 0.05


def test_style_changes_the_target_alone():
    small = {"shape": (32, 32, 32), "spacing": 6.0}
    plain, styled, other = (phantom_case(seed, **small, style=style) for seed, style in ((3, 0), (3, 1), (4, 1)))
    assert torch.equal(plain.source, styled.source) and torch.equal(plain.mask, styled.mask)
    assert not torch.equal(plain.clean, styled.clean)
    assert {plain.subject, styled.subject, other.subject} == {"phantom-3", "phantom-3-styled", "phantom-4-styled"}


def test_two_scanners_change_the_target_alone_and_lie_far_apart():
    """SKC-ISTA, 2.2: targets of distinct looks for similar sources."""
    small = {"shape": (32, 32, 32), "spacing": 6.0, "style": 0.15}
    a, b = (phantom_case(3, **small, look=look) for look in ("a", "b"))
    assert torch.equal(a.source, b.source) and torch.equal(a.mask, b.mask)
    means = {name: [float(v.clean[v.labels == code].mean()) for code in (2, 3)] for name, v in (("a", a), ("b", b))}
    assert all(x > y + 0.25 for x, y in zip(*means.values(), strict=True))  # grey and white matter, of [-1,1]
    cases = {seed: phantom_case(seed, **small, look="either") for seed in range(1, 13)}
    drawn = [v.subject.rpartition("-")[2] for v in cases.values()]
    assert set(drawn) == {"a", "b"} and 3 <= drawn.count("a") <= 9
    same = next(v for v in (a, b) if v.subject == cases[3].subject)
    assert torch.equal(same.target, cases[3].target) and cases[3].subject in ("phantom-3-look-a", "phantom-3-look-b")
    with pytest.raises(InputError, match="look 'c' is unknown"):
        phantom_case(3, look="c")


def test_zero_filled_kspace_correlates_noise_and_keeps_its_size_and_the_anatomy():
    white, filled = (phantom_case(3, **SMALL, kspace=share) for share in (1.0, 0.5))
    assert torch.equal(white.clean, filled.clean) and torch.equal(white.labels, filled.labels)
    inside = ndimage.binary_erosion(white.mask[0].numpy(), iterations=2)
    bright = torch.from_numpy(inside) & (white.clean[0] > -0.2)  # where Rician noise is all but normal
    noise = {name: ((v.target - v.clean) / 2)[0] for name, v in (("white", white), ("filled", filled))}
    size = {name: float(n[bright].std()) for name, n in noise.items()}
    assert size["filled"] == pytest.approx(size["white"], rel=0.1)
    for axis, alike in ((0, True), (1, True), (2, False)):  # slices are measured one by one
        both = bright & bright.roll(1, axis)
        shared = {k: float(np.corrcoef(n[both], n.roll(1, axis)[both])[0, 1]) for k, n in noise.items()}
        assert abs(shared["white"]) < 0.1
        # a box of half of k-space: sinc(1/2) = 2/pi between neighbours
        assert shared["filled"] == pytest.approx(2 / np.pi if alike else 0, abs=0.12)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_of_kspace_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="k-space"):
        phantom_case(0, **SMALL, kspace=share)


def test_hidden_lesions_look_alike_in_the_sources_and_opposite_in_the_target():
    bright, either, dark = (made(3, hidden=share) for share in (0.0, 0.5, 1.0))
    for name in ("source", "mask", "labels", "lesions"):
        assert torch.equal(getattr(bright, name), getattr(either, name))
        assert torch.equal(getattr(bright, name), getattr(dark, name))
    white = (bright.labels == TISSUES.index("WM")) & ~bright.lesions
    of = {
        name: float(v.clean[v.lesions].mean() - v.clean[white].mean()) for name, v in {"b": bright, "d": dark}.items()
    }
    assert of["b"] > 0.2 and of["d"] == pytest.approx(-of["b"], rel=0.35)
    difference = (bright.clean - dark.clean).abs() > 0.05
    is_bright = (either.clean == bright.clean) & difference
    assert torch.equal(difference & ~is_bright, (either.clean == dark.clean) & difference), "one of the two, everywhere"
    assert 0 < is_bright.sum() < difference.sum(), "some are bright and some dark"
    assert torch.equal(
        either.target[~difference & (bright.clean == dark.clean)],
        bright.target[~difference & (bright.clean == dark.clean)],
    )
    assert either.subject == "phantom-3-hidden"


def test_hidden_is_a_probability():
    with pytest.raises(InputError, match="hidden 2 is not a probability"):
        made(3, hidden=2)
