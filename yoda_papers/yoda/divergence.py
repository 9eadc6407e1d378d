"""Evidence on where trajectories part: samples that share their way down to some time."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.diffusion.process import gaussian
from yoda_nb.images.volumes import Volume
from yoda_nb.systems.run import Run, prepare, subject_seed
from yoda_nb.systems.table import get_system

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)  # of the steps taken in common
SUBJECTS = 2  # the slowest evidence for each subject


def divergence(study: Study) -> pd.DataFrame:
    """Distance of two samples that share the first steps and draw their own noise from there.

    Columns subject, what, share (of the steps in common), t (the time at which they part), rms
    (root mean square difference inside the brain, [0,1] scale), sigma. The authors' code shares
    the latent down to the truncation's jump; share 0 means two noises from the start.
    """
    rows = []
    for v in study.volumes[:SUBJECTS]:
        latents, pairs, inside, go_on = _trajectory(study, v)
        whole = latents[-1]
        for share in SHARES:
            first = min(round(share * len(pairs)), len(pairs) - 1)
            other = go_on(latents[first - 1] if first else None, first, 1 + first)
            difference = (other - whole)[inside] / 2
            rows.append(
                {
                    "subject": v.subject,
                    "what": "two samples",
                    "share": first / len(pairs),
                    "t": pairs[first][0],
                    "rms": float(difference.square().mean().sqrt()),
                    "sigma": v.sigma,
                }
            )
    return pd.DataFrame(rows)


def _trajectory(study: Study, v: Volume):
    """All x_s of one sample, its pairs, the mask, and a function that goes on from any of them."""
    spec = get_system("yoda-diffusion", n_steps=study.settings.n_steps)
    job = prepare(v, spec, Run(device=study.device or None))
    process = job.spec.sampling.process(job)
    pairs, shape = process.pairs, job.cut.mask.shape

    def go_on(x: Tensor | None, first: int, seed: int, on_step=None) -> Tensor:
        generator = torch.Generator().manual_seed(subject_seed(v.subject, 1000 * study.seed + seed))
        x = gaussian(shape, generator).to(job.device) if x is None else x
        # views turn with the index of the step, so a trajectory that goes on keeps its turn
        rest = replace(process, denoise=partial(_shifted, process.denoise, first), pairs=pairs[first:])
        return rest.sample(generator, x=x, on_step=on_step)

    latents: list[Tensor] = []
    go_on(None, 0, 0, on_step=lambda i, pair, x, x0: latents.append(x))
    return latents, pairs, job.cut.mask, go_on


def _shifted(denoise, first: int, x: Tensor, t: int, i: int) -> Tensor:
    return denoise(x, t, first + i)


TABLES = {"divergence": divergence}
