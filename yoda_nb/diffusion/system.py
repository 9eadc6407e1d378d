"""What a system is, what a run of one works on, and what its process is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from yoda_nb.diffusion.process import TIMES, Denoiser, Pair, time_pairs
from yoda_nb.diffusion.samplers import OnStep, Sampler, noise_from
from yoda_nb.errors import InputError
from yoda_nb.images.space import Box
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import Model

COMBINE = ("rms", "mean")


@dataclass(frozen=True)
class Process:
    """A denoiser, a start drawn anew for each trajectory, pairs of times, and the sampler that goes along them.

    ``noiseless(t, s)`` tells which steps use no noise, where nothing within a trajectory depends on the draws for them.
    """

    denoise: Denoiser
    start: Callable[[torch.Generator], Tensor]  # -> x_T (1,d,h,w)
    pairs: list[Pair]
    sampler: Sampler
    noiseless: Callable[[int, int], bool] | None = None

    def sample(
        self, generator: torch.Generator, *, x: Tensor | None = None, on_step: OnStep | None = None, last: bool = False
    ) -> Tensor:
        """One trajectory from ``x``, or from a start drawn for it: x0 (1,d,h,w).

        ``last`` promises that ``generator`` is not drawn from afterwards, so nothing is drawn for noiseless steps.
        """
        x = self.start(generator) if x is None else x
        noise = noise_from(generator, self.noiseless if last else None)
        return self.sampler(self.denoise, x, self.pairs, noise=noise, on_step=on_step)


@dataclass(frozen=True)
class Sampling:
    """A kind of process: the base of the small dataclasses whose fields are its options.

    Each option is a setting of the systems that use the process, in ``translate`` and in the shell.
    """

    def process(self, job: Job) -> Process:
        """The process of a job; InputError where its model or its steps do not fit."""
        raise NotImplementedError

    def evaluations(self, n_steps: int) -> int:
        """Runs of the net over the whole volume in a trajectory of ``n_steps``, at most, by one view."""
        return n_steps

    def depends_on(self, volume: Volume, model: Model) -> dict[str, Tensor]:
        """What shapes an image beside sources, model, settings and seed: by name, for the bank's key."""
        return {}


@dataclass(frozen=True)
class System:
    """One way to make an image: every field below ``weights``, and of ``sampling``, is a setting."""

    name: str
    summary: str
    reference: str
    sampling: Sampling  # its process and that process's options
    paper: str = ""  # the name of the paper's module in ``papers``
    weights: str = ""  # its shipped model; "" takes the one that fits the contrasts
    views: tuple[int, ...] = (0, 1, 2)  # axes that slices are taken along, in turn
    n_steps: int = 1  # steps of one trajectory
    times: str = "even"  # where the steps lie: "even" | "quadratic" (denser near the clean image)
    clip: bool = False  # keep every x0 in [-1,1] [Koch 3.3]
    aggregate: bool = False  # average the views in every step
    n_ex: int = 1  # trajectories to average
    combine: str = "rms"  # how: "rms" | "mean"
    noise: float = 0.0  # Rician noise added to the result, on the [0,1] scale
    homogenise: bool = False  # correct slices along the axial axis afterwards

    def __post_init__(self) -> None:
        if self.combine not in COMBINE or self.times not in TIMES:
            raise InputError(
                f"{self.name} takes combine {' | '.join(COMBINE)} and times {' | '.join(TIMES)}, "
                f"got {self.combine} and {self.times}."
            )
        if self.n_ex < 1 or not 0 <= self.noise < float("inf"):
            raise InputError(
                f"{self.name} takes n_ex of at least 1 and noise of at least 0, got {self.n_ex} and {self.noise}."
            )
        if not self.views or set(self.views) - {0, 1, 2}:
            raise InputError(f"{self.name} looks along views 0, 1 and 2 (sagittal, coronal, axial), got {self.views}.")

    @property
    def evaluations(self) -> int:
        """Runs of the net over the whole volume, at most: the cost in the field's unit, N_FE."""
        each = len(self.views) if self.aggregate else 1
        return self.sampling.evaluations(self.n_steps) * each * self.n_ex


@dataclass(frozen=True)
class Job:
    """A volume made ready for a model: cut to its region of interest at the model's spacing."""

    spec: System
    model: Model
    inner: Volume  # the whole field of view at the model's spacing
    box: Box
    cut: Volume  # ``inner`` in ``box``
    device: torch.device
    generator: torch.Generator
    batch_size: int = 16
    half: bool = True
    margin: int | None = None
    on_views: Callable[[list[Tensor]], None] | None = None  # sees the x0 of each view where they are averaged

    def pairs(self, n_train: int, jump_to: int | None = None) -> list[Pair]:
        """The system's time pairs; InputError where its steps do not fit."""
        spec = self.spec
        try:
            return time_pairs(n_train, spec.n_steps, jump_to=jump_to, times=spec.times)
        except ValueError as error:
            raise InputError(f"{spec.name} cannot run these steps: {error}.") from error


def checked(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """InputError for an option that is none of the words allowed."""
    if value not in allowed:
        raise InputError(f"{name} must be {' | '.join(allowed)}, got {value}.")
