"""What a system is, what a run of one works on, and what its process gives the sampling loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from yoda_nb.diffusion import Denoiser, Pair, Step
from yoda_nb.models import Model
from yoda_nb.space import Box
from yoda_nb.volumes import Volume

OnStep = Callable[[int, Pair, Tensor, Tensor], None]


@dataclass(frozen=True)
class System:
    """One way to make an image: every field below ``process`` can be overridden in ``translate``."""

    name: str
    summary: str
    reference: str
    seed: str = "000"  # the paper whose system it is
    weights: str = ""  # its shipped model; "" takes the one that fits the contrasts
    process: str = "vp"  # a name in PROCESSES
    views: tuple[int, ...] = (0, 1, 2)  # axes that slices are taken along, in turn
    n_steps: int = 1  # steps of one trajectory
    jump_to: int | None = None  # truncation: after the first step go on from this t
    times: str = "even"  # where the steps lie: "even" | "quadratic" (denser near the clean image)
    sigma: str = "posterior"  # noise of a step: "posterior" | "fresh" | "zero"
    schedule: str = ""  # another noise schedule than the model's own (seed 001, App. A)
    clip: bool = False  # keep every x0 in [-1,1] (seed 001, 3.3)
    n_ex: int = 1  # trajectories to average
    combine: str = "rms"  # how: "rms" | "mean"
    aggregate: bool = False  # average the views in every step
    co_predict: bool = True  # average overlapping predictions of one slice (seed 004, eq. 4)
    corrections: int = 0  # M of ISTA sampling (seed 004, eq. 5)
    correction_size: float = 0.1  # lambda of ISTA sampling
    style: str = ""  # style key: "average" | "best" | "exact" | "foreign", or an image's path (seed 004)
    recursions: int = 1  # most estimates of x0 in a step (self-consistent bridge)
    slice_size: int = 0  # resample slices to this side and back, 0 for not (seed 001, 3.6)
    noise: float = 0.0  # Rician noise added to the result, on the [0,1] scale
    homogenise: bool = False  # correct slices along the axial axis afterwards

    @property
    def evaluations(self) -> int:
        """Runs of the net over the whole volume, at most: the cost in the field's unit, N_FE."""
        each = len(self.views) if self.aggregate else 1
        corrected = (self.n_steps - 1) * self.corrections  # the last step gives x0 itself
        return (self.n_steps * self.recursions + corrected) * each * self.n_ex


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


@dataclass(frozen=True)
class Process:
    """What ``diffusion.sample`` needs: a denoiser, a start drawn anew for each trajectory, pairs, a step."""

    denoise: Denoiser
    start: Callable[[torch.Generator], Tensor]  # -> x_T (1,d,h,w)
    pairs: list[Pair]
    step: Step
