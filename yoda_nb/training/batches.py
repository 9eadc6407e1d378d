"""What a step of training sees, and what it is drawn from: a configuration, a batch, volumes in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256

import torch
from torch import Tensor
from torch.nn import functional as F

from yoda_nb.data.mapped import MappedImages, MappedMasks, MappedPack
from yoda_nb.errors import InputError
from yoda_nb.images.space import ROI_MARGIN_MM, roi_box
from yoda_nb.images.styles import histogram, style_key
from yoda_nb.images.volumes import Volume, required
from yoda_nb.nets.base import Config
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.method import Method

ALL = (slice(None),) * 4
NAMELESS = Method("", ())  # in place of a configuration's own, whose losses are no data


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run [YODA III-D, where the paper states one]."""

    net: Config = field(default_factory=MonaiUNetConfig)
    method: Method = DIFFUSION
    options: tuple[tuple[str, float | str | bool], ...] = ()  # what only this method reads
    schedule: str = "linear"
    n_train: int = 1000  # T
    prediction: str = "v"  # what the net tells: "v" | "eps" | "x0", or in a method's own words
    views: tuple[int, ...] = (0, 1, 2)
    steps: int = 10_000
    batch_size: int = 24  # of a step, all processes together; the paper takes 96
    window: int = 48  # side of the random in-slice crop, in voxels
    lr: float = 1e-3  # the paper: 1e-4, constant
    lr_end: float = 1e-5  # cosine from lr to here; equal to lr for a constant rate
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    warmup: int = 200
    ema: float = 0.999
    clip: float = 1.0  # largest gradient norm
    outside: float = 0.01  # weight of voxels outside the mask
    augment: float = 0.05  # spread of the random gain and gamma of each source
    flip: bool = True  # left and right are exchanged in half of the coronal and axial slabs
    margin_mm: tuple[float, float, float] = ROI_MARGIN_MM  # region of interest around the mask
    seed: int = 0
    half: bool = True
    regression: bool = False  # train at t = T-1 only: a dedicated regression model (III-B.4)
    lesions: float = 0.0  # a voxel of a lesion counts that many times more: few voxels are, and all are looked for
    structure: float = 0.0  # weight of 1 - SSIM beside the absolute error; 0: squared error, as the paper
    unpaired: bool = False  # sources and targets from disjoint halves of the subjects (SynDiff)

    def option(self, name: str, default):
        """What ``options`` say of a name."""
        return dict(self.options).get(name, default)

    def document(self) -> dict[str, object]:
        """As plain values, the method by its name: two configurations that train alike are equal here.

        ``flip`` is named only where it is off: runs that were begun before it could be go on.
        """
        values = {**asdict(replace(self, method=NAMELESS)), "method": self.method.name}
        return {name: value for name, value in values.items() if name != "flip" or not value}


@dataclass(frozen=True)
class Batch:
    """Slabs to train on; all tensors (N, .., A, B)."""

    target: Tensor  # (N,S,A,B) in [-1,1], slabs of the acquired target
    source: Tensor  # (N,C*S,A,B)
    weight: Tensor  # (N,1,A,B), 1 inside the mask, more in lesions where the configuration says so
    times: Tensor  # (N,)
    eps: Tensor  # (N,S,A,B)
    fractions: Tensor  # (N,) in [0,1): continuous time is (times + fractions) / T
    source_weight: Tensor  # (N,1,A,B): as ``weight``, of the sources' mask where subjects differ
    keys: Tensor = field(default_factory=lambda: torch.zeros(0))  # (N,3,bins) style keys of nets that take them
    noise: Tensor = field(default_factory=lambda: torch.zeros(0))  # (N,K) further normal numbers, as the method asks


@dataclass(frozen=True)
class Item:
    """What training keeps of one volume, in memory or on disk: four slices cut a tensor from either."""

    images: Tensor | MappedImages  # (1+C,D,H,W) float16: target, then sources
    mask: Tensor | MappedMasks  # (1,D,H,W) bool; (2,D,H,W) with lesions where these count more
    box: tuple[slice, slice, slice]
    key: Tensor  # (3,bins) style key of the target (SKC-ISTA), no bins for a net without
    weight: float = 1.0  # how often it is drawn


def make_pool(volumes: Sequence[Volume | MappedPack], config: TrainConfig, weights: Sequence[float] = ()) -> list[Item]:
    """Keep what training needs of each volume in memory, as float16, padded to the window; packs may stay on disk.

    ``weights`` say how often each is drawn, by default all alike.
    Raises InputError for no volumes, for one without target or with another number of sources
    than the net takes, and for a window that the net cannot halve often enough.
    """
    if not volumes:
        raise InputError("Training needs at least one volume with a target: the list is empty.")
    if config.unpaired and len(volumes) < 2:
        raise InputError("Unpaired training needs at least two volumes, one of each half: add subjects.")
    if config.window % config.net.divisor:
        raise InputError(f"The window {config.window} must be a multiple of {config.net.divisor} for this net.")
    items = []
    for v, weight in zip(volumes, weights or [1.0] * len(volumes), strict=True):
        if isinstance(v, Volume) and v.target is None:
            raise InputError(f"Subject {v.subject} has no target image: give one or leave it out.")
        n_sources = len(v.source if isinstance(v, Volume) else v.sources)
        if n_sources != config.net.n_sources:
            raise InputError(
                f"Subject {v.subject} has {n_sources} sources, but the net takes "
                f"{config.net.n_sources}: give every subject the same contrasts."
            )
        images, mask = _padded(v, config.window, lesions=bool(config.lesions))
        margin = tuple(m / s for m, s in zip(config.margin_mm, v.spacing, strict=True))
        bins = getattr(config.net, "style_bins", 0)
        target = v.target if bins else None
        key = torch.zeros(3, 0) if target is None else style_key(histogram(target, v.mask, bins))
        items.append(Item(images, mask, roi_box(mask[ALL][0], margin), key, float(weight)))
    return items


def _padded(
    v: Volume | MappedPack, window: int, *, lesions: bool
) -> tuple[Tensor | MappedImages, Tensor | MappedMasks]:
    """Images and masks of an ``Item``, no side below ``window``; nothing of a pack on disk is read."""
    lack = [max(0, window - n) for n in v.shape]
    if isinstance(v, MappedPack):
        low, shape = [n // 2 for n in lack], [n + more for n, more in zip(v.shape, lack, strict=True)]
        return v.images(low, shape), v.masks(low, shape, lesions=lesions)
    pad = [p for n in reversed(lack) for p in (n // 2, n - n // 2)]
    images = F.pad(torch.cat([required(v, "target"), v.source]), pad, value=-1.0).half()
    known = [torch.zeros_like(v.mask) if v.lesions is None else v.lesions & v.mask] if lesions else []
    return images, F.pad(torch.cat([v.mask, *known]), pad, value=False)


def data_hash(pool: Sequence[Item]) -> str:
    """A hash of all that is trained on: images, masks, regions of interest and keys, in their order."""
    digest = sha256()
    for item in pool:
        for x in (item.images[ALL], item.mask[ALL], item.key):
            digest.update(f"{tuple(x.shape)} {x.dtype}".encode())
            digest.update(x.contiguous().numpy().data)
        digest.update(str(item.box).encode())
        if item.weight != 1:
            digest.update(str(item.weight).encode())
    return digest.hexdigest()
