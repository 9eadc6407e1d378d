"""Images that the bank remembers, bars of progress, and exercises that mark themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm as std_tqdm
from tqdm.auto import tqdm

from yoda_nb.diffusion.process import expected
from yoda_nb.diffusion.system import OnStep, System
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.devices import find_device
from yoda_nb.store import Bank, default_bank, recall
from yoda_nb.study.shipping import find_shipped
from yoda_nb.study.subjects import Profile
from yoda_nb.systems.models import load_model, model_for
from yoda_nb.systems.run import trajectories
from yoda_nb.systems.table import get_system


def samples(
    volume: Volume,
    system: str,
    *,
    seed: int = 0,
    device: str | torch.device | None = None,
    model: str | None = None,
    bank: Bank | None = None,
    progress: bool = False,
    on_step: OnStep | None = None,
    shipped: bool = True,
    **overrides: Any,
) -> Tensor:
    """All trajectories of a system: (n_ex,1,D,H,W) in [-1,1]; shipped, from the bank, or sampled now.

    ``expected`` of the first k is what ``translate`` gives with ``n_ex=k``. Without ``shipped`` no sample
    that came with the package is taken. Raises InputError for a device that is not here.
    """
    spec, place = get_system(system, **overrides), find_device(device)
    name = model_for(volume, spec, model)
    loaded = load_model(name)
    depends = spec.sampling.depends_on(volume, loaded)
    if shipped and place.type == "cpu" and not depends:
        found = find_shipped(volume, spec, seed, loaded.sha256)
        if found is not None:
            return found
    key = {
        "what": "samples",
        "source": volume.source,
        "mask": volume.mask,
        "affine": volume.affine,
        "sources": volume.sources,
        "subject": volume.subject,
        "system": settings(spec),
        "seed": seed,
        "model": loaded.sha256,
        "device": place.type,
        **depends,
    }
    draw = partial(
        trajectories,
        volume,
        system,
        seed=seed,
        device=place,
        model=name,
        progress=progress,
        on_step=on_step,
        **overrides,
    )
    return recall(bank or default_bank(), key, lambda: {"x": torch.stack(list(draw()))})["x"]


def settings(spec: System) -> System:
    """A system without what no image depends on: for keys."""
    return replace(spec, name="", summary="", reference="", paper="", weights="")


def all_samplers(
    volumes: Iterable[Volume],
    profile: Profile,
    *,
    seed: int = 0,
    device: str | None = None,
    bank: Bank | None = None,
    extra: str = "",
    shipped: bool = True,
    models: Mapping[str, str] | None = None,
) -> dict[str, list[Tensor]]:
    """Every sampler of YODA on every subject: label -> images (1,D,H,W) in [-1,1].

    ExpA averages the first trajectories of one set, whose first is the diffusion sample; the
    noised images take the acquisition's noise, where it is known, times the profile's shares.
    ``extra`` names one more system, run with its defaults; ``models`` the model of a subject, else the one that
    fits best.
    """
    find_device(device)
    volumes = list(volumes)
    images: dict[str, list[Tensor]] = {}
    todo = [(v, label, system, settings) for v in volumes for label, system, settings in _plan(v, profile, extra)]
    total = sum(get_system(system, **settings).evaluations for _, _, system, settings in todo)
    with progress_bar(total=total, desc="evaluations") as bar:
        for v, label, system, settings in todo:
            model = (models or {}).get(v.subject)
            drawn = samples(v, system, seed=seed, device=device, model=model, bank=bank, shipped=shipped, **settings)
            alone = label == "diffusion" or len(drawn) == 1
            images.setdefault(label, []).append(drawn[0] if alone else expected(drawn))
            if label == "diffusion":
                for n in profile.n_ex:
                    images.setdefault(f"ExpA {n}", []).append(expected(drawn[:n]))
            bar.update(get_system(system, **settings).evaluations)
    return images


def _plan(volume: Volume, profile: Profile, extra: str) -> list[tuple[str, str, dict]]:
    """What to sample of one subject: label, system, settings."""
    sigma = volume.sigma or 0.04
    noised = [(f"noised {s:g}", "yoda-noised", {"noise": s * sigma}) for s in profile.noised]
    ddim = [(f"DDIM {n}", "yoda-ddim", {"n_steps": n}) for n in profile.ddim]
    drawn = {"n_ex": max(profile.n_ex), "n_steps": profile.n_steps}
    return [
        ("regression", "yoda-regression", {}),
        *noised,
        *ddim,
        ("diffusion", "yoda-diffusion", drawn),
        *([(extra, extra, {})] if extra else []),
    ]


def progress_bar(**settings) -> std_tqdm:
    """tqdm's bar; in a report a plain one every ten seconds, which the runner passes on."""
    if "YODA_NB_REPORT" in os.environ:
        return std_tqdm(**settings, mininterval=10, disable=False, file=sys.stderr)
    return tqdm(**settings, mininterval=1)


def check_answer(answer: float | None, expected: float, *, tolerance: float, hint: str = "") -> None:
    """Tell whether an exercise's answer is right, without giving it away (``tolerance`` is absolute)."""
    if answer is None:
        print("Write your number in place of None and run this cell again.")
    elif abs(float(answer) - float(expected)) <= tolerance:
        print(f"Right: measured here it is {float(expected):.4g}.")
    else:
        way = "too large" if float(answer) > float(expected) else "too small"
        print(f"Not yet: {float(answer):.4g} is {way}. {hint}".rstrip())
