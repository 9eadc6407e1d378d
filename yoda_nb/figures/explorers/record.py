"""A trajectory kept step by step, remembered by the bank."""

from __future__ import annotations

from typing import Any

import torch

from yoda_nb.diffusion.process import Pair
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.diffusion.vp import ODE, VP
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.store import default_bank, recall
from yoda_nb.study.sampling import settings
from yoda_nb.systems.run import OPTIONS, Run, prepare
from yoda_nb.systems.table import get_system


def record_trajectory(
    volume: Volume, system: str = "yoda-diffusion", *, n_steps: int = 20, **options: Any
) -> list[dict[str, Any]]:
    """Every step of one trajectory, first to last, on the model's grid and region of interest.

    Each is a dict of t and s (the step goes from t to s, -1 is the image), view (the axis looked
    along, None where all are averaged), noise_level (sqrt(1 - alpha_bar_t)), x (the state at t), x0
    (predicted from it), both (1,d,h,w) in [-1,1] up to x's noise; and, the same in all, mask and clean
    (None where the truth is not known). ``options`` are those of ``translate``. Raises InputError as
    it does, and for a system that does not start from noise of a schedule.
    """
    run = Run(**{name: options.pop(name) for name in OPTIONS if name in options})
    spec = get_system(system, n_steps=n_steps, n_ex=1, **options)
    if not isinstance(spec.sampling, (VP, ODE)):
        raise InputError(f"{system} does not start from noise of a schedule: choose a system whose trajectory does.")
    job = prepare(volume, spec, run)
    process, card = spec.sampling.process(job), job.model.card
    levels = schedule(spec.sampling.schedule or card["schedule"], card["n_train"])
    key = {
        "what": "trajectory",
        "source": job.cut.source,
        "mask": job.cut.mask,
        "subject": volume.subject,
        "system": settings(spec),
        "seed": run.seed,
        "model": job.model.sha256,
        "device": job.device.type,
    }

    def draw() -> dict[str, torch.Tensor]:
        x = process.start(job.generator)
        departures, arrivals = [x.cpu()], []

        def watch(i: int, pair: Pair, x: torch.Tensor, x0: torch.Tensor) -> None:
            departures.append(x.cpu())
            arrivals.append(x0.cpu())

        process.sample(job.generator, x=x, on_step=watch, last=True)
        return {"x": torch.stack(departures[:-1]), "x0": torch.stack(arrivals)}

    kept = recall(default_bank(), key, draw)
    return [
        {
            "t": t,
            "s": s,
            "view": None if spec.aggregate else spec.views[i % len(spec.views)],
            "noise_level": (1 - levels.at(t)) ** 0.5,
            "x": kept["x"][i],
            "x0": kept["x0"][i],
            "mask": job.cut.mask,
            "clean": job.cut.clean,
        }
        for i, (t, s) in enumerate(process.pairs)
    ]
