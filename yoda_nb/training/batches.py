"""What a step of training sees: volumes in memory, and batches that depend on (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from yoda_nb.errors import InputError
from yoda_nb.images.space import ROI_MARGIN_MM, roi_box
from yoda_nb.images.styles import histogram, style_key
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.method import Method

NAMELESS = Method("", ())  # in place of a configuration's own, whose losses are no data


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run (seed 000, III-D, where the paper states one)."""

    net: Config = field(default_factory=MonaiUNetConfig)
    method: Method = DIFFUSION
    options: tuple[tuple[str, float | str | bool], ...] = ()  # what only this method reads
    schedule: str = "linear"
    n_train: int = 1000  # T
    prediction: str = "v"  # what the net tells: "v" | "eps" | "x0", or in a method's own words
    views: tuple[int, ...] = (0, 1, 2)
    steps: int = 10_000
    batch_size: int = 24  # for each process; the paper takes 96
    window: int = 48  # side of the random in-slice crop, in voxels
    lr: float = 1e-3  # the paper: 1e-4, constant
    lr_end: float = 1e-5  # cosine from lr to here; equal to lr for a constant rate
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam
    warmup: int = 200
    ema: float = 0.999
    clip: float = 1.0  # largest gradient norm
    outside: float = 0.01  # weight of voxels outside the mask
    augment: float = 0.05  # spread of the random gain and gamma of each source
    margin_mm: tuple[float, float, float] = ROI_MARGIN_MM  # region of interest around the mask
    seed: int = 0
    half: bool = True
    regression: bool = False  # train at t = T-1 only: a dedicated regression model (III-B.4)
    lesions: float = 0.0  # a voxel of a lesion counts that many times more: few voxels are, and all are looked for
    structure: float = 0.0  # weight of 1 - SSIM beside the absolute error; 0: squared error, as the paper
    unpaired: bool = False  # sources and targets from disjoint halves of the subjects (seed 002)

    def option(self, name: str, default):
        """What ``options`` say of a name."""
        return dict(self.options).get(name, default)

    def document(self) -> dict[str, object]:
        """As plain values, the method by its name: two configurations that train alike are equal here."""
        return {**asdict(replace(self, method=NAMELESS)), "method": self.method.name}


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


@dataclass(frozen=True)
class Item:
    """What training keeps of one volume."""

    images: Tensor  # (1+C,D,H,W) float16: target, then sources
    mask: Tensor  # (1,D,H,W) bool; (2,D,H,W) with lesions where these count more
    box: tuple[slice, slice, slice]
    key: Tensor  # (3,bins) style key of the target (seed 004), no bins for a net without
    weight: float = 1.0  # how often it is drawn


def make_pool(volumes: Sequence[Volume], config: TrainConfig, weights: Sequence[float] = ()) -> list[Item]:
    """Keep what training needs of each volume in memory, as float16, padded to the window.

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
        if v.target is None:
            raise InputError(f"Subject {v.subject} has no target image: give one or leave it out.")
        if len(v.source) != config.net.n_sources:
            raise InputError(
                f"Subject {v.subject} has {len(v.source)} sources, but the net takes "
                f"{config.net.n_sources}: give every subject the same contrasts."
            )
        lack = [max(0, config.window - n) for n in v.shape]
        pad = [p for n in reversed(lack) for p in (n // 2, n - n // 2)]
        images = F.pad(torch.cat([v.target, v.source]), pad, value=-1.0).half()
        known = [torch.zeros_like(v.mask) if v.lesions is None else v.lesions & v.mask] if config.lesions else []
        mask = F.pad(torch.cat([v.mask, *known]), pad, value=False)
        margin = tuple(m / s for m, s in zip(config.margin_mm, v.spacing, strict=True))
        bins = getattr(config.net, "style_bins", 0)
        key = style_key(histogram(v.target, v.mask, bins)) if bins else torch.zeros(3, 0)
        items.append(Item(images, mask, roi_box(mask[0], margin), key, float(weight)))
    return items


def data_hash(pool: Sequence[Item]) -> str:
    """A hash of all that is trained on: images, masks, regions of interest and keys, in their order."""
    digest = sha256()
    for item in pool:
        for x in (item.images, item.mask, item.key):
            digest.update(f"{tuple(x.shape)} {x.dtype}".encode())
            digest.update(x.contiguous().numpy().data)
        digest.update(str(item.box).encode())
        if item.weight != 1:
            digest.update(str(item.weight).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Drawn:
    """What a batch is made of: slabs as they lie in memory, and what chance does to them."""

    target: Tensor  # (N,S,A,B) float16
    source: Tensor  # (N,C*S,A,B) float16
    mask: Tensor  # (N,M,A,B) bool: the brain and, where they count more, lesions
    source_mask: Tensor  # (N,M,A,B)
    keys: Tensor  # (N,3,bins)
    jitters: Tensor  # (2,N,C) gain and gamma of each source
    seed: int  # of times and noise


def draw_batch(
    pool: Sequence[Item], config: TrainConfig, step: int, rank: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Random volume, plane, slice inside the region of interest and window (seed 000, III-D).

    Unpaired, the targets come from the pool's odd volumes and the sources from its even ones. Times and noise are
    drawn on the device, so a GPU's are others than a CPU's.
    """
    return made(draw(pool, config, step, rank), config, torch.device(device))


