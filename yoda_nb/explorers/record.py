"""A trajectory kept step by step, remembered by the bank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from yoda_nb.bank import default_bank, recall
from yoda_nb.diffusion import gaussian, schedule
from yoda_nb.systems import get_system, prepare, subject_seed, translate
from yoda_nb.volumes import Volume


def record_trajectory(
    volume: Volume,
    system: str = "yoda-diffusion",
    *,
    seed: int = 0,
    n_steps: int = 20,
    model: str | Path | None = None,
    device: str | torch.device | None = None,
    **overrides: Any,
) -> list[dict[str, Any]]:
    """Every step of one trajectory, first to last, on the model's grid and region of interest.

    Each is a dict of t and s (the step goes from t to s, -1 is the image), view (the axis looked
    along), noise_level (sqrt(1 - alpha_bar_t)), x (the state at t), x0 (predicted from it), both
    (1,d,h,w) in [-1,1] up to x's noise; and, the same in all, mask and clean (None where the
    truth is not known). ``overrides`` are those of ``translate``. Raises InputError as it does.
    """
    spec = get_system(system, n_steps=n_steps, n_ex=1, **overrides)
    job = prepare(volume, spec, seed=seed, device=device, model=model)
    cut, levels = job.cut, schedule(job.model.card["schedule"], job.model.card["n_train"])
    key = {
        "what": "trajectory",
        "source": cut.source,
        "mask": cut.mask,
        "subject": volume.subject,
        "system": replace(spec, name="", summary="", reference="", seed="", weights=""),
        "seed": seed,
        "model": job.model.sha256,
        "device": job.device.type,
    }

    def draw() -> dict[str, torch.Tensor]:
        seen = []
        translate(volume, system, seed=seed, device=device, model=model, n_steps=n_steps, n_ex=1, **overrides,
                  on_step=lambda i, pair, x, x0: seen.append((pair, x.cpu(), x0.cpu())))  # fmt: skip
        # on_step tells where a step arrives; the first departs from the generator's first draw
        start = gaussian(cut.mask.shape, torch.Generator().manual_seed(subject_seed(volume.subject, seed)))
        departures = [start, *(x for _, x, _ in seen[:-1])]
        return {"pairs": torch.tensor([pair for pair, _, _ in seen]), "x": torch.stack(departures),
                "x0": torch.stack([x0 for _, _, x0 in seen])}  # fmt: skip

    kept = recall(default_bank(), key, draw)
    return [
        {"t": t, "s": s, "view": i % 3, "noise_level": (1 - levels.at(t)) ** 0.5,
         "x": kept["x"][i], "x0": kept["x0"][i], "mask": cut.mask, "clean": cut.clean}
        for i, (t, s) in enumerate(kept["pairs"].tolist())
    ]  # fmt: skip
