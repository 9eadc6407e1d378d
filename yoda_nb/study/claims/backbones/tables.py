"""Evidence on diffusion backbones and samplers (seed 001): one set of images, several ways to look at it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.images.volumes import Volume, crop_volume, required
from yoda_nb.metrics.images import score
from yoda_nb.nets.base import Config, autocast_dtype, n_parameters
from yoda_nb.papers import SYSTEMS, TRAININGS
from yoda_nb.papers.backbones import PAPER
from yoda_nb.study import tables
from yoda_nb.study.claims.backbones import convergence
from yoda_nb.study.claims.draws import drawing, fd_draws
from yoda_nb.study.sampling import progress_bar
from yoda_nb.systems.train import model_name

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study

TITLES = {"adm": "ADM", "uvit": "U-ViT", "dit": "DiT", "dit-wavelet": "DiT, wavelet"}
SWEPT = ("adm", "uvit", "dit")
KINDS = {"DDPM": "posterior", "DDIM": "zero"}
STEPS = (2, 4, 8, 16)
SUBJECTS = 16  # of "intensity"
SLICES = 16  # axial ones of each subject, around the fullest: the nets see one at a time
# Schedules for the net of alpha-cosine (App. A). Steps between times at which a schedule sits at its
# limit leave x as it is: sigmoids jump over these. The last one's 5 are those of the paper's 128 that act.
SWAPS: dict[str, dict[str, Any]] = {
    "shifted-cosine": {},
    "sigmoid-0.5": {},
    "sigmoid-0.1": {"jump_to": 360},
    "sigmoid-0.008": {"jump_to": 30, "n_steps": 5},
}
SIDE = {"here": 48, "paper": 256}  # of the slices that operations are counted for
BATCH, REPEATS, PAPER_REPEATS = 16, 7, 5  # of a timing


@dataclass(frozen=True)
class Run:
    """One way to make an image, as a row of the tables."""

    label: str
    system: str
    kind: str  # "DDPM" | "DDIM" | "one step"
    n_steps: int
    schedule: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def image(self, study: Study, v: Volume) -> Tensor:
        """Its image (1,D,H,SLICES) of a whole subject's middle slices."""
        if SYSTEMS[self.system].views == (AXIAL,):
            return study.samples(middle(v), self.system, **self.settings)[0]
        return study.samples(v, self.system, **self.settings)[0][..., _middle(v)]


def middle(v: Volume) -> Volume:
    """The subject's slices that count here."""
    return crop_volume(v, (slice(0, v.shape[0]), slice(0, v.shape[1]), _middle(v)))


def _middle(v: Volume) -> slice:
    size = min(SLICES, v.shape[AXIAL])
    first = int(v.mask[0].sum((0, 1)).argmax()) - size // 2
    first = min(max(first, 0), v.shape[AXIAL] - size)
    return slice(first, first + size)


def sweep_steps(study: Study) -> tuple[int, ...]:
    """Fewer in the tests' profile."""
    return study.settings.sweep if study.profile == "tiny" else STEPS


def runs(study: Study) -> list[Run]:
    """All images of one subject: the sweep of steps, the U-Net, DiT's remedy, other schedules, YODA's 2.5D."""
    steps = sweep_steps(study)
    most = steps[-1]
    found = [Run("U-Net", "unet", "one step", 1)]
    found += [_run(name, kind, n) for name in SWEPT for kind in KINDS for n in steps]
    found += [_run("dit-wavelet", "DDPM", most)]
    found += [_swapped(schedule, most) for schedule in SWAPS]
    whole = {"model": model_name("yoda"), "n_steps": most, "jump_to": None, "times": "even"}
    return [*found, Run("YODA, 2.5D", "yoda-diffusion", "DDPM", most, settings=whole)]


def _run(name: str, kind: str, n: int) -> Run:
    return Run(f"{TITLES[name]} {kind} {n}", name, kind, n, settings={"n_steps": n, "sigma": KINDS[kind]})


def _swapped(schedule: str, most: int) -> Run:
    settings: dict[str, Any] = {"n_steps": most, "schedule": schedule, **SWAPS[schedule]}
    settings["n_steps"] = min(most, settings["n_steps"])
    return Run(f"ADM {schedule}", "adm", "DDPM", settings["n_steps"], schedule, settings)


