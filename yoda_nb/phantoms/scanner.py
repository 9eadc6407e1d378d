"""Phantoms as any scanner might see them: everything that differs between hospitals, drawn at random.

A phantom of ``phantom_case(scanner="any")`` has sources of random sequences, tissue constants, slice
thickness, fields and noise, while its target stays one canonical FLAIR without noise of any kind. A
net that learns from many of them has to learn what relaxation says of the target rather than what one
scanner shows (the idea of SynthSeg, Billot et al. 2023, carried from labels to contrasts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from scipy.interpolate import CubicSpline

from yoda_nb.images.volumes import Volume, intensity_window
from yoda_nb.phantoms.anatomy import BRAIN, grid_affine, rotation, solid, tissue_fractions
from yoda_nb.phantoms.patients import Shares, mass, membranes, smooth_noise, steps_from, white_spots, widened
from yoda_nb.phantoms.physics import PulseSequence, magnitude, rician, signal

# White matter 1, grey matter 1.23, CSF 0.35: what a median clinical FLAIR shows
CANONICAL = {"FLAIR": PulseSequence("inversion-recovery", tr=9000, te=150, ti=2610)}

WHITE = 0.58  # of white matter in the canonical image: where patients' scans have it, however bright a lesion is

# Ranges of sequences (ms, degrees) around clinical protocols; one kind is drawn, then its numbers
RANGES: Mapping[str, Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "T1w": {
        "gradient-echo": {"tr": (8, 30), "te": (2, 6), "flip": (15, 35)},
        "spin-echo": {"tr": (400, 750), "te": (8, 20)},
        "inversion-recovery": {"tr": (1700, 2500), "te": (3, 20), "ti": (700, 1000)},
    },
    "T2w": {"spin-echo": {"tr": (2500, 9000), "te": (70, 130)}},
    "PDw": {"spin-echo": {"tr": (2000, 5000), "te": (10, 30)}},
    "FLAIR": {"inversion-recovery": {"tr": (6000, 11000), "te": (80, 140), "ti": (2000, 2900)}},
}
# T1 ms, T2 ms, proton density at 3 T of healthy tissue near those of ``physics``, of sick tissue what radiology
# describes; and the spread of their logarithms from one to another
CONSTANTS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "CSF": ((4300, 2000, 1.00), (0.03, 0.10, 0.01)),
    "GM": ((1350, 88, 0.82), (0.05, 0.06, 0.02)),
    "WM": ((830, 75, 0.70), (0.05, 0.06, 0.02)),
    "lesion": ((1350, 108, 0.82), (0.10, 0.12, 0.03)),
    "black hole": ((2100, 130, 0.88), (0.10, 0.15, 0.03)),
    "oedema": ((1400, 112, 0.86), (0.15, 0.15, 0.04)),
    "tumour": ((1600, 108, 0.86), (0.20, 0.15, 0.04)),
    "cyst": ((4000, 1200, 0.98), (0.08, 0.30, 0.02)),
    "dura": ((1200, 50, 0.65), (0.15, 0.20, 0.05)),
}
STRENGTH = (0.12, 0.06, 0.0)  # shared by all tissues but water: 1.5 to 3 tesla
PLACES = np.array((0.020, 0.030, 0.010), np.float32)  # of each of five fields within a tissue
UNEXPLAINED = 0.07  # of a tissue's signal in a source: echo trains, magnetisation transfer, what textbooks leave out
TONE = 0.18  # spread of the logarithm of the gamma of a source
GAIN = 0.10  # and of its scale, for normalisation goes wrong too
BIAS = (0.0, 0.15)  # standard deviation of a source's own field: up to 30 % at two of them
THICKNESS = (1.0, 4.0)  # mm, full width at half maximum of the slice profile
SHIFT, TILT = 0.35, 0.005  # standard deviations of motion between contrasts, mm and radians; 1 mm is three of them
NOISE = (0.004, 0.05)  # Rician, [0,1] scale
SMOOTHNESS = (0.0, 0.7)  # voxels: noise of interpolated or filtered k-space is not white


@dataclass(frozen=True)
class Subject:
    """What is in every voxel of a brain: N voxels, T tissues, each with its relaxation there."""

    mask: np.ndarray  # (D,H,W) bool
    tissues: tuple[str, ...]
    shares: np.ndarray  # (T,N) float32, sum at most 1
    constants: np.ndarray  # (T,3): T1 ms, T2 ms, proton density
    logs: np.ndarray  # (T,3,N) float32: deviations of their logarithms from place to place


def subject_of(shares: Shares, spacing: float, rng: np.random.Generator) -> Subject:
    """Draw one subject's tissue constants, and how they differ from place to place.

    Smooth at three scales, and in patches with edges, as nuclei and lobes differ.
    """
    names = tuple(shares.of)
    shape, mask = shares.mask.shape, shares.mask
    fields = [smooth_noise(shape, mm / spacing, rng)[mask] for mm in (50.0, 15.0, 4.0)]
    fields += [np.sign(smooth_noise(shape, mm / spacing, rng)[mask]) for mm in (30.0, 12.0)]
    weights = rng.standard_normal((len(names), 3, len(fields)), dtype=np.float32) * PLACES[None, :, None]
    logs = np.einsum("tcf,fn->tcn", weights, np.stack(fields))
    strength = rng.normal(0, STRENGTH)
    constants = np.array([CONSTANTS[name][0] for name in names]) * np.exp(
        [(name != "CSF") * strength + rng.normal(0, CONSTANTS[name][1]) for name in names]
    )
    return Subject(mask, names, np.stack([shares.of[name][mask] for name in names]), constants, logs)


def draw_sequence(contrast: str, rng: np.random.Generator) -> PulseSequence:
    """One hospital's choice of a sequence."""
    kinds = list(RANGES[contrast].items())
    kind, ranges = kinds[rng.integers(len(kinds))]
    return PulseSequence(kind, **{name: float(rng.uniform(*ends)) for name, ends in ranges.items()})


