"""Evidence on adversarial diffusion from unpaired data (seed 002): scores, projectors, seconds, spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from yoda_nb import study, tables
from yoda_nb.evidence.samplers import fd_draws, n_draws
from yoda_nb.evidence.timing import slice_seconds
from yoda_nb.models import WEIGHTS
from yoda_nb.systems import get_system
from yoda_nb.trainings import TRAININGS, model_name
from yoda_nb.volumes import Volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

SYNDIFF, PAIRED, GAN, DDPM = "SynDiff", "SynDiff, paired", "cycle GAN", "DDPM"
# label -> system, training. Table II-IV, then Table VII, then Table VIII
RIVALS = {SYNDIFF: ("syndiff", "syndiff"), GAN: ("cyclegan", "cyclegan"), DDPM: ("ddpm-unpaired", "ddpm-unpaired"),
          PAIRED: ("syndiff-paired", "syndiff-paired")}  # fmt: skip
ABLATIONS = {"no adversarial loss": ("syndiff", "syndiff-no-adversarial"),
             "no cycle loss": ("syndiff", "syndiff-no-cycle"),
             "no diffusive module": ("cyclegan", "syndiff-no-diffusive")}  # fmt: skip
STEPS = {"2 steps": ("syndiff", "syndiff-2"), "8 steps": ("syndiff", "syndiff-8")}
MADE = RIVALS | ABLATIONS | STEPS
PROJECTORS = {"adversarial, 4 steps": "projector-adversarial", "l1, 4 steps": "projector-l1",
              "l1, 1000 steps": "projector-l1-1000"}  # fmt: skip
DDPM_STEPS = 100  # of 1000, evenly: all of them take ten times as long
SAMPLES = 10  # seed 002, V-D
REPEATS = 3  # timings of one slice, the median of which counts
FEWEST = 50  # voxels of the brain in a slice that counts


def trained(training: str) -> bool:
    """Whether a row's model is shipped."""
    return (WEIGHTS / f"{model_name(training)}.safetensors").exists()


def image(of: Study, v: Volume, label: str) -> Tensor:
    """One sample (1,D,H,W) in [-1,1] of a row of MADE, at as many steps as it was trained for."""
    system, training = MADE[label]
    n_steps = DDPM_STEPS if label == DDPM else TRAININGS[training].config.n_train
    return of.samples(v, system, model=model_name(training), n_steps=_steps(of, n_steps))[0]


def _steps(of: Study, n: int) -> int:
    """Fewer in the tests' profile."""
    return min(n, of.settings.n_steps) if of.profile == "tiny" else n


def scores(of: Study) -> pd.DataFrame:
    """Score table of every row of MADE that has a model (Tables II-IV, VII and VIII)."""
    labels, parts = [label for label, (_, training) in MADE.items() if trained(training)], []
    with study.progress_bar(total=len(of.volumes), desc="unpaired") as bar:
        for v in of.volumes:
            parts.append(tables.score_table([v], {label: [image(of, v, label)] for label in labels}))
            bar.update()
    return pd.concat(parts, ignore_index=True)


def slices(of: Study, v: Volume, label: str) -> Tensor:
    """FLAIR of nobody (1,D,H,W) in [-1,1]: unconditional slices that fill the subject's mask."""
    training = PROJECTORS[label]
    n_steps = _steps(of, TRAININGS[training].config.n_train)
    return of.samples(v, "syndiff", model=model_name(training), n_steps=n_steps)[0]


def projectors(of: Study) -> pd.DataFrame:
    """Fréchet distances of unconditional slices to the acquired ones, with bootstrap draws (Table VI).

    ``fd_draws`` columns; its SSIM compares slices of nobody with a subject's and says nothing.
    """
    labels = [label for label, training in PROJECTORS.items() if trained(training)]
    if not labels:
        return pd.DataFrame(columns=["draw", "sampler", "fd", "ssim", "noise", "gap", "n"])
    made = {label: [slices(of, v, label) for v in of.volumes] for label in labels}
    table = tables.score_table(of.volumes, made)
    return fd_draws(of.volumes, made, table, seed=of.seed, draws=n_draws(of))


def latency(of: Study) -> pd.DataFrame:
    """Seconds for one slice (Table V), the DDPM in all of its steps: ``slice_seconds``."""
    rows = (SYNDIFF, GAN, DDPM)
    return slice_seconds(of, {label: RIVALS[label][0] for label in rows if trained(RIVALS[label][1])}, REPEATS)


def spread(of: Study) -> pd.DataFrame:
    """PSNR of ten samples of one subject (V-D): columns subject, sampler, sample, volume, slice, slice_std.

    ``volume`` is the PSNR (dB) in the whole mask, ``slice`` its mean over axial slices, ``slice_std`` the
    standard deviation over samples of a slice's PSNR, averaged over slices (the same for all samples).
    """
    rows = []
    for v in of.volumes:
        for label in (SYNDIFF, PAIRED):
            system, training = RIVALS[label]
            if not trained(training):
                continue
            n_steps = _steps(of, get_system(system).n_steps)
            drawn = of.samples(v, system, n_ex=SAMPLES, n_steps=n_steps)
            whole, each = slice_psnr(drawn, v.target, v.mask)
            rows += [{"subject": v.subject, "sampler": label, "sample": k, "volume": float(whole[k]),
                      "slice": float(each[k].mean()), "slice_std": float(each.std(0).mean())}
                     for k in range(len(drawn))]  # fmt: skip
    return pd.DataFrame(rows)


def slice_psnr(drawn: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """PSNR (dB, data range 1) of samples (N,1,D,H,W) in [-1,1] in the mask: whole (N,), axial slices (N,K).

    Slices with fewer than FEWEST voxels of the mask do not count.
    """
    error = torch.where(mask, (drawn - target) / 2, 0.0).double().square()
    voxels = mask.sum((0, 1, 2))
    kept = voxels >= FEWEST
    each = error.sum((1, 2, 3))[:, kept] / voxels[kept]
    return -10 * (error.sum((1, 2, 3, 4)) / mask.sum()).log10(), -10 * each.log10()


MAKERS = {"unpaired": scores, "projectors": projectors, "unpaired_latency": latency, "unpaired_spread": spread}
