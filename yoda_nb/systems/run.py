"""``translate``: any row of the table on any volume."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from yoda_nb.diffusion.coherence import homogenise_slices
from yoda_nb.diffusion.process import expected
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import Job, OnStep, System
from yoda_nb.errors import InputError
from yoda_nb.images.space import ROI_MARGIN_MM, resample_like, roi_box, uncrop
from yoda_nb.images.units import called, canonical, hounsfield
from yoda_nb.images.volumes import UNKNOWN, Volume, conform, crop_volume
from yoda_nb.metrics.noise import add_rician
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import Model
from yoda_nb.systems.models import load_model, model_for
from yoda_nb.systems.table import get_system


@dataclass(frozen=True)
class Run:
    """How a system is run, whichever it is: keywords of ``translate`` and ``trajectories``."""

    seed: int = 0  # the same volume, seed and machine give the same bytes
    device: str | torch.device | None = None  # None: the GPU if there is one
    model: str | Path | None = None  # a shipped model or a file; None: the system's own
    contrast: str | None = None  # what to make, where several models fit
    batch_size: int = 16  # slices at once
    half: bool = True  # the net in the device's half precision
    margin: int | None = None  # cut each batch of slices to its brain and so many voxels around it; None: do not
    progress: bool = False  # a bar of steps
    spread: bool = False  # also return how far views (of one sample) or samples differ, as the volume's ``spread``
    on_step: OnStep | None = None  # sees every step on the region of interest, at the model's spacing

    def __post_init__(self) -> None:
        if self.batch_size < 1 or (self.margin or 0) < 0:
            raise InputError(
                f"A run takes a batch_size of at least 1 and a margin of at least 0 voxels, or None, "
                f"got {self.batch_size} and {self.margin}."
            )


Result = TypeVar("Result")
OPTIONS = tuple(f.name for f in fields(Run))


def _by_name(default: str) -> Callable[[Callable[[Volume, System, Run], Result]], Callable[..., Result]]:
    """Let a function be called with a system's name, the fields of ``Run`` and the system's settings."""

    def decorate(function: Callable[[Volume, System, Run], Result]) -> Callable[..., Result]:
        @wraps(function)
        def called(volume: Volume, system: str = default, **options: Any) -> Result:
            run = Run(**{name: options.pop(name) for name in OPTIONS if name in options})
            return function(volume, get_system(system, **options), run)

        named, keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what help() shows
            [
                inspect.Parameter("volume", named, annotation="Volume"),
                inspect.Parameter("system", named, default=default, annotation="str"),
                *(inspect.Parameter(f.name, keyword, default=f.default, annotation=f.type) for f in fields(Run)),
                inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD),
            ],
            return_annotation=inspect.signature(function).return_annotation,
        )
        return called

    return decorate


@_by_name("yoda-regression")
def translate(volume: Volume, spec: System, run: Run) -> Volume:
    """Make the missing contrast of a subject; the result is the returned volume's ``target``.

    ``volume.source`` (C,D,H,W) in [-1,1] of any spacing -> ``target`` (1,D,H,W) in [-1,1] on the
    same grid, background -1. The system's own model is used, or where it has none the shipped
    one that fits the sources and ``contrast``, by default the target that the volume has, unless ``model``
    names one or its file.
    Beside the options of ``Run`` the system's settings are taken, its own and those of its process,
    so ``translate(v, "yoda-expa", n_ex=10, n_steps=250)`` reads like the paper; samples of a CT, which
    is no magnitude image, are averaged by their mean. The same volume, seed and machine give the same
    bytes. With ``spread`` the result has the standard deviation (1,D,H,W), on the [0,1] scale, of the samples that
    are averaged, or of one sample that averages views, of the views: as often evaluated, and the same image.
    Raises InputError for unknown systems and settings, for contrasts no model takes, and where there is no spread.
    """
    check_spread(spec, run.spread)
    views: list[Tensor] = []
    job = prepare(volume, spec, run)
    if run.spread and spec.n_ex == 1:
        job = replace(job, on_views=lambda seen: views.__setitem__(slice(None), [x.cpu() for x in seen]))
    images = _trajectories(job, run)
    moments = Moments()
    # one trajectory is itself, whatever way several would be combined
    if spec.n_ex > 1:
        image = averaged(moments.of(images) if run.spread else images, spec, job.model.contrast)
    else:
        image = next(images)
        _ = [*moments.of(views)]
    target = _restore(_finish(image, job), job, volume)
    spread = (_restore(2 * moments.deviation() - 1, job, volume) + 1).clamp_min(0) / 2 if run.spread else None
    return replace(volume, target=target, contrast=job.model.contrast, clean=None, sigma=None, spread=spread)


def has_spread(spec: System) -> bool:
    """Whether several predictions stand behind an image of a system: samples, or views of its last step."""
    return spec.n_ex > 1 or (spec.aggregate and len(spec.views) > 1)


def check_spread(spec: System, wanted: bool) -> None:
    """InputError where a spread is wanted of a system that has none."""
    if wanted and not has_spread(spec):
        raise InputError(
            f"{spec.name} makes one sample that averages no views, so it has no spread: choose yoda-regression, or "
            "average samples with n_ex of 2 or more."
        )


class Moments:
    """Mean and sum of squared deviations of images in [-1,1] as they pass by, on the [0,1] scale [Welford 1962]."""

    def __init__(self) -> None:
        self.n, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def of(self, images: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images, unchanged, one by one."""
        for image in images:
            x = ((image + 1) / 2).clamp(0, 1)
            self.n += 1
            apart = x - self.mean
            self.mean = self.mean + apart / self.n
            self.squares = self.squares + apart * (x - self.mean)
            yield image

    def deviation(self) -> Tensor:
        """Standard deviation of what passed by, divided by n."""
        return (self.squares / max(self.n, 1)).clamp_min(0).sqrt()


