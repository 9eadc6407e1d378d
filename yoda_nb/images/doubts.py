"""What may be wrong with a subject's images after registration, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from nibabel.affines import apply_affine

from yoda_nb.images.masks import millilitres
from yoda_nb.images.register import Registration
from yoda_nb.images.units import hounsfield

SHIFT = 1.0  # times the voxel: more than this of a header is worth a look
TURN = 2.0  # degrees; 1.7 mm at 50 mm from the middle
SEEN = 0.98  # share of the brain that a file should show
CUT = 1500.0  # mm2 of brain on one face of the file: a brain stem that leaves it is smaller
LIKENESS = 0.04  # normalised mutual information in the brain: of one person 0.05 and more, of two 0.04 and less
FLUID = 1.55  # brightest over median: 1.9 to 2.8 where water is bright (T2w), 1.2 to 1.35 where not (T1w, FLAIR)
WATER = {"T1w": False, "FLAIR": False, "T2w": True}  # whether it is bright
BRAIN_ML = (600.0, 2200.0)
HEAD_ML = 2000.0  # a head to the skull's base has 2.5 litres and more
FACES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def doubts(
    images: Mapping[str, np.ndarray],
    brain: np.ndarray,
    affine: np.ndarray,
    fields: Mapping[str, tuple[np.ndarray, tuple[int, ...]]],
    found: Mapping[str, Registration],
    own: tuple[np.ndarray, np.ndarray, str],
) -> tuple[str, ...]:
    """Sentences, each naming a contrast and what to do; none where nothing is conspicuous.

    ``images`` (D, H, W) by contrast, registered, and ``brain`` bool (of a CT by itself the head), on ``affine``;
    ``fields`` holds each file's affine and shape; ``own`` the brain on the reference's grid, its affine, and its name.
    """
    reference = own[2]
    spacing = float(np.linalg.norm(affine[:3, 0]))
    points = apply_affine(affine, np.argwhere(brain)[::11])
    volume = millilitres(brain, affine)
    said = []
    if not hounsfield(reference) and not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        said.append(
            f"the brain measures {volume:.0f} ml, which is no adult's: check the mask and the headers' voxel sizes."
        )
    said += cut_off(*own)
    for name, image in images.items():
        if name in found:
            said += _moved(name, found[name], reference, SHIFT * spacing)
            said += _partial(name, found[name], points, *fields[name])
        said += _mistaken(name, image[brain])
        if name in found and (alike := likeness(images[reference][brain], image[brain])) < LIKENESS:
            said.append(
                f"{name} and {reference} have little in common after registration (normalised mutual information "
                f"{alike:.3f}): check that both are of one person, and look at the alignment."
            )
    return tuple(said)


def stripped(head: np.ndarray, affine: np.ndarray) -> list[str]:
    """A sentence where what should be a head (D, H, W), bool, is no larger than a brain."""
    volume = millilitres(head, affine)
    if volume >= HEAD_ML:
        return []
    return [
        f"the head measures {volume:.0f} ml, as a brain without its skull does, and a skull would be made up around "
        "it: give images of the whole head."
    ]


def cut_off(brain: np.ndarray, affine: np.ndarray, name: str) -> list[str]:
    """A sentence for each face (RAS+) of the field of view that cuts through the brain (D, H, W)."""
    size = np.linalg.norm(affine[:3, :3], axis=0)
    said = []
    for axis, faces in enumerate(FACES):
        for index, face in zip((0, -1), faces, strict=True):
            area = float(np.take(brain, index, axis).sum() * np.delete(size, axis).prod())
            if area > CUT:
                said.append(
                    f"the brain is cut off at the {face} of {name} ({area / 100:.0f} cm2 lie on the image's border): "
                    "results there are not to be trusted."
                )
    return said


def likeness(one: np.ndarray, other: np.ndarray, bins: int = 32) -> float:
    """Normalised mutual information of two images' values (n,) at the same voxels: 0 to 1."""
    limits = [np.percentile(x, (0.5, 99.5)) for x in (one, other)]
    a, b = (np.clip(x, low, high) for x, (low, high) in zip((one, other), limits, strict=True))
    joint = np.histogram2d(a, b, bins)[0] / len(one)
    single = [joint.sum(axis=1), joint.sum(axis=0)]
    entropies = [_entropy(p) for p in single]
    return float(2 * (1 - _entropy(joint) / sum(entropies))) if sum(entropies) else 0.0


def water_is_bright(values: np.ndarray) -> bool:
    """Whether the brain's values (n,) have the bright tail that fluid makes in T2w."""
    middle, bright = np.percentile(values, (50, 98))
    return bool(bright > FLUID * middle)


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _mistaken(name: str, values: np.ndarray) -> list[str]:
    if name not in WATER or water_is_bright(values) == WATER[name]:
        return []
    looks = "bright as in T2w" if not WATER[name] else "dark as in T1w or FLAIR"
    return [f"fluid is {looks} in what was given as {name}: check that the files were not exchanged."]


def _moved(name: str, found: Registration, reference: str, limit: float) -> list[str]:
    if found.shift <= limit and found.rotation <= TURN:
        return []
    return [
        f"{name} lay {found.shift:.1f} mm and {found.rotation:.1f} degrees off {reference} by its header, and was "
        "registered: look at the alignment."
    ]


def _partial(name: str, found: Registration, points: np.ndarray, affine: np.ndarray, shape) -> list[str]:
    places = apply_affine(np.linalg.inv(affine) @ found.matrix, points)
    share = ((places > -0.5) & (places < np.array(shape) - 0.5)).all(axis=1).mean()
    if share >= SEEN:
        return []
    return [f"{name} shows only {share:.0%} of the brain: results where it shows none are not to be trusted."]