def images(study: Study) -> dict[str, list[Tensor]]:
    """Every run on every subject: label -> images (1,D,H,SLICES) in [-1,1]."""
    made: dict[str, list[Tensor]] = {}
    todo = [(v, run) for v in study.volumes for run in runs(study)]
    with progress_bar(total=sum(run.n_steps for _, run in todo), desc="backbones") as bar:
        for v, run in todo:
            made.setdefault(run.label, []).append(run.image(study, v))
            bar.update(run.n_steps)
    return made


def scores(study: Study) -> pd.DataFrame:
    """Tables 1 and 3 and Figure 4 of seed 001, Figure A.7, and slices against a 2.5D model.

    Score-table columns plus those of ``Run``, unet_psnr (dB, to the U-Net's image) and inconsistency
    (jumps of the error's mean between adjacent axial slices, [0,1] scale).
    """
    made, about, cut = images(study), {run.label: run for run in runs(study)}, [middle(v) for v in study.volumes]
    table = tables.score_table(cut, made)
    table = table[table.sampler != "acquired"].reset_index(drop=True)
    at = {v.subject: k for k, v in enumerate(cut)}
    rows = [
        _beside(cut[at[subject]], made[label][at[subject]], made["U-Net"][at[subject]])
        for subject, label in zip(table.subject, table.sampler, strict=True)
    ]
    known = pd.DataFrame(
        [{k: getattr(about[label], k) for k in ("system", "kind", "n_steps", "schedule")} for label in table.sampler]
    )
    return pd.concat([table, known, pd.DataFrame(rows)], axis=1)


def _beside(v: Volume, image: Tensor, unet: Tensor) -> dict[str, float]:
    same = image is unet
    psnr = np.nan if same else score((image + 1) / 2, (unet + 1) / 2, v.mask, data_range=1)["psnr"]
    return {"unet_psnr": psnr, "inconsistency": slice_inconsistency(_error(v, image), v.mask, AXIAL)}


def intensity(study: Study) -> pd.DataFrame:
    """The fewest and the most DDPM steps on more subjects (Figure 4): score-table columns, system, kind and n_steps."""
    steps, parts = sweep_steps(study), []
    todo = [(v, _run(name, "DDPM", n)) for v in study.more(SUBJECTS) for name in SWEPT for n in (steps[0], steps[-1])]
    with progress_bar(total=sum(run.n_steps for _, run in todo), desc="intensity") as bar:
        for v, run in todo:
            table = tables.score_table([middle(v)], {run.label: [run.image(study, v)]})
            of = table[table.sampler == run.label]
            parts.append(of.assign(system=run.system, kind=run.kind, n_steps=run.n_steps))
            bar.update(run.n_steps)
    return pd.concat(parts, ignore_index=True)


def distances(study: Study) -> pd.DataFrame:
    """Fréchet distances of every run with bootstrap draws over subjects (Table 1, Figure 3): ``fd_draws``."""
    cut = [middle(v) for v in study.volumes]
    table = pd.concat([study.table("backbones"), tables.score_table(cut, {})], ignore_index=True)
    found = fd_draws(cut, images(study), table, **drawing(study))
    about = {run.label: run for run in runs(study)}
    return found.assign(
        **{k: [getattr(about[label], k) for label in found.sampler] for k in ("system", "kind", "n_steps", "schedule")}
    )


def patch_grid(study: Study) -> pd.DataFrame:
    """Spectrum of the error along rows and columns of axial slices: do patches show (seed 001, 4.1)?

    Columns subject, system, frequency (cycles per voxel), power (of the error, [0,1] scale, per voxel
    of the mask), excess (dB over the mean of the three frequencies on each side). Patches of 4 voxels
    are at 0.25.
    """
    n, rows = sweep_steps(study)[-1], []
    for v in study.volumes:
        for name in TITLES:
            frequency, power = line_power(_error(middle(v), _run(name, "DDPM", n).image(study, v)), middle(v).mask)
            rows += [
                {"subject": v.subject, "system": name, "frequency": f, "power": p, "excess": e}
                for f, p, e in zip(frequency, power, excess(power), strict=True)
            ]
    return pd.DataFrame(rows)


