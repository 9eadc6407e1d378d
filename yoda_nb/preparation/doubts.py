"""What may be wrong with a subject's images and mask, in sentences: registered or of one grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from nibabel.affines import apply_affine
from scipy.stats import spearmanr

from yoda_nb.images.masks import millilitres
from yoda_nb.images.units import hounsfield
from yoda_nb.preparation.brain import background
from yoda_nb.preparation.register import Registration

SHIFT = 1.0  # times the voxel: more than this of a header is worth a look
TURN = 2.0  # degrees; 1.7 mm at 50 mm from the middle
SEEN = 0.98  # share of the brain that a file should show
CUT = 1500.0  # mm2 of brain on one face of the file: a brain stem that leaves it is smaller
LIKENESS = 0.04  # normalised mutual information in the brain: of one person 0.05 and more, of two 0.04 and less
# brightest (98 %) over median: 1.7 to 3.6 in T2w, where water is bright; 1.2 to 1.4 in T1w and FLAIR, where it is dark
FLUID = (1.45, 1.6)  # below: water is not bright; above: it is; between, as of thick slices: nothing is said
# darkest (5 %) over median where the brightest are no water: FLAIR of a tumour 0.26 to 0.41, T2w 0.47 to 0.74
DARK = 0.45
TISSUE = (5, 70)  # percentiles of T2w between which there is tissue
FOLLOWS = 0.28  # rank correlation with T2w in tissue: of T1w at most 0.2, of FLAIR 0.35 and more
WATER = {"T1w": False, "FLAIR": False, "T2w": True}  # whether it is bright
BRAIN_ML = (600.0, 2200.0)
AIR_SHARE = 0.1  # of a mask may lie where the reference shows nothing
HEAD_ML = 2000.0  # a head to the skull's base has 2.5 litres and more
FACES = (("left", "right"), ("back", "front"), ("bottom", "top"))


def doubts(
    images: Mapping[str, np.ndarray],
    brain: np.ndarray,
    affine: np.ndarray,
    own: tuple[np.ndarray, np.ndarray, str],
    fields: Mapping[str, tuple[np.ndarray, tuple[int, ...]]] | None = None,
    found: Mapping[str, Registration] | None = None,
    *,
    head: bool = False,
) -> tuple[str, ...]:
    """Sentences, each naming a contrast and what to do; none where nothing is conspicuous.

    ``images`` (D, H, W) by contrast and ``brain`` bool (of a CT by itself the head), on ``affine``; ``own`` the brain
    on the reference's grid, its affine, and its name.  Of what was registered ``found`` holds how, ``fields`` each
    file's affine and shape.  With ``head`` the mask is of a head, in which no contrast can be told.
    """
    reference, found, fields = own[2], found or {}, fields or {}
    spacing = float(np.linalg.norm(affine[:3, 0]))
    points = apply_affine(affine, np.argwhere(brain)[::11])
    volume = millilitres(brain, affine)
    said = []
    if not brain.any():
        return ("the mask is empty where the images are: check the mask.",)
    head = head or hounsfield(reference)
    if not head and not BRAIN_ML[0] <= volume <= BRAIN_ML[1]:
        said.append(f"the brain measures {volume:.0f} ml: not plausible for an adult. Check mask and voxel sizes.")
    said += [] if head else cut_off(*own)
    air = float((images[reference] == background(images[reference]))[brain].mean()) if reference in images else 0.0
    if air > AIR_SHARE:
        said.append(f"{air:.0%} of the mask lie where {reference} shows nothing: check the mask.")
    values = {name: np.asarray(image)[brain] for name, image in images.items()}
    for name in images:
        if name in found:
            said += _moved(name, found[name], reference, SHIFT * spacing)
            said += _partial(name, found[name], points, *fields[name])
        said += [] if head else _mistaken(name, values)
        if name == reference:
            continue
        if np.array_equal(values[name], values[reference]):
            said.append(f"{name} and {reference} are one image: check that the right files were given.")
        elif not hounsfield(name) and (alike := likeness(values[reference], values[name])) < LIKENESS:
            said.append(
                f"{name} and {reference} have little in common (normalised mutual information {alike:.3f}): check that "
                "both are of one person, and look at the alignment."
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


def water_is_bright(values: np.ndarray) -> bool | None:
    """Whether the brain's values (n,) have the bright tail that fluid makes in T2w; None where it cannot be told."""
    lowest, dark, middle, bright = np.percentile(values, (0.5, 5, 50, 98))
    if lowest < 0:  # no magnitudes: scaled to a mean of 0, say; how dark the dark is cannot be told
        middle, bright = middle - lowest, bright - lowest
        return False if bright < FLUID[0] * middle else None
    if bright > FLUID[1] * middle:
        return True if dark > DARK * middle else None  # it may be a bright tumour, beside dark fluid
    return False if bright < FLUID[0] * middle else None


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _mistaken(name: str, values: Mapping[str, np.ndarray]) -> list[str]:
    """Sentences where a contrast looks like another: by its fluid, and by whether its tissue follows that of T2w."""
    if name not in WATER:
        return []
    bright = water_is_bright(values[name])
    if bright is not None and bright != WATER[name]:
        looks = "bright as in T2w" if not WATER[name] else "dark as in T1w or FLAIR"
        return [f"fluid is {looks} in what was given as {name}: check that the files were not exchanged."]
    if name == "T2w" or "T2w" not in values or not water_is_bright(values["T2w"]):
        return []
    alike = _tissue_correlation(values["T2w"], values[name])
    follows = alike > FOLLOWS
    if np.isnan(alike) or follows == (name == "FLAIR"):
        return []
    looks = "as in FLAIR" if follows else "as in T1w"
    return [f"grey and white matter look {looks} in what was given as {name}: check that the files were not exchanged."]


def _tissue_correlation(t2: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two images' values (n,) where T2w shows tissue."""
    low, high = np.percentile(t2, TISSUE)
    tissue = np.flatnonzero((t2 > low) & (t2 < high))
    tissue = tissue[:: max(1, len(tissue) // 50_000)]
    return float(spearmanr(t2[tissue], other[tissue]).statistic) if len(tissue) > 100 else np.nan


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
