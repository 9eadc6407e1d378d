"""The table of systems, and ``translate``, which runs any row of it on any volume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from yoda_nb.coherence import aggregate_views, homogenise_slices
from yoda_nb.denoise import volume_denoiser
from yoda_nb.diffusion import SIGMAS, Pair, expected, gaussian, sample, schedule, time_pairs, vp_step
from yoda_nb.models import Model, find_model, load_model
from yoda_nb.noise import add_rician
from yoda_nb.space import Box, resample_like, roi_box, uncrop
from yoda_nb.volumes import InputError, Volume, conform, crop_volume

OnStep = Callable[[int, Pair, Tensor, Tensor], None]


@dataclass(frozen=True)
class System:
    """One way to make an image: every field can be overridden by name in ``translate``."""

    name: str
    summary: str
    reference: str
    n_steps: int = 1  # function evaluations of one trajectory (times 3 where views are aggregated)
    jump_to: int | None = None  # truncation: after the first step go on from this t
    times: str = "even"  # where the steps lie: "even" | "quadratic" (denser near the clean image)
    sigma: str = "posterior"  # noise of a step: "posterior" | "fresh" | "zero"
    n_ex: int = 1  # trajectories to average
    combine: str = "rms"  # how: "rms" | "mean"
    aggregate: bool = False  # average the three views in every step
    noise: float = 0.0  # Rician noise added to the result, on the [0,1] scale
    homogenise: bool = False  # correct slices along the axial axis afterwards

    @property
    def evaluations(self) -> int:
        """Runs of the net over the whole volume: the cost in the field's unit, N_FE."""
        return self.n_steps * self.n_ex * (3 if self.aggregate else 1)


_DIFFUSION = System(
    "yoda-diffusion", "one sample: orthogonal denoising, truncated", "seed 000, III-B.1-2, Alg. 2",
    n_steps=50, jump_to=250, times="quadratic",
)  # fmt: skip
_REGRESSION = System(
    "yoda-regression", "the first x0, averaged over three views", "seed 000, III-B.4-5", aggregate=True
)
SYSTEMS = {
    s.name: s
    for s in (
        _REGRESSION,
        _DIFFUSION,
        replace(_DIFFUSION, name="yoda-expa", summary="RMS of N_Ex samples",
                reference="seed 000, III-B.3, eq. 8", n_ex=10),
        replace(_DIFFUSION, name="yoda-ddim", summary="deterministic steps from T to 0",
                reference="seed 000, IV-A (DDIM)", n_steps=32, jump_to=None, sigma="zero"),
        replace(_REGRESSION, name="yoda-noised", summary="regression plus Rician noise",
                reference="seed 000, IV-A, eq. 1", noise=0.04),
    )
}  # fmt: skip


def get_system(name: str, **overrides) -> System:
    """A row of the table with fields replaced; InputError for unknown names or values."""
    if name not in SYSTEMS:
        raise InputError(f"System {name!r} is unknown: choose one of {', '.join(SYSTEMS)}.")
    known = {f.name for f in fields(System)} - {"name", "summary", "reference"}
    if unknown := sorted(set(overrides) - known):
        raise InputError(f"{name} has no setting {', '.join(unknown)}: choose among {', '.join(sorted(known))}.")
    system = replace(SYSTEMS[name], **overrides)
    if (
        system.sigma not in SIGMAS or system.combine not in ("rms", "mean")
        or system.n_ex < 1 or not 0 <= system.noise < float("inf")
    ):  # fmt: skip
        raise InputError(
            f"{name} takes sigma {' | '.join(SIGMAS)}, combine rms | mean, n_ex of at least 1 and "
            f"noise of at least 0, got {system.sigma}, {system.combine}, {system.n_ex} and {system.noise}."
        )
    return system


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
    views: tuple[int, ...] = (0, 1, 2),
    progress: bool = False,
    on_step: OnStep | None = None,
    **overrides,
) -> Volume:
    """Make the missing contrast of a subject; the result is the returned volume's ``target``.

    ``volume.source`` (C,D,H,W) in [-1,1] of any spacing -> ``target`` (1,D,H,W) in [-1,1] on the
    same grid, background -1. The shipped model that fits the sources (and ``contrast``, if given)
    is used unless ``model`` names one or its file. ``overrides`` are fields of ``System``, so
    ``translate(v, "yoda-expa", n_ex=10, n_steps=250)`` reads like the paper. The same volume,
    seed and machine give the same bytes. ``on_step`` sees the region of interest at the model's
    spacing. Raises InputError for unknown systems and settings and for contrasts no model takes.
    """
    job = _prepare(volume, get_system(system, **overrides), seed, device, model, contrast)
    images = _trajectories(job, batch_size, half, views, progress, on_step)
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
    views: tuple[int, ...] = (0, 1, 2),
    progress: bool = False,
    on_step: OnStep | None = None,
    **overrides,
) -> Iterator[Tensor]:
    """The ``n_ex`` samples that ``translate`` would average, one by one: each (1,D,H,W) in [-1,1].

    Sample k does not depend on how many follow, so ExpA of the first k is what ``translate``
    gives with ``n_ex=k`` (for systems that add no noise afterwards, and up to resampling where
    the volume is not on the model's grid).
    """
    job = _prepare(volume, get_system(system, **overrides), seed, device, model, contrast)
    for image in _trajectories(job, batch_size, half, views, progress, on_step):
        yield _restore(_finish(image, job), job, volume)


