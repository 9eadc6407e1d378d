"""What the notebooks share: profiles, subjects, and images that the bank remembers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm as std_tqdm
from tqdm.auto import tqdm

from yoda_nb.bank import Bank, default_bank, recall
from yoda_nb.diffusion import expected
from yoda_nb.manifest import load_case, read_manifest
from yoda_nb.models import find_model, load_model
from yoda_nb.shipped import find_shipped
from yoda_nb.systems import OnStep, get_system, trajectories
from yoda_nb.systems.bridges import style_histogram
from yoda_nb.volumes import InputError, Volume, load_volume

MANIFEST = Path(__file__).parent.parent / "data_manifest.csv"


@dataclass(frozen=True)
class Profile:
    """How much a notebook computes."""

    subjects: int
    n_steps: int  # of one diffusion trajectory, the first step included
    n_ex: tuple[int, ...]  # ExpA averages to look at; the largest is sampled, the others reuse it
    ddim: tuple[int, ...]
    noised: tuple[float, ...]  # Rician noise on regression, as a share of the acquisition's
    sweep: tuple[int, ...]  # steps of the DDIM sweep, few to many
    evidence: int  # subjects behind a verdict of the claims ledger


PROFILES = {
    # the tests: everything runs, nothing is worth looking at
    "tiny": Profile(subjects=2, n_steps=3, n_ex=(2,), ddim=(2,), noised=(1.0,), sweep=(1, 2), evidence=2),
    # two CPU cores, minutes
    "quick": Profile(subjects=3, n_steps=20, n_ex=(2, 4, 10), ddim=(4, 8, 16), noised=(0.5, 1.0),
                     sweep=(1, 2, 4, 8, 16, 32, 64), evidence=6),
    # seed 000: T = 1000 truncated at 250, which are 252 evaluations; Fig. 2's DDIM steps
    "full": Profile(subjects=12, n_steps=252, n_ex=(4, 10), ddim=(8, 16, 32, 64),
                    noised=(0.25, 0.5, 0.75, 1.0), evidence=12,
                    sweep=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)),
}  # fmt: skip


def get_profile(name: str) -> Profile:
    if name not in PROFILES:
        raise InputError(f"Profile {name!r} is unknown: choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def load_subjects(
    n: int,
    *,
    dataset: str = "phantom",
    split: str = "test",
    subject: str = "",
    own_files: str = "",
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    manifest: Path = MANIFEST,
    mirror: str | None = None,
) -> list[Volume]:
    """The first ``n`` subjects of a dataset, or the one named, or your own files.

    ``own_files`` reads "T1w=a.nii.gz,T2w=b.nii.gz[,FLAIR=c.nii.gz][,mask=m.nii.gz]". Raises
    InputError where a subject or a contrast is not there.
    """
    if own_files:
        return [_own(own_files, sources, target)]
    cases = read_manifest(manifest, dataset=dataset, split=split)
    if subject:
        cases = [c for c in cases if c.subject == subject]
        if not cases:
            raise InputError(f"Subject {subject!r} is not in {dataset} {split} of {manifest}.")
    load = partial(load_case, sources=sources, target=target, mirror=mirror)
    return [load(case) for case in cases[:n]]


def _own(own_files: str, sources: tuple[str, ...], target: str) -> Volume:
    pairs = [item.split("=", 1) for item in own_files.split(",") if item.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError('own_files must read "T1w=a.nii.gz,T2w=b.nii.gz", contrast = file, comma between.')
    files = {name.strip(): Path(path.strip()).expanduser() for name, path in pairs}
    if lacking := [name for name in sources if name not in files]:
        raise InputError(f"own_files lacks {', '.join(lacking)}: add {lacking[0]}=FILE.")
    acquired = (target, files[target]) if target in files else None
    subject = files[sources[0]].name.split(".")[0]
    return load_volume({name: files[name] for name in sources}, target=acquired,
                       mask=files.get("mask"), subject=subject)  # fmt: skip


def samples(
    volume: Volume,
    system: str,
    *,
    seed: int = 0,
    device: str | None = None,
    model: str | None = None,
    bank: Bank | None = None,
    progress: bool = False,
    on_step: OnStep | None = None,
    **overrides,
) -> Tensor:
    """All trajectories of a system: (n_ex,1,D,H,W) in [-1,1]; shipped, from the bank, or sampled now.

    ``expected`` of the first k is what ``translate`` gives with ``n_ex=k``.
    """
    spec = get_system(system, **overrides)
    name = model or spec.weights or find_model(volume.sources, None, min(volume.spacing))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_model(name)
    weights = loaded.sha256
    # a style key may come from the target or from a file, which no other part of the key describes
    keyed = getattr(loaded.config, "style_bins", 0) > 0
    style = {"style": style_histogram(volume, loaded, spec.style)} if keyed else {}
    if torch.device(device).type == "cpu" and spec.style in ("", "average", "foreign"):
        found = find_shipped(volume, spec, seed, weights)
        if found is not None:
            return found
    key = {
        "what": "samples",
        "source": volume.source,
        "mask": volume.mask,
        "affine": volume.affine,
        "sources": volume.sources,
        "subject": volume.subject,
        "system": replace(spec, name="", summary="", reference="", seed="", weights=""),
        "seed": seed,
        "model": weights,
        "device": torch.device(device).type,
        **style,
    }
    draw = partial(trajectories, volume, system, seed=seed, device=device, model=name,
                   progress=progress, on_step=on_step, **overrides)  # fmt: skip
    return recall(bank or default_bank(), key, lambda: {"x": torch.stack(list(draw()))})["x"]


def all_samplers(
    volumes: Iterable[Volume], profile: Profile, *, seed: int = 0, device: str | None = None,
    bank: Bank | None = None, extra: str = "",
) -> dict[str, list[Tensor]]:  # fmt: skip
    """Every sampler of seed 000 on every subject: label -> images (1,D,H,W) in [-1,1].

    ExpA averages the first trajectories of one set, whose first is the diffusion sample; the
    noised images take the acquisition's noise, where it is known, times the profile's shares.
    ``extra`` names one more system, run with its defaults.
    """
    volumes = list(volumes)
    images: dict[str, list[Tensor]] = {}
    todo = [(v, label, system, settings) for v in volumes for label, system, settings in _plan(v, profile, extra)]
    total = sum(get_system(system, **settings).evaluations for _, _, system, settings in todo)
    with progress_bar(total=total, desc="evaluations") as bar:
        for v, label, system, settings in todo:
            drawn = samples(v, system, seed=seed, device=device, bank=bank, **settings)
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
