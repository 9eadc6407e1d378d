"""``translate``: any row of the table on any volume."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from yoda_nb.coherence import homogenise_slices
from yoda_nb.diffusion import expected, sample
from yoda_nb.models import Model, find_model, load_model
from yoda_nb.noise import add_rician
from yoda_nb.space import ROI_MARGIN_MM, resample_like, roi_box, uncrop
from yoda_nb.systems.base import Job, OnStep, System
from yoda_nb.systems.table import PROCESSES, get_system
from yoda_nb.volumes import InputError, Volume, conform, crop_volume


def translate(
    volume: Volume,
    system: str = "yoda-regression",
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    model: str | Path | None = None,
    contrast: str | None = None,
    batch_size: int = 16,
    half: bool = True,
    progress: bool = False,
    on_step: OnStep | None = None,
    **overrides,
) -> Volume:
    """Make the missing contrast of a subject; the result is the returned volume's ``target``.

    ``volume.source`` (C,D,H,W) in [-1,1] of any spacing -> ``target`` (1,D,H,W) in [-1,1] on the
    same grid, background -1. The system's own model is used, or where it has none the shipped
    one that fits the sources (and ``contrast``, if given), unless ``model`` names one or its file.
    ``overrides`` are fields of ``System``, so
    ``translate(v, "yoda-expa", n_ex=10, n_steps=250)`` reads like the paper. The same volume,
    seed and machine give the same bytes. ``on_step`` sees the region of interest at the model's
    spacing. Raises InputError for unknown systems and settings and for contrasts no model takes.
    """
    job = prepare(volume, get_system(system, **overrides), seed=seed, device=device, model=model, contrast=contrast,
                  batch_size=batch_size, half=half)  # fmt: skip
    images = _trajectories(job, progress, on_step)
    # one trajectory is itself, whatever way several would be combined
    image = expected(images, job.spec.combine) if job.spec.n_ex > 1 else next(images)
    target = _restore(_finish(image, job), job, volume)
    return replace(volume, target=target, contrast=job.model.contrast, clean=None, sigma=None)


def trajectories(
    volume: Volume,
    system: str = "yoda-diffusion",
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    model: str | Path | None = None,
    contrast: str | None = None,
    batch_size: int = 16,
    half: bool = True,
    progress: bool = False,
    on_step: OnStep | None = None,
    **overrides,
) -> Iterator[Tensor]:
    """The ``n_ex`` samples that ``translate`` would average, one by one: each (1,D,H,W) in [-1,1].

    Sample k does not depend on how many follow, so ExpA of the first k is what ``translate``
    gives with ``n_ex=k`` (for systems that add no noise afterwards, and up to resampling where
    the volume is not on the model's grid).
    """
    job = prepare(volume, get_system(system, **overrides), seed=seed, device=device, model=model, contrast=contrast,
                  batch_size=batch_size, half=half)  # fmt: skip
    for image in _trajectories(job, progress, on_step):
        yield _restore(_finish(image, job), job, volume)


def prepare(
    volume: Volume,
    spec: System,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    model: str | Path | None = None,
    contrast: str | None = None,
    batch_size: int = 16,
    half: bool = True,
) -> Job:
    """A volume at its model's spacing, cut to the region of interest, with its stream of noise."""
    chosen = load_model(model or spec.weights or find_model(volume.sources, contrast, min(volume.spacing)))
    if contrast not in (None, chosen.contrast):
        raise InputError(f"Model {chosen.name} makes {chosen.contrast}, not {contrast}: choose another model.")
    if chosen.card.get("regression_only") and spec.n_steps > 1:
        raise InputError(f"Model {chosen.name} was trained for regression alone: {spec.name} needs another model.")
    inner = conform(_with_sources_of(volume, chosen), chosen.spacing)
    margin = tuple(mm / chosen.spacing for mm in ROI_MARGIN_MM)
    box = roi_box(inner.mask, margin, multiple=chosen.config.divisor)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = torch.Generator().manual_seed(subject_seed(volume.subject, seed))
    return Job(spec, chosen, inner, box, crop_volume(inner, box), device, generator, batch_size, half)


def _trajectories(job: Job, progress: bool, on_step: OnStep | None) -> Iterator[Tensor]:
    """Sample ``n_ex`` times on the region of interest: (1,d,h,w) in [-1,1] each, on the CPU."""
    spec = job.spec
    process = PROCESSES[spec.process](job)
    total = spec.n_ex * len(process.pairs)
    with tqdm(total=total, desc=spec.name, unit="step", mininterval=1, disable=not progress) as bar:

        def watch(*seen) -> None:
            bar.update()
            if on_step is not None:
                on_step(*seen)

        for _ in range(spec.n_ex):
            x = process.start(job.generator)
            yield sample(process.denoise, x, process.pairs, process.step, generator=job.generator, on_step=watch).cpu()


def _finish(image: Tensor, job: Job) -> Tensor:
    """What a system does to its image afterwards: noise (seed 000, eq. 1), slice correction."""
    if job.spec.noise > 0:
        magnitude = ((image + 1) / 2).clamp(0, 1)
        image = add_rician(magnitude, job.spec.noise, generator=job.generator) * 2 - 1
    if job.spec.homogenise:
        image = homogenise_slices(image, job.cut.mask, axis=2)
    return image


def _restore(image: Tensor, job: Job, volume: Volume) -> Tensor:
    """From the region of interest back onto the volume's own grid."""
    full = uncrop(image.clamp(-1, 1), job.box, job.inner.shape)
    full = resample_like(full, job.inner.affine, volume.affine, volume.shape, order=3)
    return torch.where(volume.mask, full, -1.0)


def subject_seed(subject: str, seed: int) -> int:
    """One stream of noise for each subject and run seed, whatever the order subjects run in."""
    digest = hashlib.sha256(f"{subject}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _with_sources_of(volume: Volume, model: Model) -> Volume:
    """The volume with the source channels that the model was trained with, in their order."""
    if set(model.sources) - set(volume.sources):
        raise InputError(
            f"Model {model.name} translates {'+'.join(model.sources)}, but {volume.subject} has "
            f"{'+'.join(volume.sources)}: give those contrasts or choose another model."
        )
    order = [volume.sources.index(name) for name in model.sources]
    return replace(volume, source=volume.source[order], sources=model.sources)
