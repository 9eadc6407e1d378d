"""Evidence on where trajectories part: samples that share their way down to some time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.denoise import volume_denoiser
from yoda_nb.diffusion import Step, gaussian, sample, schedule, time_pairs, vp_step
from yoda_nb.models import find_model, load_model
from yoda_nb.space import roi_box
from yoda_nb.systems import get_system, subject_seed
from yoda_nb.volumes import Volume, crop_volume

if TYPE_CHECKING:
    from yoda_nb.evidence import Study

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)  # of the steps taken in common
SUBJECTS = 2  # the slowest evidence for each subject


def divergence(of: Study) -> pd.DataFrame:
    """Distance of two samples that share the first steps and draw their own noise from there.

    Columns subject, what, share (of the steps in common), t (the time at which they part), rms
    (root mean square difference inside the brain, [0,1] scale), sigma. The authors' code shares
    the latent down to the truncation's jump; share 0 means two noises from the start.
    """
    rows = []
    for v in of.volumes[:SUBJECTS]:
        latents, pairs, inside, go_on = _trajectory(of, v)
        whole = latents[-1]
        for share in SHARES:
            first = min(round(share * len(pairs)), len(pairs) - 1)
            other = go_on(latents[first - 1] if first else None, first, 1 + first)
            difference = (other - whole)[inside] / 2
            rows.append({"subject": v.subject, "what": "two samples", "share": first / len(pairs), "t": pairs[first][0],
                         "rms": float(difference.square().mean().sqrt()), "sigma": v.sigma})  # fmt: skip
    return pd.DataFrame(rows)


def _trajectory(of: Study, v: Volume):
    """All x_s of one sample, its pairs, the mask, and a function that goes on from any of them."""
    model = load_model(find_model(v.sources, v.contrast, v.spacing[0]))
    spec = get_system("yoda-diffusion", n_steps=of.settings.n_steps)
    noise = schedule(model.card["schedule"], model.card["n_train"])
    pairs = time_pairs(len(noise), spec.n_steps, jump_to=spec.jump_to, times=spec.times)
    margin = tuple(mm / model.spacing for mm in (20, 10, 5))
    cut = crop_volume(v, roi_box(v.mask, margin, multiple=model.config.divisor))
    device = torch.device(of.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    denoise = volume_denoiser(model.net.to(device), cut.source, noise, thickness=model.config.thickness, mask=cut.mask,
                              target=model.card["prediction"], divisor=model.config.divisor)  # fmt: skip
    step: Step = partial(vp_step, schedule=noise, sigma=spec.sigma, jump_to=spec.jump_to)

    def go_on(x: Tensor | None, first: int, seed: int, on_step=None) -> Tensor:
        generator = torch.Generator().manual_seed(subject_seed(v.subject, 1000 * of.seed + seed))
        x = gaussian(cut.mask.shape, generator).to(device) if x is None else x
        # views turn with the index of the step, so a trajectory that goes on keeps its turn
        turned = partial(_shifted, denoise, first)
        return sample(turned, x, pairs[first:], step, generator=generator, on_step=on_step)

    latents: list[Tensor] = []
    go_on(None, 0, 0, on_step=lambda i, pair, x, x0: latents.append(x))
    return latents, pairs, cut.mask, go_on


def _shifted(denoise, first: int, x: Tensor, t: int, i: int) -> Tensor:
    return denoise(x, t, first + i)
