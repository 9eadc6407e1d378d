"""A hospital that no model has seen: trainings that leave one out, and what they are worth there.

Rule, committed before its numbers. Each training leaves out one hospital and one person of its own (``LEFT_OUT``).
The score of a recipe is the SSIM to the acquired FLAIR inside the brain, on a slab of ``SLAB_MM`` around the lesions
or the middle of each scan, averaged over the scans of the hospital left out, then over the hospitals of which every
recipe was trained (``rescans`` alone was trained on ``ms``: the training without rescans ran out of memory). The best
recipe is chosen; within 0.005 the first of ``RECIPES`` is. It is shipped, trained on everybody, if it beats zero-shot
by 0.01 at each hospital left out and for each person left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from yoda_nb.data.packs import pack
from yoda_nb.data.rows import person_of
from yoda_nb.images.volumes import Volume, required
from yoda_nb.study.real import real_scores, slab
from yoda_nb.systems.run import translate
from yoda_nb.systems.training_data import linked_phantoms
from yoda_papers.ledger.real import FETCHED as OTHERS
from yoda_papers.ledger.real import MODELS, RECIPE, SOURCES, TARGET, patients, people_of

HOSPITALS = {"ms": "Ljubljana, multiple sclerosis", "ucsf": "San Francisco, tumours"}
LEFT_OUT = {"ms": "cross-26", "ucsf": "BraTS2021_00006"}  # of the people of the hospital that is trained on
COLUMNS = ("ssim", "psnr", "matched_ssim", "matched_psnr", "bound", "csf", "lesions")
RECIPES = {"scans": 0, "rescans": 6}  # name -> copies of each scan as other scanners would see it
SLAB_MM = 40.0  # of each scan: a quarter of the time of a head
TRAINED = {"ucsf": ("scans", "rescans"), "ms": ("rescans",)}  # hospital -> recipes trained on it
SETTINGS: Mapping[str, Any] = {**RECIPE, "share": 0.6, "steps": 500}


def everybody(mirror: str | Path | None = None) -> dict[str, list[Volume]]:
    """Hospital -> its scans that are on this machine; InputError where a hospital has fewer than two people."""
    return {name: patients(mirror, dataset=name) for name in HOSPITALS}


def trained(
    scans: Mapping[str, Sequence[Volume]],
    hospital: str,
    rescans: int,
    out: Path,
    *,
    say: Callable[[str], None] = print,
    **changes: Any,
) -> Path:
    """The model of one hospital without one person of it; the other hospital validates. Goes on where it stopped."""
    from yoda_nb.systems.train import train  # gathers the trainings of all papers: only where one is wanted

    packs, name = out / f"packs-{rescans}", f"{hospital}-{rescans}"
    for v in (v for each in scans.values() for v in each):
        say(f"{v.subject}: packed into {len(pack(v, packs, rescans=rescans))} files")
    linked_phantoms(out / name, out / "phantoms")
    without = [p for other, each in scans.items() if other != hospital for p in people_of(each)] + [LEFT_OUT[hospital]]
    say(f"{name}, without {', '.join(without)}: training")
    settings = {**SETTINGS, "sources": SOURCES, "target": TARGET, **changes}
    save = out / f"{name}.safetensors"
    train(save, out=out / name, packs=packs, without=without, command="yoda-nb rebuild real", **settings)
    return save


def scores(
    scans: Mapping[str, Sequence[Volume]], models: Mapping[tuple[str, str], str | Path], mm: float = SLAB_MM
) -> pd.DataFrame:
    """One row a scan that a model left out: hospital, subject, left_out ("hospital", "person"), recipe, ``COLUMNS``.

    ``models``: (hospital trained on, recipe) -> model; zero-shot is added. Scores are of slabs of ``mm``.
    """
    rows = []
    for hospital, each in scans.items():
        for v in each:
            zero = {("", "zero-shot"): MODELS["zero-shot"]}
            of = {key: model for key, model in models.items() if _unseen(v, hospital, key[0])}
            for (on, recipe), model in (zero | of).items():
                kind = "person" if on == hospital else "hospital"
                seen = slab(v, mm)
                image = required(translate(seen, "yoda-regression", model=model), "target")
                found = real_scores(seen, image)
                about = {"hospital": hospital, "subject": v.subject, "left_out": kind, "recipe": recipe}
                rows.append(about | {name: found[name] for name in COLUMNS})
    return pd.DataFrame(rows)


def _unseen(volume: Volume, hospital: str, trained_on: str) -> bool:
    return hospital != trained_on or person_of(volume.subject) == LEFT_OUT[hospital]


def best_of(table: pd.DataFrame, recipes: Iterable[str] = RECIPES) -> str:
    """The recipe with the best SSIM at a hospital left out; within 0.005 the first."""
    means = table[table.left_out == "hospital"].groupby(["recipe", "hospital"]).ssim.mean().unstack()
    abroad = means.loc[list(recipes)].dropna(axis=1).mean(axis=1)
    return next(name for name in recipes if abroad[name] >= abroad.max() - 0.005)


def chosen(table: pd.DataFrame, recipes: Iterable[str] = RECIPES) -> str:
    """The recipe that the rule of this module picks from ``scores``; "" where it ships none."""
    best = best_of(table, recipes)
    zero = table[table.recipe == "zero-shot"].set_index("subject").ssim
    mine = table[table.recipe == best]
    gain = (mine.ssim - zero.loc[mine.subject].to_numpy()).groupby([mine.left_out, mine.hospital]).mean()
    return best if bool((gain >= 0.01).all()) else ""


def in_words(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Means of ``scores`` for people: what was left out, recipe, scans, and each score."""
    heads = ("left out", "hospital", "recipe", "scans", "SSIM", "PSNR dB", "SSIM matched", "PSNR matched", "lesions")
    rows = [
        (str(kind), HOSPITALS[str(hospital)], str(recipe), str(len(part)))
        + tuple(f"{part[c].mean():.{3 if 'ssim' in c else 1}f}" for c in COLUMNS[:4])
        + (f"{part.lesions.mean():.2f}",)
        for (kind, hospital, recipe), part in table.groupby(["left_out", "hospital", "recipe"])
    ]
    return [heads, *rows]


FETCHED: Mapping[str, Callable[..., pd.DataFrame]] = {**OTHERS, "hospitals": scores}