def mixture(subject: Subject, sequence: PulseSequence, gains: np.ndarray | None = None) -> np.ndarray:
    """The mixture of tissue signals (D,H,W) in arbitrary units, 0 outside; ``gains`` (T,) multiply the tissues'."""
    total = np.zeros(subject.shares.shape[1], np.float32)
    gains = np.ones(len(subject.tissues)) if gains is None else gains
    for share, constants, log, gain in zip(subject.shares, subject.constants, subject.logs, gains, strict=True):
        there = share > 0
        t1, t2, density = constants[:, None] * np.exp(log[:, there])
        total[there] += gain * share[there] * magnitude((t1, t2, density), sequence)
    image = np.zeros(subject.mask.shape, np.float32)
    image[subject.mask] = total
    return image


def windowed(image: np.ndarray, subject: Subject) -> np.ndarray:
    """An image (D,H,W) with its bulk below 1, as a volume is when it is loaded (``intensity_window``)."""
    return image / intensity_window(image, subject.mask)[1]


def source_image(subject: Subject, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """A source (D,H,W) before the scanner's flaws, on about [0,1]."""
    sequence = draw_sequence(contrast, rng)
    return windowed(mixture(subject, sequence, np.exp(rng.normal(0, UNEXPLAINED, len(subject.tissues)))), subject)


def canonical_image(subject: Subject, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """The target (D,H,W) on about [0,1]: one sequence for all subjects, which nulls water equally well in each.

    It is scaled by white matter alone. A percentile window would make a brain darker the larger its lesions are, and
    no single slice of the sources shows that.
    """
    if contrast not in CANONICAL:
        return windowed(mixture(subject, draw_sequence(contrast, rng)), subject)
    water = np.array([name == "CSF" for name in subject.tissues])
    constants = np.where(water[:, None], CONSTANTS["CSF"][0], subject.constants)
    logs = np.where(water[:, None, None], np.float32(0), subject.logs)
    white = subject.constants[subject.tissues.index("WM")]
    image = mixture(replace(subject, constants=constants, logs=logs), CANONICAL[contrast])
    return image * (WHITE / signal(tuple(white), CANONICAL[contrast]))


def thick_slices(image: np.ndarray, axis: int, thickness: float, step: float, offset: float) -> np.ndarray:
    """Acquire slices of a Gaussian profile and interpolate back by cubic splines; lengths in voxels."""
    n = image.shape[axis]
    centres = np.arange(offset, n - 1 + step, step)
    profile = np.exp(-0.5 * ((np.arange(n) - centres[:, None]) / (thickness / 2.355)) ** 2)
    profile /= np.maximum(profile.sum(1, keepdims=True), 1e-6)
    back = CubicSpline(centres, np.eye(len(centres)))(np.clip(np.arange(n), centres[0], centres[-1]))
    matrix = (back @ profile).astype(np.float32)
    return np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)


def moved_a_little(image: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Head motion between two contrasts that registration left over."""
    a, b, c = rng.normal(0, TILT, 3)
    turn = np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]])
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - turn @ middle + rng.normal(0, SHIFT / spacing / 3**0.5, 3)
    return ndimage.affine_transform(image, turn, offset, order=1)


def scanned(image01: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """A source as a scanner and its software leave it: (D,H,W) on about [0,1], in and around the mask."""
    image = image01
    if rng.random() < 0.7:
        image = moved_a_little(image, spacing, rng)
    if rng.random() < 0.6:
        thickness = rng.uniform(*THICKNESS)
        axis = int(rng.choice(3, p=(0.15, 0.15, 0.7)))
        step = thickness * rng.uniform(0.9, 1.2) / spacing
        image = thick_slices(image, axis, thickness / spacing, max(1.0, step), rng.uniform(0, step))
    blur = rng.uniform(0, 0.5) / spacing
    image = ndimage.gaussian_filter(image, blur) if blur > 0.2 else image
    tone = np.exp(rng.normal(0, TONE))
    image = np.maximum(image, 0) ** tone * np.exp(rng.uniform(*BIAS) * smooth_noise(image.shape, 60 / spacing, rng))
    return np.exp(rng.normal(0, GAIN)) * noisy(image, float(np.exp(rng.uniform(*np.log(NOISE)))), rng)


def noisy(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Rician noise of a random smoothness: ``sigma`` is its standard deviation whatever that is."""
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32)
    width = rng.uniform(*SMOOTHNESS)
    if width > 0.2:
        noise = np.stack([ndimage.gaussian_filter(part, width) for part in noise])
        noise /= noise.std()
    return rician(image, sigma, noise)


def any_scanner_case(
    seed: int,
    *,
    spacing: float = 1.0,
    shape: tuple[int, int, int] = (176, 208, 176),
    anatomy: str | Path | None = None,
    disease: bool = True,
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
) -> Volume:
    """What ``phantom_case(scanner="any")`` gives: one subject, sick or not, of one hospital or another.

    Source (C,D,H,W), target and clean (1,D,H,W) in [-1,1], target and clean the same image; labels
    are the leading healthy tissue; ``lesions`` what a reader would outline.
    """
    geometry, illness, people, machine = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    shares = shares_of(anatomy, shape, spacing, geometry)
    tissue = np.stack([shares.of[name] for name in BRAIN])
    if disease:
        make_ill(shares, spacing, illness)
    subject = subject_of(shares, spacing, people)
    images = [scanned(source_image(subject, name, machine), spacing, machine) for name in sources]
    clean = canonical_image(subject, target, machine)
    mask = shares.mask
    return Volume(
        source=torch.from_numpy(np.stack([_in_range(image, mask) for image in images])),
        mask=torch.from_numpy(mask[None]),
        affine=grid_affine(shape, spacing),
        sources=tuple(sources),
        contrast=target,
        subject=f"phantom-any-{seed}" + (f"-{Path(anatomy).name.split('.')[0]}" if anatomy else ""),
        target=torch.from_numpy(_in_range(clean, mask)[None]),
        clean=torch.from_numpy(_in_range(clean, mask)[None]),
        labels=torch.from_numpy(np.where(mask, tissue.argmax(0) + 1, 0).astype(np.uint8)[None]),
        lesions=torch.from_numpy((shares.lesions & mask)[None]),
    )


def rescanned(volume: Volume, seed: int) -> Volume:
    """A real volume with its sources seen by another scanner: moved, blurred, toned, shaded, noisier.

    Target and mask stay; the subject's name gets ``~seed``. Voxels must be isotropic.
    """
    rng = np.random.default_rng(seed)
    mask, spacing = volume.mask[0].numpy(), volume.spacing[0]
    sources = [_in_range(scanned((image.numpy() + 1) / 2, spacing, rng), mask) for image in volume.source]
    return replace(volume, source=torch.from_numpy(np.stack(sources)), subject=f"{volume.subject}~{seed}")


def _in_range(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 2 * np.clip(image, 0, 1) - 1, -1).astype(np.float32)


def shares_of(anatomy: str | Path | None, shape, spacing: float, rng: np.random.Generator) -> Shares:
    """Deform an anatomy, its ventricles wide or not, and cut it as one mask or another would."""
    fractions, affine = tissue_fractions(None if anatomy is None else str(anatomy), float(spacing))
    linear = rotation(rng.normal(0, 0.08, 3)) @ np.diag(np.exp(rng.normal(0, 0.06, 3)))
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij"))
    points = grid * np.float32(spacing) + grid_affine(shape, spacing)[:3, 3].reshape(3, 1, 1, 1).astype(np.float32)
    points = np.tensordot(linear.astype(np.float32), points, 1) + rng.normal(0, 3, 3).astype(np.float32).reshape(
        3, 1, 1, 1
    )
    if rng.random() < 0.5:
        points = widened(points, rng.uniform(0, 0.45))
    points += np.stack([2.5 * smooth_noise(shape, 30 / spacing, rng) for _ in range(3)])
    inverse = np.linalg.inv(affine).astype(np.float32)
    index = np.tensordot(inverse[:3, :3], points, 1) + inverse[:3, 3].reshape(3, 1, 1, 1)
    moved = [ndimage.map_coordinates(f, index, order=1) for f in fractions]
    brain = solid(sum(moved) > 0.5)
    water = steps_from(moved[1] + moved[2] >= 0.5) * spacing
    outer = steps_from(~brain) * spacing < 10
    mask = solid(brain & ~(outer & (water > rng.uniform(0.5, 4.5))))  # how much water a brain mask keeps
    return Shares(mask, {name: part * mask for name, part in zip(BRAIN, moved, strict=True)})


def make_ill(shares: Shares, spacing: float, rng: np.random.Generator) -> None:
    """Two thirds have white spots, a third a mass, most some dura or vessels in view."""
    if rng.random() < 0.67:
        white_spots(shares, spacing, rng)
    if rng.random() < 0.35:
        mass(shares, spacing, rng)
    if rng.random() < 0.8:
        membranes(shares, spacing, rng)