def _error(v: Volume, image: Tensor) -> Tensor:
    return (image - required(v, "target" if v.clean is None else "clean")) / 2


def line_power(image: Tensor, mask: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared Fourier magnitude along D and H of (1,D,H,W), zero outside the mask.

    Frequencies run 0 .. 0.5 in steps of 1/64 whatever the sides; white noise of variance s^2 gives
    s^2 everywhere.
    """
    inside = torch.where(mask[0], image[0].double() - image[mask].double().mean(), 0.0)
    power = sum(
        torch.fft.rfft(inside, n=-(-inside.shape[axis] // 64) * 64, dim=axis)
        .abs()
        .square()
        .movedim(axis, 0)
        .flatten(1)
        .sum(1)[:: -(-inside.shape[axis] // 64)]
        for axis in (0, 1)
    )
    return np.arange(33) / 64, (power / (2 * mask.sum())).numpy()


def excess(power: np.ndarray, width: int = 3) -> np.ndarray:
    """dB of each frequency over the mean of up to ``width`` neighbours on either side."""
    around = [np.r_[power[max(0, k - width) : k], power[k + 1 : k + 1 + width]].mean() for k in range(len(power))]
    return 10 * np.log10(power / around)


def cost(study: Study) -> pd.DataFrame:
    """Parameters, operations and throughput of the four backbones (Table 2).

    Columns system, size ("here" | "paper"), side, parameters (million), gflops (two for each
    multiply-add, one slice of ``side``), repeat, rate (batches of 16 slices a second on this machine;
    at the paper's sizes slices, of nets without training; nan in the tests' profile, which only counts those).
    """
    here = {name: TRAININGS[name].config.net for name in PAPER}
    repeats = 2 if study.profile == "tiny" else REPEATS
    rows = [_costs(name, here[name], "here", k, rate) for name, k, rate in _rates(study, here, "here", BATCH, repeats)]
    if study.profile == "tiny":
        return pd.DataFrame([*rows, *(_costs(name, net, "paper", 0, np.nan) for name, net in PAPER.items())])
    timings = _rates(study, PAPER, "paper", 1, PAPER_REPEATS)
    return pd.DataFrame([*rows, *(_costs(name, PAPER[name], "paper", k, rate) for name, k, rate in timings)])


def _costs(name: str, net: Config, size: str, repeat: int, rate: float) -> dict[str, object]:
    return {"system": name, **counted(net, size), "repeat": repeat, "rate": rate}


def counted(config: Config, size: str) -> dict[str, object]:
    """What a net of this configuration costs, on a device that computes nothing."""
    side = SIDE[size]
    with torch.device("meta"):
        net, slabs, times = config.build(), torch.empty(1, 1 + config.n_sources, side, side), torch.empty(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(slabs, times)
    return {
        "size": size,
        "side": side,
        "parameters": n_parameters(net) / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
    }


@torch.inference_mode()
def _rates(
    study: Study, configs: Mapping[str, Config], size: str, batch: int, repeats: int
) -> Iterator[tuple[str, int, float]]:
    """Batches a second, the backbones in turn so that a busy machine slows all alike."""
    device = torch.device(study.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = autocast_dtype(device)
    nets = {name: config.build().to(device).eval() for name, config in configs.items()}
    side, passes = SIDE[size], 5 if size == "here" else 1
    times = torch.zeros(batch, device=device)
    for repeat in range(1 + repeats):  # the first warms up
        for name, net in nets.items():
            slabs = torch.randn(batch, 1 + configs[name].n_sources, side, side, device=device)
            begun = time.perf_counter()
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                for _ in range(passes):
                    net(slabs, times).sum().item()
            if repeat:
                yield name, repeat, passes / (time.perf_counter() - begun)


TABLES = {
    "backbones": scores,
    "backbones_fd": distances,
    "intensity": intensity,
    "patch_grid": patch_grid,
    "backbones_cost": cost,
    **convergence.TABLES,
}
