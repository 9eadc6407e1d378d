"""A shipped model trained on with a hospital's own people, and tested on people that the training left out."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.data.manifest import Case, load_case
from yoda_nb.data.packs import ENDING, pack, read_pack
from yoda_nb.data.rows import person_of
from yoda_nb.data.scan import participants
from yoda_nb.data.study import check_study_output
from yoda_nb.errors import InputError, printable
from yoda_nb.figures import plots
from yoda_nb.images.outputs import check_outputs
from yoda_nb.images.volumes import Volume, required
from yoda_nb.nets.models import Card, Model, read_card
from yoda_nb.phantoms.phantom import field_of_view, phantom_case
from yoda_nb.report.pages import render_page
from yoda_nb.scans.qc import Section, check_page, figure_of
from yoda_nb.store import write_atomic
from yoda_nb.study.real import real_scores, worst_slice
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_nb.systems.train import train
from yoda_nb.systems.training_data import linked_phantoms

FINE_TUNING: Mapping[str, Any] = {  # of a regression at 1 mm; also that of the shipped one
    "regression": True,
    "structure": 0.5,
    "lesions": 4.0,
    "augment": 0.08,
    "window": 96,
    "batch_size": 12,
    "lr": 4e-4,
    "warmup": 30,
    "ema": 0.99,  # 0.999 would still hold half of where a run this short began
}
INITIAL = "real-t1w-t2w-flair"
PLAN = "plan.json"
TIMED = 20  # steps that tell how many fit into the minutes; the first is slow
KEPT_SEEDS = (900_001, 900_002)  # phantoms of any scanner that nothing was trained on: does the net forget?
SCORES = ("ssim", "psnr", "matched_ssim", "matched_psnr", "bound")


@dataclass(frozen=True)
class Adaptation:
    """What is asked for: minutes of the final training (each group left out costs as many), and what it learns from."""

    save: Path
    out: Path  # of packs, phantoms, trainings: the same call goes on where it stopped
    minutes: float = 15.0
    folds: int = 2  # groups of people left out in turn; 0: none
    initial: str | Path = INITIAL
    rehearse: int = 24  # phantoms of any scanner, so that other hospitals are not forgotten
    share: float = 0.6  # of the slabs are real
    rescans: int = 2  # copies of each scan as other scanners would see it
    label_maps: bool = True
    mirror: str | Path | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.minutes > 0 or self.folds < 0 or self.folds == 1:
            raise InputError(
                f"An adaptation takes minutes above 0 and folds of 0, 2 or more, got {self.minutes:g} and {self.folds}."
            )

    @property
    def page(self) -> Path:
        return self.save.with_suffix(".html")


def testing_in(study: Path, cases: Sequence[Case]) -> set[str]:
    """People whom a study keeps for tests: of a BIDS folder by participants.tsv, of a manifest by its rows."""
    if study.is_dir():  # where it says nothing, the split of a case is a hash of its name
        return {person for person, split in participants(study).items() if split == "test"}
    return {person_of(case.subject) for case in cases if case.split == "test"}


def adapt(
    cases: Sequence[Case], asked: Adaptation, testing: Collection[str] = (), say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Train a model on with the people of a study; returns what the page says: people, left_out, scores, forgetting.

    ``cases`` are those of ``scans.subjects.chosen_cases``. People in ``testing`` are not
    opened. Writes the model with its card, and a page beside it.
    Raises InputError for fewer than two people with sources and target, and for all that ``train`` refuses.
    """
    model = load_model(asked.initial)
    check_outputs(
        {"-o": asked.save, "its card": asked.save.with_suffix(".json"), "its page": asked.page, "--run": asked.out},
        {f"image {path.name} of {case.subject}": path for case in cases for path in case.local},
    )
    check_study_output(asked.out, cases, word="--run")
    check_page(asked.page)
    if asked.save.exists() and not (asked.out / PLAN).is_file():
        raise InputError(f"{asked.save} exists and is not of the run {asked.out}: choose another name, or remove it.")
    wanted = (*model.sources, model.contrast)
    lacking = {case.subject: [name for name in wanted if name not in case.images] for case in cases}
    left_out = {name: f"has no {', '.join(missing)}" for name, missing in lacking.items() if missing}
    left_out |= {case.subject: "is of the split test" for case in cases if person_of(case.subject) in testing}
    usable = [case for case in cases if case.subject not in left_out]
    people = list(dict.fromkeys(person_of(case.subject) for case in usable))
    if len(people) < 2:
        raise InputError(
            f"An adaptation needs at least two people with {', '.join(wanted)}, and here are {len(people)}: "
            "add scans, or use the shipped model as it is."
        )
    packs = asked.out / "packs"
    for stray in packs.glob(f"*{ENDING}"):  # of an earlier call that may have named other people
        stray.unlink()
    for k, case in enumerate(usable, 1):
        say(f"{k}/{len(usable)} {case.subject}: reading, packing")
        v = load_case(
            case,
            sources=model.sources,
            target=model.contrast,
            mirror=asked.mirror,
            spacing=model.spacing,
            keep=asked.out / "prepared",
        )
        pack(v, packs, rescans=asked.rescans)
    names = [case.subject for case in usable]
    steps, seconds = _planned(asked, names, model)
    groups = [people[k :: asked.folds] for k in range(min(asked.folds, len(people)))]
    say(
        f"{len(groups) + 1} trainings of {steps} steps, about {seconds * steps / 60:.0f} minutes each: "
        f"{len(groups)} that leave people out, and the final one; phantoms to rehearse take seconds each, once"
    )
    rows = []
    for k, group in enumerate(groups):
        fold = _trained(asked.out / f"fold-{k}.safetensors", asked, model.card, steps, group, say)
        rows += [_before_and_after(packs, name, asked, fold) for name in names if person_of(name) in group]
    _trained(asked.save, asked, model.card, steps, (), say)
    document = {
        "model": str(asked.save),
        "page": str(asked.page),
        "people": people,
        "left_out": left_out,
        "steps": steps,
        "seconds_a_step": round(seconds, 3),
        "known_before": sorted(set(people) & _known(model.card)),
        "scores": [row["scores"] for row in rows],
        "forgetting": forgetting(asked, model.sources, model.contrast, model.spacing),
    }
    card = read_card(asked.save) | {"adapted": {k: document[k] for k in ("people", "scores", "forgetting")}}
    card["licence"] = "Trained on your own scans: their owners decide who may use it."
    write_atomic(asked.save.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    write_atomic(asked.page, _page(document, [row["figure"] for row in rows], card))
    return document


def forgetting(asked: Adaptation, sources: tuple[str, ...], target: str, spacing: float) -> dict[str, float]:
    """SSIM to the truth of phantoms of other scanners, before and after: what the net still knows."""
    found: dict[str, list[float]] = {"before": [], "after": []}
    for seed in KEPT_SEEDS:
        shape = field_of_view((*sources, target), spacing)
        v = phantom_case(seed, spacing=spacing, shape=shape, scanner="any", sources=sources, target=target)
        for when, model in (("before", asked.initial), ("after", asked.save)):
            found[when].append(real_scores(v, _made(v, model, asked.device))["ssim"])
    return {when: sum(values) / len(values) for when, values in found.items()}


def _planned(asked: Adaptation, names: Sequence[str], model: Model) -> tuple[int, float]:
    """Steps that fit into the minutes on this machine, and seconds of one; timed once, then read from the run."""
    request = {"minutes": asked.minutes, "subjects": list(names), "initial": model.sha256}
    path = asked.out / PLAN
    with suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: timed again
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["request"] == request:
            return int(plan["steps"]), float(plan["seconds"])
    with tempfile.TemporaryDirectory() as folder:
        card = train(
            Path(folder) / "timed.safetensors",
            out=Path(folder) / "run",
            packs=asked.out / "packs",
            initial=asked.initial,
            device=asked.device,
            **_settings(model.card) | {"steps": TIMED},
        )
    seconds = card["training"]["last_log"]["seconds"] / TIMED
    steps = max(1, int(60 * asked.minutes / seconds))
    plan = {"request": request, "steps": steps, "seconds": seconds}
    write_atomic(path, (json.dumps(plan, indent=1) + "\n").encode())
    return steps, seconds


def _trained(
    save: Path, asked: Adaptation, card: Card, steps: int, without: Sequence[str], say: Callable[[str], None]
) -> Path:
    """A model of everybody but ``without``; goes on where it stopped."""
    whom = f"without {', '.join(without)}" if without else "on everybody"
    say(f"{save.name}: training {whom}")
    run = asked.out / save.stem
    linked_phantoms(run, asked.out / "phantoms")
    train(
        save,
        out=run,
        packs=asked.out / "packs",
        without=without,
        initial=asked.initial,
        rehearse=asked.rehearse,
        share=asked.share,
        label_maps=asked.label_maps,
        mirror=asked.mirror,
        device=asked.device,
        command="yoda-nb adapt",
        **_settings(card) | _paced(steps),
    )
    return save


def _settings(card: Card) -> dict[str, Any]:
    """Fine-tuning of a model by its card: its contrasts, voxel size and window."""
    window = min(FINE_TUNING["window"], card["training"].get("window", FINE_TUNING["window"]))
    about = {"sources": card["sources"], "target": card["target"], "spacing": card["spacing_mm"]}
    return {**FINE_TUNING, **about, "window": window}


def _paced(steps: int) -> dict[str, Any]:
    """Warm-up and the average of weights take the same share of a run, however long it is."""
    return {
        "steps": steps,
        "warmup": min(FINE_TUNING["warmup"], steps // 20),
        "ema": round(min(0.999, max(0.0, 1 - 6 / steps)), 6),
    }


def _before_and_after(packs: Path, name: str, asked: Adaptation, fold: Path) -> dict[str, Any]:
    """Scores of a person left out, by the model before and by one trained without them, and a picture of both."""
    v = read_pack(packs / f"{name}{ENDING}")
    images = {when: _made(v, model, asked.device) for when, model in (("before", asked.initial), ("after", fold))}
    scores: dict[str, Any] = {"subject": name}
    for when, image in images.items():
        found = real_scores(v, image)
        scores |= {f"{when}_{key}": round(found[key], 4) for key in SCORES}
    worst = worst_slice(images["after"], v)
    shown = {n: v.source[i : i + 1] for i, n in enumerate(v.sources)}
    shown |= {f"{v.contrast}, acquired": required(v, "target"), **images}
    label = f"{printable(name)}: the axial slice where the new image is furthest from the acquired one."
    return {"scores": scores, "figure": figure_of(plots.image_row(shown, index=worst), label, label)}


def _made(volume: Volume, model: str | Path, device: str | None) -> Tensor:
    with torch.inference_mode():
        return required(translate(volume, "yoda-regression", model=model, device=device), "target")


def _known(card: Card) -> set[str]:
    """People whom a model was trained on, as its card names them."""
    named = set(card.get("people", {}).get("train", ()))  # older cards have them in a sentence alone
    return named | {word.strip(" ();") for word in str(card["training"].get("data", "")).replace("(", ",").split(",")}


def _page(document: Mapping[str, Any], figures: Sequence[Mapping[str, str]], card: Card) -> bytes:
    """The page: scores of each person left out, pictures, what was forgotten, the card."""
    table = pd.DataFrame(document["scores"])
    heads = ("person", *(f"{key.replace('_', ' ')} {when}" for key in SCORES[:4] for when in ("before", "after")))
    columns = [f"{when}_{key}" for key in SCORES[:4] for when in ("before", "after")]
    rows = [(row["subject"], *(f"{row[c]:.3g}" for c in columns)) for row in document["scores"]]
    if rows:
        rows.append(("mean", *(f"{table[c].mean():.3g}" for c in columns)))
    kept = document["forgetting"]
    warnings = [
        f"The first model was trained on {name}: their scores, before and after, are too good."
        for name in document["known_before"]
    ]
    warnings += [f"Left out: {name} {reason}." for name, reason in document["left_out"].items()]
    sections = [
        Section(
            "People left out of the training",
            "SSIM and PSNR inside the brain against the acquired image: by the model before, and by a model that was "
            "trained on the others. Matched: after the best gain and offset of intensities.",
            tuple(figures),
            (heads, *rows) if rows else (),
        ),
        Section(
            "What the model still knows",
            f"SSIM to the noise-free truth of phantoms of other scanners: {kept['before']:.3f} before, "
            f"{kept['after']:.3f} after.",
        ),
        Section("The model", f"{card['training']['data']}. {card['intended_use']} {card['limits']}"),
    ]
    n = len(document["people"])
    lead = f"{n} people, {document['steps']} steps. Translate with: yoda-nb translate --model {document['model']} ..."
    return render_page("qc.html.j2", title="Adapted model", lead=lead, warnings=warnings, sections=sections, here="qc")
