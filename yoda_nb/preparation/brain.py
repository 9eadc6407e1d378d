"""Where brain and head are: nonzero parts of stripped images, a net or a registered template, what is no air."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from yoda_nb.errors import InputError
from yoda_nb.images.masks import grown, millilitres, shrunk, solid_part
from yoda_nb.images.units import AIR, hounsfield
from yoda_nb.preparation.itk import TO_LPS, to_itk
from yoda_nb.preparation.refine import refined
from yoda_nb.preparation.register import even

SMOOTH_MM = 1.0  # before a head is told from air
ENCLOSED_MM = 10.0  # gaps in the head's surface that count as its inside
SHELL_VOXEL = 2.0  # mm
SHELL_BRIGHT = 0.6  # times the median of the inner half
SHELL_LINK = 4.5  # mm: half the thickness of what is cut
SCALP_MM = 8.0  # beyond a core of brain: bone and scalp
SHELL_SHARE = 0.05  # of a head's voxels lie there
BRAIN_ML = (300.0, 2200.0)  # infants to the largest adults, with a margin; a whole head is more
TAKEN_ML = 3000.0  # a mask with some scalp is taken, with a doubt; more is no brain
ADULT_ML = (900.0, 2000.0)  # outside of it a second method is asked
AGREE = 0.9  # Dice overlap of two methods that see one brain


@dataclass(frozen=True)
class Brain:
    """A brain on one image: the mask, what is doubtful about it, and what another method found, where they differ."""

    mask: np.ndarray  # bool (D, H, W)
    doubts: tuple[str, ...] = ()
    other: np.ndarray | None = None  # bool (D, H, W)


def brain_mask(image: np.ndarray, affine: np.ndarray, contrast: str = "") -> np.ndarray:
    """The mask of ``find_brain``: bool (D, H, W)."""
    return find_brain(image, affine, contrast).mask


def find_brain(image: np.ndarray, affine: np.ndarray, contrast: str = "") -> Brain:
    """Estimate the brain of one head image.

    ``image`` (D, H, W) in any units, RAS+; ``affine`` (4, 4) to mm.  A skull-stripped image
    (one value around one brain-sized object that has no skull) keeps what has other values, holes filled.
    Otherwise the net of deepbet (Fisch et al. 2024) finds it on a T1w, where it is installed, and the registered
    template of ``template_mask`` on other contrasts. The second method is asked where the first finds a volume that
    is not plausible for an adult; on a T1w the net's is taken if it has a brain's size, else the more plausible one,
    with a doubt.
    Raises InputError if no method finds a region between an infant's brain and three litres.
    """
    stripped = _stripped_part(image, affine)
    if stripped is not None:
        return Brain(stripped)
    methods: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"the template": template_mask}
    if deepbet_version():
        methods["deepbet"] = deepbet_mask
    of_t1w = contrast.startswith("T1")
    order = sorted(methods, key=lambda name: (name == "deepbet") != of_t1w)
    masks: dict[str, np.ndarray] = {}
    if millilitres(np.ones(image.shape, bool), affine) > BRAIN_ML[0]:  # else no brain can be in view
        for name in order:
            masks[name] = methods[name](image, affine)
            if not _implausible(masks[name], affine):
                break

    def rank(name: str) -> tuple[bool, float]:  # of a T1w the net is the surer one, also of a child
        sized = _brain_sized(masks[name], affine)
        return not sized, order.index(name) if of_t1w and sized else _implausible(masks[name], affine)

    best = min(masks, key=rank, default="")
    if not best or not BRAIN_ML[0] <= millilitres(masks[best], affine) <= TAKEN_ML:
        size, view = np.linalg.norm(affine[:3, :3], axis=0), millilitres(np.ones(image.shape, bool), affine)
        raise InputError(
            f"no brain was found in the image of {view / 1000:.3g} litres, with voxels of "
            f"{' x '.join(f'{side:.3g}' for side in size)} mm: check the voxel size, or pass a brain mask with --mask."
        )
    rest = [name for name in masks if name != best]
    if not rest:
        return Brain(masks[best])
    sizes = [f"{name} {millilitres(masks[name], affine):.0f} ml" for name in (best, *rest)]
    overlap = dice(masks[best], masks[rest[0]])
    said = (
        f"two methods were asked for the brain: {' and '.join(sizes)}, Dice overlap {overlap:.2f}. The mask of {best} "
        "was taken: look at its outline, or pass a mask with --mask.",
    )
    return Brain(masks[best], said, masks[rest[0]] if overlap < AGREE else None)


def deepbet_version() -> str | None:
    """The installed version of deepbet, of the extra ``scans``; None where it is not installed."""
    try:
        return version("deepbet")
    except PackageNotFoundError:
        return None


def deepbet_mask(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The brain by the net of deepbet, made for T1w: bool (D, H, W), empty where it sees none.

    It is stretched to the net's shape, so voxels of any size do.  As many threads as torch has; some seconds.
    """
    if np.ptp(image) == 0:
        return np.zeros(image.shape, bool)
    net = _deepbet()
    try:
        mask = net.postprocess(net.run_model(np.array(image, np.float32)) > 0.5)
    except (AssertionError, ValueError, RuntimeError):  # how it says that nothing is in the foreground
        return np.zeros(image.shape, bool)
    return solid_part(np.asarray(mask, bool))