@dataclass(frozen=True)
class _Job:
    """A volume made ready for a model: cut to its region of interest at the model's spacing."""

    spec: System
    model: Model
    inner: Volume  # the whole field of view at the model's spacing
    box: Box
    device: torch.device
    generator: torch.Generator


def _prepare(volume: Volume, spec: System, seed: int, device, model, contrast) -> _Job:
    chosen = load_model(model or find_model(volume.sources, contrast, min(volume.spacing)))
    if contrast not in (None, chosen.contrast):
        raise InputError(f"Model {chosen.name} makes {chosen.contrast}, not {contrast}: choose another model.")
    if chosen.card.get("regression_only") and spec.n_steps > 1:
        raise InputError(f"Model {chosen.name} was trained for regression alone: {spec.name} needs another model.")
    inner = conform(_with_sources_of(volume, chosen), chosen.spacing)
    margin = tuple(mm / chosen.spacing for mm in (20, 10, 5))  # the paper's voxels are of 1 mm
    box = roi_box(inner.mask, margin, multiple=chosen.config.divisor)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = torch.Generator().manual_seed(subject_seed(volume.subject, seed))
    return _Job(spec, chosen, inner, box, device, generator)


def _trajectories(job: _Job, batch_size, half, views, progress, on_step) -> Iterator[Tensor]:
    """Sample ``n_ex`` times on the region of interest: (1,d,h,w) in [-1,1] each, on the CPU."""
    spec, model, cut = job.spec, job.model, crop_volume(job.inner, job.box)
    noise = schedule(model.card["schedule"], model.card["n_train"])
    try:
        pairs = time_pairs(len(noise), spec.n_steps, jump_to=spec.jump_to, times=spec.times)
    except ValueError as error:
        raise InputError(f"{spec.name} cannot run these steps: {error}.") from error
    denoise = volume_denoiser(
        model.net.to(job.device), cut.source, noise, thickness=model.config.thickness, views=views,
        mask=cut.mask, batch_size=batch_size, target=model.card["prediction"],
        divisor=model.config.divisor, half=half,
    )  # fmt: skip
    if spec.aggregate:
        denoise = aggregate_views(denoise, len(views))
    step = partial(vp_step, schedule=noise, sigma=spec.sigma, jump_to=spec.jump_to)
    total = spec.n_ex * len(pairs)
    with tqdm(total=total, desc=spec.name, unit="step", mininterval=1, disable=not progress) as bar:

        def watch(*seen) -> None:
            bar.update()
            if on_step is not None:
                on_step(*seen)

        for _ in range(spec.n_ex):
            x = gaussian(cut.mask.shape, job.generator).to(job.device)
            yield sample(denoise, x, pairs, step, generator=job.generator, on_step=watch).cpu()


def _finish(image: Tensor, job: _Job) -> Tensor:
    """What a system does to its image afterwards: noise (seed 000, eq. 1), slice correction."""
    if job.spec.noise > 0:
        magnitude = ((image + 1) / 2).clamp(0, 1)
        image = add_rician(magnitude, job.spec.noise, generator=job.generator) * 2 - 1
    if job.spec.homogenise:
        image = homogenise_slices(image, job.inner.mask[..., *job.box], axis=2)
    return image


def _restore(image: Tensor, job: _Job, volume: Volume) -> Tensor:
    """From the region of interest back onto the volume's own grid."""
    full = uncrop(image.clamp(-1, 1), job.box, job.inner.shape)
    full = resample_like(full, job.inner.affine, volume.affine, volume.shape, order=3)
    return torch.where(volume.mask, full, -1.0)


def subject_seed(subject: str, seed: int) -> int:
    """One stream of noise for each subject and run seed, whatever the order subjects run in."""
    digest = hashlib.sha256(f"{subject}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _with_sources_of(volume: Volume, model: Model) -> Volume:
    """The volume with its source channels in the order the model was trained with."""
    if set(volume.sources) != set(model.sources):
        raise InputError(
            f"Model {model.name} translates {'+'.join(model.sources)}, but {volume.subject} has "
            f"{'+'.join(volume.sources)}: give those contrasts or choose another model."
        )
    order = [volume.sources.index(name) for name in model.sources]
    return replace(volume, source=volume.source[order], sources=model.sources)
