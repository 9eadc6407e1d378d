"""Slabs a second for training: ours against MONAI's ``CacheDataset`` and ``DataLoader`` with the same crops.

Both have every volume in memory, cut a slab of a random plane, place and mirror, change gain and gamma of each
source, and draw times and noise, in one process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config
from yoda_nb.training.batches import Batch, TrainConfig, make_pool
from yoda_nb.training.draws import batches
from yoda_papers.bench.baseline import ellipsoid

WINDOW = 48  # voxels, or what fits
SUBJECTS = 8


def batch_speed(config: Config, roi: Sequence[int], *, seed: int = 0, n_batches: int = 10, repeats: int = 3) -> dict:
    """Median slabs a second of both, and their ratio ``speedup_batches``; repeats alternate.

    Volumes of ``roi`` voxels at 3 mm, as thick as a slab at least; batches as a training takes by default.
    """
    roi = [max(n, config.thickness) for n in roi]
    window = min(WINDOW, min(roi)) // config.divisor * config.divisor
    training = TrainConfig(net=config, window=window, seed=seed)
    volumes = [_volume(roi, config.n_sources, seed + k) for k in range(SUBJECTS)]
    drawn = {
        "monai": monai_batches(volumes, training, seed, (repeats + 1) * n_batches),
        "ours": batches(make_pool(volumes, training), training, range((repeats + 1) * n_batches)),
    }
    rates: dict[str, list[float]] = {name: [] for name in drawn}
    for turn in range(repeats + 1):
        for name, each in drawn.items():
            begun = time.perf_counter()
            for _ in range(n_batches):
                next(each)
            if turn:  # the first is a warm-up
                rates[name].append(n_batches * training.batch_size / (time.perf_counter() - begun))
    rate = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "slabs": {"volumes": SUBJECTS, "window": window, "batch_size": training.batch_size, "batches": n_batches},
        "slabs_per_second": rate,
        "speedup_batches": rate["ours"] / rate["monai"],
    }


def monai_batches(volumes: Sequence[Volume], config: TrainConfig, seed: int, n: int) -> Iterator[Batch]:
    """``n`` batches as MONAI's dictionary transforms make them, each contrast under a key of its own.

    Slices near the volume's ends are cut whole, where ours repeat the outermost; volumes must hold the window.
    """
    from monai.data import CacheDataset, DataLoader
    from monai.transforms import (
        Compose,
        EnsureTyped,
        Lambdad,
        OneOf,
        RandAdjustContrastd,
        RandFlipd,
        RandScaleIntensityd,
        RandSpatialCropd,
    )
    from torch.utils.data import RandomSampler

    sources = volumes[0].sources
    keys = ("target", "mask", *sources)
    depth = config.net.thickness

    def view(axis: int) -> Compose:
        size = [depth if d == axis else config.window for d in range(3)]
        steps = [RandSpatialCropd(keys, size, random_size=False), Lambdad(keys, partial(_slices_first, axis=axis))]
        return Compose(steps if axis == 0 else [*steps, RandFlipd(keys, prob=0.5, spatial_axis=1)])

    spread = config.augment
    looks: list[Callable] = []
    for name in sources if spread else ():
        looks += [RandScaleIntensityd(name, factors=spread, prob=1.0)]
        looks += [RandAdjustContrastd(name, gamma=(1 - spread, 1 + spread), prob=1.0)]
    transforms = Compose([EnsureTyped(keys, track_meta=False), OneOf([view(axis) for axis in config.views]), *looks])
    transforms.set_random_state(seed)
    held = CacheDataset([_named(v) for v in volumes], transforms, progress=False, num_workers=0, copy_cache=False)
    generator = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(held, replacement=True, num_samples=n * config.batch_size, generator=generator)
    loader = DataLoader(held, batch_size=config.batch_size, sampler=sampler, num_workers=0)
    return (_finished(parts, sources, config, generator) for parts in loader)


def _slices_first(image: Tensor, axis: int) -> Tensor:
    """(1,D,H,W) to slices of a view: (1,S,A,B)."""
    return image.movedim(1 + axis, 1)


def _named(volume: Volume) -> dict[str, Tensor | None]:
    contrasts = zip(volume.sources, volume.source.split(1), strict=True)
    return {"target": volume.target, "mask": volume.mask, **dict(contrasts)}


def _finished(parts: dict, sources: Sequence[str], config: TrainConfig, generator: torch.Generator) -> Batch:
    """A ``Batch`` of what the loader stacked, (N,1,S,A,B) under each key."""
    target, middle = parts["target"][:, 0], config.net.thickness // 2
    weight = torch.where(parts["mask"][:, :, middle].bool(), 1.0, config.outside)
    n = len(target)
    return Batch(
        target=target,
        source=torch.cat([parts[name][:, 0] for name in sources], 1).clamp(-1, 1),
        weight=weight,
        times=torch.randint(config.n_train, (n,), generator=generator),
        eps=torch.randn(target.shape, generator=generator),
        fractions=torch.rand(n, generator=generator),
        source_weight=weight,
    )


def _volume(roi: Sequence[int], n_sources: int, seed: int) -> Volume:
    images, mask = ellipsoid(roi, n_sources + 1, seed)
    names = tuple(f"S{k}" for k in range(n_sources))
    return Volume(images[1:], mask, np.diag([3.0, 3.0, 3.0, 1.0]), names, "T", f"s{seed}", images[:1])