def draw(pool: Sequence[Item], config: TrainConfig, step: int, rank: int = 0) -> Drawn:
    rng = np.random.default_rng([config.seed, step, rank])
    n = config.net.n_sources
    targets, sources, masks, source_masks, keys, jitters = [], [], [], [], [], []
    for _ in range(config.batch_size):
        slab, inside, key = _draw_slab(pool[1::2] if config.unpaired else pool, config, rng)
        other, other_inside, _ = _draw_slab(pool[::2], config, rng) if config.unpaired else (slab, inside, key)
        targets.append(slab[0])
        sources.append(other[1:])
        jitters.append(np.exp(rng.normal(0, config.augment, (2, n))))
        masks.append(inside)
        keys.append(key)
        source_masks.append(other_inside)
    return Drawn(
        torch.stack(targets),
        torch.stack(sources).flatten(1, 2),
        torch.stack(masks),
        torch.stack(source_masks),
        torch.stack(keys),
        torch.from_numpy(np.stack(jitters, 1)).float(),
        int(rng.integers(2**62)),
    )


def made(drawn: Drawn, config: TrainConfig, device: torch.device) -> Batch:
    """The batch on a device: intensities jittered, times and noise drawn."""
    generator = torch.Generator(device).manual_seed(drawn.seed)
    target = drawn.target.to(device).float()
    first, n = config.n_train - 1 if config.regression else 0, len(target)
    return Batch(
        target=target,
        source=_jitter(drawn.source.to(device).float(), drawn.jitters.to(device)),
        weight=_weight(drawn.mask.to(device), config),
        times=torch.randint(first, config.n_train, (n,), generator=generator, device=device),
        eps=torch.randn(target.shape, generator=generator, device=device),
        fractions=torch.rand(n, generator=generator, device=device),
        source_weight=_weight(drawn.source_mask.to(device), config),
        keys=drawn.keys.to(device),
    )


def batches(
    pool: Sequence[Item],
    config: TrainConfig,
    steps: range,
    rank: int = 0,
    *,
    device: torch.device | str = "cpu",
    loaders: int = 0,
) -> Iterator[Batch]:
    """The batches of these steps in their order, drawn here or ahead of time by ``loaders`` processes."""
    draws = _Draws(pool, config, steps, rank)
    each = iter(
        DataLoader(draws, None, num_workers=loaders, prefetch_factor=4)
        if loaders
        else map(draws.__getitem__, range(len(draws)))
    )
    return (made(drawn, config, torch.device(device)) for drawn in each)


@dataclass(frozen=True)
class _Draws(Dataset):
    """``draw`` of each step, as a data set."""

    pool: Sequence[Item]
    config: TrainConfig
    steps: range
    rank: int

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, k: int) -> Drawn:
        return draw(self.pool, self.config, self.steps[k], self.rank)


def _weight(masks: Tensor, config: TrainConfig) -> Tensor:
    """What each voxel counts (N,1,A,B): ``masks`` (N,1 or 2,A,B) of the brain and, where they count more, lesions."""
    return torch.where(masks[:, :1], 1.0, config.outside) + config.lesions * masks[:, 1:].sum(1, keepdim=True)


def _draw_item(pool: Sequence[Item], rng: np.random.Generator) -> Item:
    weights = [item.weight for item in pool]
    if len(set(weights)) == 1:
        return pool[int(rng.integers(len(pool)))]
    return pool[int(rng.choice(len(pool), p=np.array(weights) / sum(weights)))]


def _draw_slab(pool: Sequence[Item], config: TrainConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One slab of all channels (1+C,S,A,B) float16, the masks of its middle slice (M,A,B), the volume's style key."""
    item = _draw_item(pool, rng)
    axis = config.views[rng.integers(len(config.views))]
    cut = [slice(None)] * 4
    for d in range(3):
        lo, hi = item.box[d].start, item.box[d].stop
        if d != axis:
            size = item.mask.shape[1 + d]
            start = rng.integers(lo, max(lo, hi - config.window) + 1)
            start = min(start, size - config.window)
            cut[1 + d] = slice(start, start + config.window)
    centre, reach = int(rng.integers(item.box[axis].start, item.box[axis].stop)), config.net.thickness // 2
    first, last = centre - reach, centre + reach
    if first >= 0 and last < item.images.shape[1 + axis]:
        cut[1 + axis] = slice(first, last + 1)
        slab = item.images[*cut]
        cut[1 + axis] = slice(None)
    else:  # beyond the volume the outermost slice repeats
        near = torch.arange(first, last + 1).clamp(0, item.images.shape[1 + axis] - 1)
        slab = item.images[*cut].index_select(1 + axis, near)
    slab = slab.movedim(1 + axis, 1)
    inside = item.mask[*cut].select(1 + axis, centre)
    if axis != 0 and rng.random() < 0.5:  # left-right mirror: D is the first in-slice axis
        slab, inside = slab.flip(-2), inside.flip(-2)
    return slab, inside, item.key


def _jitter(sources: Tensor, jitters: Tensor) -> Tensor:
    """Sources (N,C*S,A,B) with a gain and a gamma for each contrast, ``jitters`` (2,N,C): scanners differ."""
    gain, gamma = jitters[..., None, None, None]  # each (N,C,1,1,1)
    magnitude = ((sources + 1) / 2).unflatten(1, (gain.shape[1], -1))
    return (2 * gain * magnitude**gamma - 1).clamp(-1, 1).flatten(1, 2)
