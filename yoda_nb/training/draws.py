"""Batches that depend on (seed, step) alone: cut from volumes, finished on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from yoda_nb.errors import InputError
from yoda_nb.training.batches import NAMELESS, Batch, Item, TrainConfig
from yoda_nb.training.processes import workers_context

SILENT = 300.0  # s without a batch after which the processes that draw them count as hung


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
    pool: Sequence[Item], config: TrainConfig, step: int, stream: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Random volume, plane, slice inside the region of interest and window [YODA III-D].

    Unpaired, the targets come from the pool's odd volumes and the sources from its even ones. Times and noise are
    drawn on the device, so a GPU's are others than a CPU's. A ``stream`` other than training's 0 gives other draws.
    """
    return made(draw(pool, config, step, stream), config, torch.device(device))


def draw(pool: Sequence[Item], config: TrainConfig, step: int, stream: int = 0) -> Drawn:
    rng = np.random.default_rng([config.seed, step, stream])
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
        noise=torch.randn(n, config.method.noise(config), generator=generator, device=device),
    )


def batches(
    pool: Sequence[Item], config: TrainConfig, steps: range, *, device: torch.device | str = "cpu", loaders: int = 0
) -> Iterator[Batch]:
    """The batches of these steps in their order, drawn here or ahead of time by ``loaders`` processes.

    Loaders share the volumes in memory, three open files each.  Raises InputError where one cannot start or dies.
    """
    draws = _Draws(pool, replace(config, method=NAMELESS), steps)  # losses cannot be sent to a process
    each = _ahead(draws, loaders) if loaders else map(draws.__getitem__, range(len(draws)))
    return (made(drawn, config, torch.device(device)) for drawn in each)


def _ahead(draws: _Draws, loaders: int) -> Iterator[Drawn]:
    try:
        yield from DataLoader(
            draws,
            None,
            num_workers=loaders,
            prefetch_factor=4,
            timeout=SILENT,
            multiprocessing_context=workers_context(),
        )
    except (RuntimeError, OSError) as error:  # torch's own words for a loader that died or is silent, too many files
        raise InputError(f"A process that draws batches ahead failed ({error}): set loaders to 0.") from error


@dataclass(frozen=True)
class _Draws(Dataset):
    """``draw`` of each step, as a data set."""

    pool: Sequence[Item]
    config: TrainConfig
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, k: int) -> Drawn:
        return draw(self.pool, self.config, self.steps[k])


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
    least, most = max(first, 0), min(last, item.images.shape[1 + axis] - 1)
    cut[1 + axis] = slice(least, most + 1)
    slab = item.images[tuple(cut)]
    if (least, most) != (first, last):  # beyond the volume the outermost slice repeats
        near = torch.arange(first, last + 1).clamp(least, most)
        slab = slab.index_select(1 + axis, near - least)
    slab = slab.movedim(1 + axis, 1)
    cut[1 + axis] = slice(centre, centre + 1)
    inside = item.mask[tuple(cut)].select(1 + axis, 0)
    mirrored = axis != 0 and rng.random() < 0.5  # drawn in any case: what else is drawn stays the same
    if mirrored and config.flip:  # left and right: D is the first in-slice axis
        slab, inside = slab.flip(-2), inside.flip(-2)
    return slab, inside, item.key


def _jitter(sources: Tensor, jitters: Tensor) -> Tensor:
    """Sources (N,C*S,A,B) with a gain and a gamma for each contrast, ``jitters`` (2,N,C): scanners differ."""
    gain, gamma = jitters[..., None, None, None]  # each (N,C,1,1,1)
    magnitude = ((sources + 1) / 2).unflatten(1, (gain.shape[1], -1))
    return (2 * gain * magnitude**gamma - 1).clamp(-1, 1).flatten(1, 2)
