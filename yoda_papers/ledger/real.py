"""Real scans, people left out: what a translation of those never seen is worth, and how samplers compare on them.

The patients are fetched, not shipped, and every person needs a model that never saw them, so these tables
have a command of their own, ``yoda-nb rebuild real``. No verdict rests on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from yoda_nb.data.fetch import locate
from yoda_nb.data.manifest import Case, load_case, read_manifest
from yoda_nb.data.packs import pack
from yoda_nb.data.places import MANIFEST
from yoda_nb.data.rows import person_of
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.scans.adapt import FINE_TUNING
from yoda_nb.study.real import (
    GOALS,
    along_line,
    inside_white_matter,
    lesion_share,
    real_scores,
    slab,
    straight_line,
    tissue_peaks,
    with_peaks,
)
from yoda_nb.study.subjects import load_subjects
from yoda_nb.systems.models import find_model, is_shipped
from yoda_nb.systems.run import translate
from yoda_nb.systems.training_data import linked_phantoms
from yoda_papers.yoda import averages, perception, samplers, systems_on_scans

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

DATASET, SOURCES, TARGET, SPACING = "ms", ("T1w", "T2w"), "FLAIR", 1.0
SUBJECTS = ("cross-07", "cross-26", "long-01_ses-1", "long-01_ses-2", "long-03_ses-2")
MODELS = {"zero-shot": "zero-shot/t1w-t2w-flair", "fine-tuned": "real-t1w-t2w-flair"}
FOLDS = "folds"  # below the shipped weights: the cards of the models that were trained without somebody
SCALED_MM = 40.0  # of each scan: a slab tells two scalings of its sources apart as a head does
RESCANS = 1  # of each scan among what is trained on
RECIPE: Mapping[str, Any] = {
    **FINE_TUNING,
    "initial": MODELS["zero-shot"],
    "spacing": SPACING,
    "rehearse": 65,
    "share": 0.8,
    "steps": 600,
}
DIFFUSION: Mapping[str, Any] = {  # no phantoms: their targets have no noise, and noise is what it is to learn
    **{k: v for k, v in RECIPE.items() if k not in ("regression", "structure", "lesions", "rehearse", "share")},
    "steps": 700,
}
COLUMNS = ("ssim", "psnr", "matched_ssim", "matched_psnr", "bound", "sigma", "csf", "lesions")


def cases_here(mirror: str | Path | None = None, *, manifest: Path = MANIFEST, dataset: str = DATASET) -> list[Case]:
    """The patients of a dataset whose files are on this machine (of ``ms``: of the table); nothing is downloaded."""

    def there(case: Case) -> bool:
        needed = [image for name, image in case.images.items() if name in (*SOURCES, TARGET, "mask", "lesions")]
        return all(locate(image, root=case.root, mirror=mirror)[0] == "present" for image in needed)

    cases = read_manifest(manifest, dataset=dataset)
    return [case for case in cases if (dataset != DATASET or case.subject in SUBJECTS) and there(case)]


def patients(
    mirror: str | Path | None = None, *, manifest: Path = MANIFEST, spacing: float = SPACING, dataset: str = DATASET
) -> list[Volume]:
    """The patients that are on this machine, registered, at ``spacing`` mm; InputError for fewer than two people."""
    cases = cases_here(mirror, manifest=manifest, dataset=dataset)
    if len({person_of(case.subject) for case in cases}) < 2:
        raise InputError(
            f"The table of real scans needs two people of {dataset}: fetch them with "
            f"'yoda-nb data fetch --dataset {dataset}', or name a folder that holds them with --mirror."
        )
    return [load_case(case, sources=SOURCES, target=TARGET, mirror=mirror, spacing=spacing) for case in cases]


def scan_here(
    dataset: str = "", subject: str = "", own_files: str = "", mirror: str | None = None, *, manifest: Path = MANIFEST
) -> Volume | None:
    """A real scan to look at: one's own files, a subject of a dataset, or the first patient that is on this machine.

    None where nothing is asked for and no patient is here. Raises InputError for a subject that is not there.
    """
    if own_files:
        return load_subjects(1, own_files=own_files, sources=SOURCES, target=TARGET)[0]
    cases = read_manifest(manifest, dataset=dataset) if dataset else cases_here(mirror, manifest=manifest)
    if subject:
        everyone = cases if dataset else read_manifest(manifest, dataset=DATASET)
        cases = [case for case in everyone if case.subject == subject]
        if not cases:
            raise InputError(f"Subject {subject!r} is not in {dataset or DATASET}: 'yoda-nb data list' names them.")
    if not cases:
        return None
    return load_case(cases[0], sources=SOURCES, target=TARGET, mirror=mirror, spacing=SPACING)


def models_here() -> dict[str, str]:
    """Image -> model, of those that are in the package; where none is, the nearest of the phantoms' models."""
    there = {image: model for image, model in MODELS.items() if is_shipped(model)}
    return there or {"phantoms alone": find_model(SOURCES, TARGET, SPACING)}


