"""Seeded brain phantoms: real anatomy, spin physics, and a noise-free truth that is known.

Anatomy is a set of tissue fractions, from the MNI152 maps that nilearn ships or from any
FreeSurfer-coded label map. A smooth random deformation makes a subject of it, signal equations
turn tissues into contrasts, and a bias field, lesions and Rician noise make an acquisition.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from yoda_nb.errors import InputError
from yoda_nb.images.space import check_size
from yoda_nb.images.units import canonical, hounsfield, part_of, width
from yoda_nb.images.volumes import Volume, intensity_window
from yoda_nb.phantoms.anatomy import BRAIN, OUTSIDE, grid_affine, smooth_field, solid, subject_fractions
from yoda_nb.phantoms.head import QUANTUM, Tissues, around, ct_image
from yoda_nb.phantoms.looks import check_look, styled
from yoda_nb.phantoms.patients import signs_of, white_lesions
from yoda_nb.phantoms.physics import FAT, PROTOCOLS, TISSUE_CONSTANTS, TOF, rician, signal
from yoda_nb.phantoms.vessels import contrast_agent, inflow, with_arteries

# the codes of ``Volume.labels``; from 4 on of heads and angiograms
TISSUES = ("background", *BRAIN, *OUTSIDE, "artery")

FIELD_OF_VIEW = {"brain": (192.0, 192.0, 192.0), "head": (204.0, 228.0, 198.0)}  # mm


def field_of_view(contrasts: Iterable[str], spacing: float) -> tuple[int, int, int]:
    """Voxels (D,H,W) of ``spacing`` mm that hold what counts for these contrasts."""
    sides = FIELD_OF_VIEW[part_of(contrasts)]
    check_size([mm / spacing for mm in sides], f"A phantom of {spacing:g} mm")
    d, h, w = (max(1, round(mm / spacing)) for mm in sides)
    return d, h, w


def phantom_case(
    seed: int,
    *,
    spacing: float = 3.0,
    shape: tuple[int, int, int] | None = None,
    sigma: float = 0.04,
    anatomy: str | Path | None = None,
    lesions: bool = True,
    protocol: str = "a",
    bias: float = 0.06,
    bias_own: float = 0.01,
    style: float = 0.0,
    look: str = "own",
    hidden: float = 0.0,
    kspace: float = 1.0,
    scanner: str = "protocol",
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
) -> Volume:
    """Simulate one subject: acquired images with known truth.

    Returns a Volume in [-1,1], background -1: source (C,D,H,W); target (acquired) and clean (without noise)
    (1,D,H,W); labels, indices of ``TISSUES``; mask; lesions; sigma. The same seed gives the same bytes.

    Geometry: ``spacing`` in mm; ``shape`` in voxels, by default 64 a side, or the ``field_of_view`` of a head;
    ``anatomy``, the path of a FreeSurfer-coded label map (None: the MNI152 maps); ``lesions``.

    Acquisition: ``sigma`` is the Rician noise on the [0,1] scale [YODA eq. 1]. ``protocol`` names the sequences.
    ``bias`` is the standard deviation of the receive field that all contrasts share, ``bias_own`` that of each
    contrast's own field, which no model can predict. ``kspace`` is the measured share of rows and columns of k-space
    in each slice; the rest is zero, so that neighbouring voxels share noise of the same ``sigma``.

    What the sources do not show: ``style`` changes the look of the target between subjects (``looks.styled``; 1 is
    clearly visible) [SKC-ISTA 2.2]; ``look`` is "own", "a" or "b" for one of two scanners, or "either" to draw one;
    ``hidden`` is the probability that a lesion is dark in the target instead of bright.

    Contrasts: with "CT" or "CTA" the phantom and its mask are a whole head, the CT is scaled from its window in HU
    (``units``) with Gaussian noise of 300 ``sigma`` HU. With "TOF" (or "MRA") or "CTA" it has arteries, and its
    lesions are aneurysms (``vessels``). The target "FF" is the fat fraction of the signal (FastUNet).

    ``scanner="any"`` draws sequences, tissue constants, slice thickness, fields, noise and disease at random
    (``scanner``). Its target is one canonical contrast without noise; of the options above only geometry, contrasts
    and ``lesions`` count.

    Raises InputError for an unknown protocol, look, scanner or contrast, an impossible spacing or share, and a field
    of view without brain.
    """
    names = (*sources, target)
    sources, target = tuple(map(canonical, sources)), canonical(target)
    contrasts = (*sources, target)
    _check(protocol, sources, target, spacing)
    head = part_of(contrasts) == "head"
    shape = shape or (field_of_view(contrasts, spacing) if head else (64, 64, 64))
    check_size(shape, f"A phantom of {spacing:g} mm")
    check_look(look)
    if hounsfield(target) and (style or look != "own" or hidden):
        raise InputError("A phantom's CT has no style, look or hidden lesions: leave these out, or take an MR target.")
    if not 0 < kspace <= 1:
        raise InputError(f"kspace {kspace} is not a share of k-space: give a number above 0 and at most 1.")
    if not 0 <= hidden <= 1:
        raise InputError(f"hidden {hidden} is not a probability: give a number from 0 to 1.")
    if scanner not in ("protocol", "any"):
        raise InputError(f"Phantom scanner {scanner!r} is unknown: choose protocol or any.")
    if scanner == "any":
        if head:
            raise InputError("Phantoms of any scanner have no CT: leave scanner out.")
        from yoda_nb.phantoms.scanner import any_scanner_case

        return any_scanner_case(
            seed, spacing=spacing, shape=shape, anatomy=anatomy, disease=lesions, sources=sources, target=target
        )
    d, h, w = (int(n) for n in shape)
    shape = (d, h, w)
    warp_rng, lesion_rng, tissue_rng, bias_rng, noise_rng, style_rng, coin_rng, ct_rng, blood_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(9)
    )
    fractions = subject_fractions(anatomy, shape, spacing, warp_rng, head)
    brain = solid(fractions[: len(BRAIN)].sum(0) > 0.5)
    if head and len(fractions) == len(BRAIN):
        fractions = around(fractions, spacing, ct_rng)
    filled = fractions.sum(0) > 0.5
    mask = solid(filled) if head else brain
    shares = dict(zip(TISSUES[1:], fractions, strict=False))  # of a brain the first three
    lesion = white_lesions(shares, brain, spacing, lesion_rng) if lesions else np.zeros(shape)
    ill = lesion > 0.5
    if angiogram := {"TOF", "CTA"} & set(contrasts):
        shares, way, sacks = with_arteries(shares, brain, spacing, blood_rng)
        ill = sacks
    signs = signs_of(lesion, hidden, coin_rng)
    constants = {name: _jitter(c, tissue_rng) for name, c in TISSUE_CONSTANTS.items()}
    field = smooth_field(shape, spacing, bias, bias_rng)

    clean, noisy = {}, {}
    # every contrast draws its fields in a fixed order, so a choice of contrasts changes no image
    for name, sequence in PROTOCOLS[protocol].items():
        own = smooth_field(shape, spacing, bias_own, bias_rng)
        noise = _measured_with(noise_rng.standard_normal((2, *shape), dtype=np.float32), kspace)
        if name not in contrasts:
            continue
        gamma = 1.0
        if name == target and (style or look != "own"):
            sequence, gamma, look = styled(sequence, style, look, style_rng)
        values = {t: signal(c, sequence) for t, c in constants.items()}
        gain = np.exp(field + own) * mask
        high = intensity_window(_mix(shares, lesion, values) * gain, mask)[1]  # independent of what is hidden
        shown = lesion * signs if name == target else lesion
        clean[name] = _mix(shares, shown, values) * gain / high
        if gamma != 1:
            clean[name] = clean[name] ** gamma
        noisy[name] = rician(clean[name], sigma, noise)
        if name == "FF":
            share = _fat_share(shares, shown, values)
            noisy[name] = _measured_share(clean[name], share, sigma, noise, noise_rng)
            clean[name] = share
    if "TOF" in angiogram:
        still = _mix(shares, lesion, {t: signal(c, TOF[protocol]) for t, c in constants.items()})
        image = (still + shares["artery"] * inflow(way, protocol)) * np.exp(field) * mask
        clean["TOF"] = image / intensity_window(image, mask, "TOF")[1]
        noisy["TOF"] = rician(clean["TOF"], sigma, blood_rng.standard_normal((2, *shape)))
    for name in sorted({"CT", "CTA"} & set(contrasts)):
        blood = contrast_agent(way, ct_rng, protocol) if name == "CTA" else None
        clean[name], noisy[name] = ct_image(shares, lesion, spacing, sigma, ct_rng, blood)

    inside = mask[None]
    codes = np.array([TISSUES.index(name) for name in shares], np.uint8)
    leading = codes[np.stack([*shares.values()]).argmax(0)]
    labels = np.where(mask & filled if head else mask, leading, 0).astype(np.uint8)
    return Volume(
        source=torch.cat([_to_range(noisy[name], mask) for name in sources]),
        mask=torch.from_numpy(inside),
        affine=grid_affine(shape, spacing),
        sources=names[:-1],
        contrast=names[-1],
        subject=_name(seed, style, look, hidden, anatomy),
        target=_to_range(noisy[target], mask),
        clean=_to_range(clean[target], mask),
        labels=torch.from_numpy(labels[None]),
        lesions=torch.from_numpy(ill[None] & inside),
        sigma=float(QUANTUM * sigma / width(target) if hounsfield(target) else sigma),
    )


def _name(seed: int, style: float, look: str, hidden: float, anatomy: str | Path | None) -> str:
    kind = f"-look-{look}" if look != "own" else "-styled" if style else ""
    kind += "-hidden" if hidden else ""
    return f"phantom-{seed}{kind}" + (f"-{Path(anatomy).name.split('.')[0]}" if anatomy else "")


def _check(protocol: str, sources: tuple[str, ...], target: str, spacing: float) -> None:
    if not sources:
        raise InputError("A phantom needs at least one source contrast, such as T1w.")
    if not spacing > 0:
        raise InputError(f"Phantom spacing {spacing} is not a voxel size: give millimetres above 0.")
    if protocol not in PROTOCOLS:
        raise InputError(f"Phantom protocol {protocol!r} is unknown: choose one of {sorted(PROTOCOLS)}.")
    known = (*PROTOCOLS[protocol], "TOF", "CT", "CTA")
    if unknown := {*sources, target} - set(known):
        raise InputError(f"Phantoms have no contrast {sorted(unknown)}: choose among {list(known)}.")


def _to_range(image: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """(D,H,W) on [0,1] -> (1,D,H,W) in [-1,1], -1 outside the mask."""
    return torch.from_numpy(np.where(mask, 2 * np.clip(image, 0, 1) - 1, -1)[None].astype(np.float32))


def _mix(shares: Tissues, lesion: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Partial-volume mixture of tissue signals; lesions take the place of white matter, blood that flows gives none."""
    csf, gm, wm = (shares[name] for name in BRAIN)
    sick = lesion * wm
    brain = csf * values["CSF"] + gm * values["GM"] + (wm - sick) * values["WM"] + sick * values["lesion"]
    return sum((shares[name] * values[name] for name in OUTSIDE if name in shares), brain)