@lru_cache(maxsize=1)
def _deepbet() -> Any:
    from deepbet.bet import BrainExtraction

    return BrainExtraction(no_gpu=True)


def template_mask(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The brain of nilearn's MNI152 template, registered to the image and refined: bool (D, H, W), may be empty.

    Mattes mutual information over every voxel on one thread, so the same input gives the same mask.
    """
    mask = np.zeros(image.shape, bool)
    with suppress(RuntimeError):  # how SimpleITK says that image and template never overlapped
        mask = solid_part(_registered_mask(image, affine))
    return refined(image, affine, mask) if _brain_sized(mask, affine) else mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice overlap of two masks (D, H, W), bool; 0 where both are empty."""
    return float(2 * (one & other).sum() / max(1, int(one.sum() + other.sum())))


def _implausible(mask: np.ndarray, affine: np.ndarray) -> float:
    """How far a brain's volume lies outside that of adults, as a ratio above 1; 0 inside."""
    volume = max(millilitres(mask, affine), 1e-3)
    least, most = ADULT_ML
    return max(0.0, least / volume - 1, volume / most - 1)


def head_mask(image: np.ndarray, affine: np.ndarray, contrast: str = "") -> np.ndarray:
    """Estimate the head: bool (D, H, W), all that is no air, with what it encloses.

    ``image`` (D, H, W) RAS+ in any units, or in HU for a ``contrast`` of ``units.WINDOWS``; ``affine`` (4, 4) to mm.
    Brighter than half-way to air in HU, than Otsu's threshold of the smoothed image else; bone, which is as dark as
    air to MR, is enclosed. A stripped image keeps its part. Raises InputError for less than a brain.
    """
    stripped = _stripped_part(image, affine)
    if stripped is not None:
        return stripped
    voxel = np.linalg.norm(affine[:3, :3], axis=0)
    smooth = ndimage.gaussian_filter(np.asarray(image, np.float32), SMOOTH_MM / voxel)
    bright = smooth > (AIR / 2 if hounsfield(contrast) else _otsu(smooth))
    mask = shrunk(solid_part(grown(solid_part(bright), affine, ENCLOSED_MM)), affine, ENCLOSED_MM)
    for k in range(mask.shape[2]):  # bone that leaves the field of view is enclosed in each slice
        mask[:, :, k] = ndimage.binary_fill_holes(mask[:, :, k])
    if millilitres(mask, affine) < BRAIN_ML[0]:
        raise InputError("no head was found in the image: pass a mask of it with --mask.")
    return mask


def find_part(image: np.ndarray, affine: np.ndarray, contrast: str, part: str) -> Brain:
    """A ``part`` of the body (``units.part_of``) on an image of a contrast; of a CT always the head."""
    if part == "head" or hounsfield(contrast):
        return Brain(head_mask(image, affine, contrast))
    return find_brain(image, affine, contrast)


def _otsu(image: np.ndarray) -> float:
    """Otsu's threshold of an image whose brightest parts, fat and vessels, must not draw it up."""
    import SimpleITK as sitk

    bulk = float(np.percentile(image[image > image.mean()], 50))
    filter_ = sitk.OtsuThresholdImageFilter()
    filter_.Execute(to_itk(np.minimum(image, bulk), np.eye(4)))
    return float(filter_.GetThreshold())


def background(image: np.ndarray) -> float:
    """The value that most voxels on the faces of an image (D, H, W) have."""
    faces = [np.take(image, index, axis).ravel() for axis in range(3) for index in (0, -1)]
    values, counts = np.unique(np.concatenate(faces), return_counts=True)
    return float(values[counts.argmax()])


def _stripped_part(image: np.ndarray, affine: np.ndarray) -> np.ndarray | None:
    """The brain of a skull-stripped image: bool (D, H, W); None for any other image."""
    shown = image != background(image)
    if shown.mean() > 0.9:
        return None
    solid = solid_part(shown)
    whole = np.count_nonzero(shown & solid) > 0.9 * np.count_nonzero(shown)
    return solid if whole and _brain_sized(solid, affine) and not has_skull(image, solid, affine) else None


def has_skull(image: np.ndarray, solid: np.ndarray, affine: np.ndarray) -> bool:
    """Whether what is not background, ``solid`` (D, H, W), bool, is a head: bright tissue lies around the brain.

    The brightest core that hangs together after links of a few mm are cut is the brain, or of a head the brain or the
    scalp.  Of a brain hardly anything lies SCALP_MM away from it (at most 1 % in scans of ten people, stripped by two
    tools); of a head, and of a slab of one, bone and what is beyond it (12 % and more).
    """
    from_zero = np.asarray(image, np.float32) - min(background(image), float(image[solid].min()))
    even_image, grid = even(from_zero, affine, SHELL_VOXEL, SHELL_VOXEL / 3)
    inside = even(solid, affine, SHELL_VOXEL, 0.0)[0]
    depth = ndimage.distance_transform_edt(inside, sampling=SHELL_VOXEL)
    middle = float(np.median(even_image[depth > depth.max() / 2]))
    bright = inside & (even_image > SHELL_BRIGHT * middle)
    core = solid_part(shrunk(bright, grid, SHELL_LINK))
    if not core.any():
        return False
    core = ndimage.binary_fill_holes(grown(core, grid, SHELL_LINK + 0.5) & bright)
    return bool((ndimage.distance_transform_edt(~core, sampling=SHELL_VOXEL)[inside] > SCALP_MM).mean() > SHELL_SHARE)


def _brain_sized(mask: np.ndarray, affine: np.ndarray) -> bool:
    return BRAIN_ML[0] <= millilitres(mask, affine) <= BRAIN_ML[1]


@lru_cache(maxsize=1)
def _template(resolution: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MNI152 T1 brain (D, H, W), its bool mask and affine, as bundled with nilearn."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    head = load_mni152_template(resolution=resolution)
    mask = load_mni152_brain_mask(resolution=resolution)
    return head.get_fdata(dtype=np.float32), mask.get_fdata() > 0.5, head.affine


def _registered_mask(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Carry the template's brain mask onto the image; bool (D, H, W).

    The template is the fixed image and only its brain, grown a little, is sampled: skull, neck
    and air around the subject's brain then cannot pull on the fit.
    """
    import SimpleITK as sitk

    template, inside, template_affine = _template()
    fixed = to_itk(template, template_affine)
    rim = to_itk(ndimage.binary_dilation(inside, iterations=1), template_affine)
    ceiling = float(np.percentile(image, 99.5))  # fat and vessels would stretch the histogram
    moving = to_itk(*even(np.minimum(image, ceiling), affine, 2.0, 2.0))
    centre = TO_LPS @ apply_affine(template_affine, np.argwhere(inside).mean(axis=0))
    head = image > (image.min() + ceiling) / 3
    middle = TO_LPS @ apply_affine(affine, np.argwhere(head).mean(axis=0))

    def fit(transform, shrink, sigma, rate, steps):
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # threads change the order of sums, hence the last bits
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricSamplingStrategy(method.NONE)
        method.SetMetricFixedMask(sitk.Cast(rim, sitk.sitkUInt8))
        method.SetInterpolator(sitk.sitkLinear)
        method.MetricUseMovingImageGradientFilterOff()  # the metric's own gradient, not that of a blurred image
        method.MetricUseFixedImageGradientFilterOff()
        method.SetOptimizerAsRegularStepGradientDescent(rate, 1e-3, steps)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(shrink)
        method.SetSmoothingSigmasPerLevel(sigma)
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        method.SetInitialTransform(transform, inPlace=False)
        found = method.Execute(fixed, moving)
        return method.GetMetricValue(), sitk.CompositeTransform(found).GetNthTransform(0)

    fits = []
    # With a neck in view the brain lies above the head's middle (mm); heads nod (radians).
    for up, nod in product((0.0, 20.0, 40.0), (0.0, -0.3, 0.3)):
        start = sitk.Similarity3DTransform()
        start.SetCenter(centre)
        start.SetRotation((1.0, 0.0, 0.0), nod)
        start.SetTranslation(middle + [0.0, 0.0, up] - centre)
        fits.append(fit(start, [3], [3.0], 4.0, 50))
    similarity = sitk.Similarity3DTransform(min(fits, key=lambda pair: pair[0])[1])
    stiff = sitk.AffineTransform(3)
    stiff.SetCenter(similarity.GetCenter())
    stiff.SetMatrix(similarity.GetMatrix())
    stiff.SetTranslation(similarity.GetTranslation())
    found = sitk.AffineTransform(fit(stiff, [2, 1], [3.0, 0.0], 1.0, 100)[1])
    growth = np.linalg.det(np.reshape(found.GetMatrix(), (3, 3))) / similarity.GetScale() ** 3
    if not 0.8 < growth < 1.25:  # on thick slices the extra freedom can run away: go without it
        found = stiff
    onto = to_itk(image, affine)
    carried = sitk.Resample(to_itk(inside, template_affine), onto, found.GetInverse(), sitk.sitkLinear, 0.0)
    return sitk.GetArrayFromImage(carried).T > 0.5