def leave_one_out(
    volumes: Sequence[Volume], out: Path, *, say: Callable[[str], None] = print, **changes: Any
) -> dict[str, Path]:
    """Train a model without each person in turn by ``RECIPE``; person -> its file below ``out``.

    ``changes`` are further or other arguments of ``train``. The scans are packed first, each with copies as other
    scanners would see it; rehearsed phantoms are made once. The same call goes on where it stopped.
    """
    return _leave_out(volumes, out, {(person,): person for person in people_of(volumes)}, RECIPE, say, changes)


def leave_half_out(
    volumes: Sequence[Volume],
    out: Path,
    recipe: Mapping[str, Any] = DIFFUSION,
    name: str = "diffusion",
    *,
    say: Callable[[str], None] = print,
    **changes: Any,
) -> dict[str, Path]:
    """Train a model without each half of the people by a recipe, as ``leave_one_out``; files are called by ``name``."""
    people = people_of(volumes)
    halves = {tuple(people[k::2]): f"{name}-{'ab'[k]}" for k in range(2)}
    return _leave_out(volumes, out, halves, recipe, say, changes)


def _leave_out(
    volumes: Sequence[Volume],
    out: Path,
    groups: Mapping[tuple[str, ...], str],
    recipe: Mapping[str, Any],
    say: Callable[[str], None],
    changes: Mapping[str, Any],
) -> dict[str, Path]:
    """Train a model without each group of people, under the group's name; person -> file."""
    from yoda_nb.systems.train import train  # gathers the trainings of all papers: only where one is wanted

    packs = out / "packs"
    models: dict[str, Path] = {}
    for v in volumes:
        say(f"{v.subject}: packed into {len(pack(v, packs, rescans=RESCANS))} files")
    for people, name in groups.items():
        save = out / f"{name}.safetensors"
        linked_phantoms(out / name, out / "phantoms")
        say(f"without {', '.join(people)}: training")
        settings = {**recipe, "sources": SOURCES, "target": TARGET, **changes}
        train(save, out=out / name, packs=packs, without=people, command="yoda-nb rebuild real", **settings)
        models |= dict.fromkeys(people, save)
    return {person: models[person] for person in people_of(volumes)}


def left_out_scores(
    volumes: Sequence[Volume], models: Mapping[str, str | Path], *, device: str | None = None
) -> pd.DataFrame:
    """One row a subject and image: subject, person, image, trained_on in words, and ``COLUMNS`` of ``real_scores``.

    ``models``: person -> the model that was trained without them.
    """
    rows = []
    for v in volumes:
        person = person_of(v.subject)
        others = [other for other in volumes if person_of(other.subject) != person]
        for name, trained_on, image in _images(v, others, models[person], device):
            about = {"subject": v.subject, "person": person, "image": name, "trained_on": trained_on}
            rows.append({**about, **real_scores(v, image)})
    return pd.DataFrame(rows)