def averaged(samples: Iterable[Tensor], spec: System, contrast: str) -> Tensor:
    """Samples of a contrast as a system averages them; a CT by its mean, for the root mean square is of magnitudes."""
    return expected(samples, "mean" if hounsfield(contrast) else spec.combine)


@_by_name("yoda-diffusion")
def trajectories(volume: Volume, spec: System, run: Run) -> Iterator[Tensor]:
    """The ``n_ex`` samples that ``translate`` would average, one by one: each (1,D,H,W) in [-1,1].

    Takes what ``translate`` takes. Sample k does not depend on how many follow, so ExpA of the first
    k is what ``translate`` gives with ``n_ex=k`` (for systems that add no noise afterwards, and up to
    resampling where the volume is not on the model's grid).
    """
    job = prepare(volume, spec, run)
    for image in _trajectories(job, run):
        yield _restore(_finish(image, job), job, volume)


def prepare(volume: Volume, spec: System, run: Run = Run()) -> Job:
    """A volume at its model's spacing, cut to the region of interest, with its stream of noise."""
    device = find_device(run.device)
    chosen = load_model(model_for(volume, spec, run.model, run.contrast))
    check_model(chosen, spec, run.contrast)
    inner = conform(_with_sources_of(volume, chosen), chosen.spacing)
    margin = tuple(mm / chosen.spacing for mm in ROI_MARGIN_MM)
    box = roi_box(inner.mask, margin, multiple=chosen.config.divisor)
    generator = torch.Generator().manual_seed(subject_seed(noise_name(volume), run.seed))
    how = run.batch_size, run.half, run.margin
    return Job(spec, chosen, inner, box, crop_volume(inner, box), device, generator, *how)


def check_model(model: Model, spec: System, contrast: str | None = None) -> None:
    """Refuse a model that a system cannot use, or that does not make ``contrast``."""
    if contrast is not None and canonical(contrast) != canonical(model.contrast):
        raise InputError(f"Model {model.name} makes {model.contrast}, not {contrast}: choose another model.")
    if model.card.get("regression_only") and spec.n_steps > 1:
        raise InputError(f"Model {model.name} was trained for regression only: {spec.name} needs another model.")
    if spec.noise > 0 and hounsfield(model.contrast):
        raise InputError(
            f"{spec.name} adds Rician noise, which a {model.contrast} does not have: choose another system."
        )


def _trajectories(job: Job, run: Run) -> Iterator[Tensor]:
    """Sample ``n_ex`` times on the region of interest: (1,d,h,w) in [-1,1] each, on the CPU."""
    spec = job.spec
    process = spec.sampling.process(job)
    total = spec.n_ex * len(process.pairs)
    with tqdm(total=total, desc=spec.name, unit="step", mininterval=1, disable=not run.progress) as bar:

        def watch(*seen: Any) -> None:
            bar.update()
            if run.on_step is not None:
                run.on_step(*seen)

        for k in range(spec.n_ex):
            last = k == spec.n_ex - 1 and spec.noise == 0  # nothing is drawn afterwards
            yield process.sample(job.generator, on_step=watch, last=last).cpu()


def _finish(image: Tensor, job: Job) -> Tensor:
    """What a system does to its image afterwards: noise [YODA eq. 1], slice correction."""
    if job.spec.noise > 0:
        magnitude = ((image + 1) / 2).clamp(0, 1)
        image = add_rician(magnitude, job.spec.noise, generator=job.generator) * 2 - 1
    if job.spec.homogenise:
        image = homogenise_slices(image, job.cut.mask, axis=AXIAL)
    return image


def _restore(image: Tensor, job: Job, volume: Volume) -> Tensor:
    """From the region of interest back onto the volume's own grid."""
    full = uncrop(image.clamp(-1, 1), job.box, job.inner.shape)
    full = resample_like(full, job.inner.affine, volume.affine, volume.shape, order=3)
    return torch.where(volume.mask, full, -1.0)


def noise_name(volume: Volume) -> str:
    """What names a volume's stream of noise: its subject, or where that is not known the content of its images."""
    if volume.subject != UNKNOWN:
        return volume.subject
    return hashlib.sha256(volume.source.contiguous().numpy().tobytes()).hexdigest()


def subject_seed(subject: str, seed: int) -> int:
    """One stream of noise for each subject and run seed, whatever the order subjects run in."""
    digest = hashlib.sha256(f"{subject}/{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _with_sources_of(volume: Volume, model: Model) -> Volume:
    """The volume with the source channels that the model was trained with, in their order."""
    names = [called(name, volume.sources) for name in model.sources]
    if None in names:
        raise InputError(
            f"Model {model.name} translates {'+'.join(model.sources)}, but {volume.subject} has "
            f"{'+'.join(volume.sources)}: give those contrasts or choose another model."
        )
    order = [volume.sources.index(name) for name in names if name is not None]
    return replace(volume, source=volume.source[order], sources=model.sources)