def _fat_share(shares: Tissues, lesion: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Signal fat fraction F / (W + F) of every mixture, (D,H,W) in [0,1]: fields cancel in the ratio."""
    fat = _mix(shares, lesion, {t: FAT[t] * value for t, value in values.items()})
    return fat / np.maximum(_mix(shares, lesion, values), 1e-6)


def _measured_share(
    total: np.ndarray, share: np.ndarray, sigma: float, noise: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """F / (W + F) of a water and a fat image that each carry Rician noise: (D,H,W) in [0,1].

    ``total`` is W + F without noise; ``noise`` (2,D,H,W) is the water image's, ``rng`` draws the fat's.
    """
    own = rng.standard_normal(noise.shape, dtype=np.float32)
    water = rician((1 - share) * total, sigma, noise)
    fat = rician(share * total, sigma, own)
    return fat / np.maximum(water + fat, 1e-6)


def _measured_with(noise: np.ndarray, share: float) -> np.ndarray:
    """Complex noise (2,D,H,W) of k-space of which the middle ``share`` of D and of H was measured: same deviation."""
    if share == 1:
        return noise
    spectrum = np.fft.fft2(noise[0] + 1j * noise[1], axes=(0, 1))
    d, h = (np.abs(np.fft.fftfreq(n)) < share / 2 for n in noise.shape[1:3])
    kept = d[:, None] & h
    image = np.fft.ifft2(spectrum * kept[..., None], axes=(0, 1)) / np.sqrt(kept.mean())
    return np.stack([image.real, image.imag]).astype(np.float32)


def _jitter(constants: tuple[float, float, float], rng: np.random.Generator) -> tuple:
    """Subjects differ by 2 % in relaxation times and by 1 % in proton density."""
    return tuple(np.array(constants) * np.exp(rng.normal(0, [0.02, 0.02, 0.01])))
