"""Evidence on adversarial diffusion from unpaired data (SynDiff): scores, projectors, seconds, spread.

Rows are those of the table of systems, what takes a part of SynDiff away, and trainings of 12.5 times the slabs. Of
most only cards are shipped: what has one is in the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.study import tables
from yoda_nb.study.sampling import progress_bar
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.table import get_system
from yoda_nb.systems.train import model_name
from yoda_papers.ledger.draws import drawing, fd_draws, fewer
from yoda_papers.ledger.timing import slice_seconds
from yoda_papers.syndiff import SWEPT
from yoda_papers.syndiff.baselines import fitted

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

SYNDIFF, PAIRED, GAN, DDPM = "SynDiff", "SynDiff, paired", "cycle GAN", "DDPM"
LONG = ", long"  # ends the label of a training of 12.5 times the slabs

# label -> system, training: of the budget that all rows of the table of systems share (Tables II-IV)
ROWS = {
    SYNDIFF: ("syndiff", "syndiff"),
    GAN: ("cyclegan", "cyclegan"),
    DDPM: ("ddpm-unpaired", "ddpm-unpaired"),
    PAIRED: ("syndiff-paired", "syndiff-paired"),
}
STEPS = {"2 steps": ("syndiff", "syndiff-2"), "8 steps": ("syndiff", "syndiff-8")}  # Table VIII
ABLATIONS = {  # Table VII
    "no adversarial loss": ("syndiff", "syndiff-no-adversarial"),
    "no cycle loss": ("syndiff", "syndiff-no-cycle"),
    "no diffusive module": ("cyclegan", "syndiff-no-diffusive"),
}
LONGER = {
    label + LONG: (system, f"{training}-long")
    for label, (system, training) in (ROWS | STEPS).items()
    if f"{training}-long" in TRAININGS
}
SWEEP = {row.title.removeprefix("SynDiff, "): ("syndiff", name) for name, row in SWEPT.items()}  # Tables VIII-X
MADE = ROWS | STEPS | ABLATIONS | LONGER | SWEEP
PROJECTORS = {
    "adversarial, 4 steps": "projector-adversarial",
    "l1, 4 steps": "projector-l1",
    "l1, 1000 steps": "projector-l1-1000",
}
ALL_PROJECTORS = PROJECTORS | {label + LONG: f"{training}-long" for label, training in PROJECTORS.items()}
DDPM_STEPS = 100  # of 1000, evenly: all of them take ten times as long
SAMPLES = 10  # SynDiff, V-D
REPEATS = 3  # timings of one slice, the median of which counts
FEWEST = 50  # voxels of the brain in a slice that counts


def image(study: Study, v: Volume, row: tuple[str, str]) -> Tensor:
    """One sample (1,D,H,W) in [-1,1] of a system and training, at as many steps as that was for."""
    system, training = row
    n_steps = DDPM_STEPS if system == "ddpm-unpaired" else TRAININGS[training].config.n_train
    return study.samples(v, system, model=model_name(training), n_steps=fewer(study, n_steps))[0]


def scores(study: Study) -> pd.DataFrame:
    """Score table of every row of MADE that was trained (Tables II-IV and VII-X), a constant and a line.

    ``training`` is the seed of all trainings: there is one of each. Raises InputError, naming the command that makes
    them, for weights that are not here.
    """
    rows = {label: row for label, row in MADE.items() if study.makes(model_name(row[1]))}
    base, volumes, parts = fitted(study), study.volumes, []
    with progress_bar(total=len(volumes), desc="unpaired") as bar:
        for v in volumes:
            made = {label: image(study, v, row) for label, row in rows.items()} | base.images(v)
            parts.append(tables.score_table([v], {label: [x] for label, x in made.items()}))
            bar.update()
    table = pd.concat(parts, ignore_index=True).assign(training=0)
    return table[table.sampler.isin(rows)] if study.kept else table  # which has those that no net makes


def slices(study: Study, v: Volume, label: str) -> Tensor:
    """FLAIR of nobody (1,D,H,W) in [-1,1]: unconditional slices that fill the subject's mask."""
    training = ALL_PROJECTORS[label]
    n_steps = fewer(study, TRAININGS[training].config.n_train)
    return study.samples(v, "syndiff", model=model_name(training), n_steps=n_steps)[0]


def projectors(study: Study) -> pd.DataFrame:
    """Fréchet distances of unconditional slices to the acquired ones, with bootstrap draws (Table VI).

    ``fd_draws`` columns; its SSIM compares slices of nobody with a subject's and says nothing. Raises InputError as
    ``scores`` does.
    """
    labels = [label for label, training in ALL_PROJECTORS.items() if study.makes(model_name(training))]
    if not labels:
        return pd.DataFrame(columns=["draw", "sampler", "fd", "ssim", "noise", "gap", "n"])
    made = {label: [slices(study, v, label) for v in study.volumes] for label in labels}
    table = tables.score_table(study.volumes, made)
    return fd_draws(study.volumes, made, table, **drawing(study))


def latency(study: Study) -> pd.DataFrame:
    """Seconds for one slice (Table V), the DDPM in all of its steps: ``slice_seconds``."""
    return slice_seconds(study, {label: ROWS[label][0] for label in (SYNDIFF, GAN, DDPM)}, REPEATS)


def spread(study: Study) -> pd.DataFrame:
    """PSNR of ten samples of one subject (V-D): columns subject, sampler, sample, volume, slice, slice_std.

    ``volume`` is the PSNR (dB) in the whole mask, ``slice`` its mean over axial slices, ``slice_std`` the
    standard deviation over samples of a slice's PSNR, averaged over slices (the same for all samples).
    """
    rows = []
    for v in study.volumes:
        for label in (SYNDIFF, PAIRED):
            system, _ = ROWS[label]
            n_steps = fewer(study, get_system(system).n_steps)
            drawn = study.samples(v, system, n_ex=SAMPLES, n_steps=n_steps)
            whole, each = slice_psnr(drawn, required(v, "target"), v.mask)
            rows += [
                {
                    "subject": v.subject,
                    "sampler": label,
                    "sample": k,
                    "volume": float(whole[k]),
                    "slice": float(each[k].mean()),
                    "slice_std": float(each.std(0).mean()),
                }
                for k in range(len(drawn))
            ]
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


TABLES = {"unpaired": scores, "projectors": projectors, "unpaired_latency": latency, "unpaired_spread": spread}