def beside_goals(table: pd.DataFrame) -> pd.DataFrame:
    """The table for people: scores as they are and matched, and each goal with "met" or "missed" beside the number."""

    def judged(row: Mapping[str, Any], column: str) -> str:
        value, goal = row[column], GOALS.get(row["image"], {}).get(column)
        if pd.isna(value):
            return "no lesions known" if column == "lesions" else "-"
        if goal is None:
            return f"{value:.3f}"
        below = column == "csf"
        met = value <= goal if below else value >= goal
        return f"{value:.3f} ({'≤' if below else '≥'} {goal:g}: {'met' if met else 'missed'})"

    rows = [
        {
            "subject": row["subject"],
            "image": row["image"],
            "SSIM": judged(row, "ssim"),
            "matched": f"{row['matched_ssim']:.3f}",
            "bound": f"{row['bound']:.3f}",
            "PSNR dB": f"{row['psnr']:.1f}",
            "PSNR matched": f"{row['matched_psnr']:.1f}",
            "CSF / white": judged(row, "csf"),
            "lesions": judged(row, "lesions"),
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def people_of(volumes: Iterable[Volume]) -> list[str]:
    """Who was scanned, each once, in order."""
    return list(dict.fromkeys(person_of(v.subject) for v in volumes))


def _images(
    volume: Volume, others: Sequence[Volume], left_out: str | Path, device: str | None
) -> Iterator[tuple[str, str, Tensor]]:
    """(image, what its maker was trained on, (1,D,H,W) in [-1,1]) of one scan."""
    who = ", ".join(people_of(others))
    known = {"zero-shot": "phantoms of any scanner", "fine-tuned": f"the same phantoms, and scans of {who}"}
    for name, model in (("zero-shot", MODELS["zero-shot"]), ("fine-tuned", left_out)):
        made = translate(volume, "yoda-regression", model=model, device=device)
        yield name, known[name], required(made, "target")
    yield "straight line", f"scans of {who}", along_line(volume, straight_line(others))
    yield "line, fitted to the answer", "this scan and its answer", along_line(volume, straight_line([volume]))


def normalisations(volumes: Sequence[Volume], *, device: str | None = None) -> pd.DataFrame:
    """Zero-shot translation of a slab of each scan, its sources scaled in two ways: which holds across scanners?

    "window" is ``images.volumes.normalise``, as everywhere; "peak" puts the tissue peak of each source where it
    lies on average in the other people's. Columns subject, scaled, ssim, psnr, matched_psnr.
    """
    rows = []
    for v in volumes:
        others = [tissue_peaks(o) for o in volumes if person_of(o.subject) != person_of(v.subject)]
        cut = slab(v, SCALED_MM)
        for name, sources in (("window", cut), ("peak", with_peaks(cut, np.mean(others, 0)))):
            image = required(translate(sources, "yoda-regression", model=MODELS["zero-shot"], device=device), "target")
            found = real_scores(cut, image)
            rows.append(
                {"subject": v.subject, "scaled": name, **{k: found[k] for k in ("ssim", "psnr", "matched_psnr")}}
            )
    return pd.DataFrame(rows)


def contrasts(study: Study) -> pd.DataFrame:
    """Noise and lesions of Table I's samplers: subject, sampler, noise (white matter, [0,1] scale), share.

    ``share`` is the lesions' contrast to white matter over the acquired image's, nan without consensus lesions.
    """
    rows = []
    made = {**samplers.images(study, ddim=False), "acquired": [required(v, "target") for v in study.volumes]}
    for k, v in enumerate(study.volumes):
        inner = inside_white_matter(v)
        for label, each in made.items():
            image = (each[k] + 1) / 2
            found = {"noise": white_matter_noise(image, inner), "share": lesion_share(v, image)}
            rows.append({"subject": v.subject, "sampler": label, **found})
    return pd.DataFrame(rows)


SCANNED: Mapping[str, Callable[[Study], pd.DataFrame]] = {  # tables of the samplers on scans: name -> what makes them
    "samplers": samplers.scores,
    "perception": perception.perception,
    "expa": averages.convergence,
    "contrast": contrasts,
}
PREFIX = "scans-"  # of their names among the shipped ones
FETCHED: Mapping[str, Callable[..., pd.DataFrame]] = {  # tables of data that are fetched: name -> what makes them
    "real": left_out_scores,
    "normalisation": normalisations,
    f"{PREFIX}systems": systems_on_scans.scores,
    **{PREFIX + name: make for name, make in SCANNED.items()},
}
