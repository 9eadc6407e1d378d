"""Evidence on the other translations: what is scored of whom, and which way each claim is judged."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import combined
from yoda_papers.translations import LONGER, SPACING, TRANSLATIONS, tables
from yoda_papers.translations import claims as translations
from yoda_papers.translations.verdicts import WORDS

TINY = Study("tiny")


@pytest.mark.parametrize("key", TRANSLATIONS)
def test_subjects_are_phantoms_of_the_translation_that_no_training_saw(key):
    of = TRANSLATIONS[key]
    (v,) = translations.subjects(TINY, key, n=1)
    assert (v.sources, v.contrast, v.spacing[0]) == (of.sources, of.target, SPACING)
    assert v.shape[2] == tables.THIN and v.clean is not None
    assert v.subject == f"phantom-{tables.FIRST_SEED}"


def test_a_ct_is_scored_in_hu_and_a_cta_in_its_window_too():
    (v,) = translations.subjects(TINY, "cta", n=1)
    found = translations.scored(v, v.target, "truth")
    assert {"mae_hu_bone", "bone_dice", "vessel_dice", "cl_dice", "grain", "ssim_angio", "mae_angio"} <= found.keys()
    perfect = translations.scored(v, v.clean, "truth")
    assert perfect["mae_angio"] == 0 and perfect["ssim_angio"] == pytest.approx(1, abs=1e-5)
    assert (
        perfect["lesion_contrast"] == pytest.approx(1) and perfect["cl_dice"] == 1 and perfect["grain"] < found["grain"]
    )
    brighter = translations.scored(v, (v.clean + 0.08).clamp(-1, 1), "truth")  # 28 HU
    assert 0 < brighter["mae_angio"] < brighter["mae_hu"] < 28.1, "what leaves the window is cut off"
    assert "angio" not in "".join(translations.scored(replace(v, contrast="CT"), v.target, "truth"))


def test_the_table_has_every_set_and_own_files_have_none(monkeypatch):
    monkeypatch.setattr(tables, "images", lambda study, v, key, only: {"regression": torch.zeros_like(v.target)})
    monkeypatch.setattr(tables, "scored", lambda v, image, reference: {"ssim": float(image.mean())})
    monkeypatch.setattr(tables, "SETS", (("t1w", "a"), ("t1w", "b")))
    subjects = [phantom_case(1, sources=("FLAIR",), target="T1w", spacing=8.0, shape=(24, 24, 24))]
    monkeypatch.setattr(tables, "subjects", lambda study, key, protocol: subjects)
    table = translations.scores(TINY)
    assert list(table.groupby(["protocol", "sampler"]).reference.agg(tuple)) == [("truth",), ("acquired", "truth")] * 2
    assert translations.scores(replace(TINY, own=tuple(subjects))).empty


def test_further_subjects_follow_on_the_first_and_count_with_them(monkeypatch):
    asked = {}
    monkeypatch.setattr(tables, "subjects", lambda study, *of, n, first: asked.setdefault(of, range(first, n)) and [])
    assert tables.more(Study()).empty and tables.more(TINY).empty
    assert asked == {of: range(Study().settings.evidence, tables.MANY) for of in tables.MORE}
    asked.clear()
    assert tables.longer_more(Study()).empty and asked == {("ct",): range(tables.MANY_LONGER, tables.MANY)}
    row = {"translation": "t2w", "protocol": "a", "reference": "acquired"}
    of_both = {"ssim": 0.9, "psnr": 30.0}
    first = [row | of_both | {"subject": "s1", "sampler": s} for s in ("regression", "diffusion", "SelfRDB", "SynDiff")]
    further = [row | of_both | {"subject": k, "sampler": s} for k in "ab" for s in ("regression", "SelfRDB")]
    shipped = {"translations": pd.DataFrame(first), "translations-more": pd.DataFrame(further)}
    monkeypatch.setattr(Study, "table", lambda self, name: shipped[name])
    assert {e.name.split("less ")[1]: e.n for e in translations.EFFECTS["Y34"](Study())} == {
        "diffusion": 1,
        "SelfRDB": 3,
        "SynDiff": 1,
    }


def test_of_those_alone_that_are_asked_for_an_image_is_made(monkeypatch):
    asked = []
    monkeypatch.setattr(
        Study, "samples", lambda self, v, system, **how: asked.append(system) or torch.zeros(1, 1, 2, 2, 2)
    )
    v = SimpleNamespace(contrast="T2w")
    assert list(translations.images(TINY, v, "t2w", only=("regression", "SelfRDB"))) == ["regression", "SelfRDB"]
    assert asked == ["yoda-regression", "selfrdb-t2w"]
    assert list(translations.images(TINY, v, "t2w")) == ["regression", "diffusion", "SelfRDB", "SynDiff"]


@pytest.mark.parametrize("key", LONGER)
def test_longer_trainings_differ_in_length_alone_and_their_images_are_asked_of_them(monkeypatch, key):
    for name in ("yoda", *TRANSLATIONS[key].rivals):
        short, long = (TRAININGS[f"{name}-{key}{end}"] for end in ("", "-x12"))
        assert long.config == replace(short.config, steps=3 * short.config.steps)
        assert (long.phantoms, long.count, long.sources, long.target) == (
            short.phantoms,
            short.count,
            short.sources,
            short.target,
        )
        assert long.variant and not long.chosen
    assert {TRAININGS[f"{name}-{key}-x12"].config.steps for name in LONGER[key]} == {long.config.steps}
    asked = []
    monkeypatch.setattr(
        Study, "samples", lambda self, v, system, model, **how: asked.append(model) or torch.zeros(1, 1, 2, 2, 2)
    )
    translations.images(TINY, SimpleNamespace(contrast="T2w"), key, longer=True)
    made = [f"variants/{name}-{key}-x12" for name in ("yoda", "yoda", *LONGER[key])]
    assert asked == made, "regression and diffusion share YODA's"


def test_a_claim_is_judged_by_the_longer_trainings_where_they_are_shipped(monkeypatch):
    row = {"translation": "ct", "protocol": "a", "reference": "acquired", "subject": "s"}
    short, long = "translations", ["translations-longer", "translations-longer-more"]
    shipped = {name: pd.DataFrame([row | {"sampler": name}]) for name in (short, *long)}
    monkeypatch.setattr(Study, "table", lambda self, name: shipped[name])
    for ships, rows in ((long, long), (long[:1], long[:1]), ([], [short])):
        monkeypatch.setattr(Study, "ships", lambda self, name, ships=ships: name in ships)
        assert list(translations.longest(Study(), "ct")["sampler"]) == rows
    assert translations.longest(Study(), "cta").empty, "which has none"


@pytest.fixture
def known(monkeypatch):
    """A table in which each sampler of each translation has one value of everything: the tests change it."""
    values = {
        "ct": {"regression": 3.0, "ExpA 4": 2.5, "diffusion": 2.0, "SelfRDB": 1.0, "SynDiff": 1.5, "ResViT": 1.2},
        "t2w": {"regression": 3.0, "diffusion": 2.0, "SelfRDB": 1.0, "SynDiff": 1.5},
        "cta": {"U-Net": 3.0, "ADM": 2.0},
        "t1w": {"bridge": 3.0, "Palette": 2.0},
    }
    rows = [
        {"translation": key, "protocol": protocol, "subject": f"s{k}", "sampler": sampler, "reference": reference}
        | {m: value + 0.001 * k for m in WORDS}
        for key, of in values.items()
        for protocol in ("a", "b")
        for sampler, value in of.items()
        for reference in ("acquired", "truth")
        for k in range(6)
    ]
    table = pd.DataFrame(rows)
    monkeypatch.setattr(Study, "table", lambda self, name: table.iloc[:0] if name.endswith("more") else table)
    monkeypatch.setattr(Study, "ships", lambda self, name: False)
    return table


def verdict(claim: str) -> str:
    return combined(translations.EFFECTS[claim](Study()))


def test_who_is_higher_is_better_where_the_claim_says_so(known):
    assert verdict("Y32") == verdict("Y34") == verdict("B06") == "reproduced"
    assert verdict("Y31") == "not reproduced", "a whole unit of Dice apart"
    ct = known[known.translation == "ct"]
    like = ct[ct["sampler"] == "regression"].bone_dice.to_numpy()
    known.loc[ct.index[ct["sampler"] == "diffusion"], "bone_dice"] = like
    assert verdict("Y31") == "reproduced"


def test_grain_and_errors_are_judged_to_the_truth(known):
    assert verdict("Y33") == "not reproduced", "diffusion has less grain here"
    drawn = (known.translation == "ct") & (known.reference == "truth") & (known["sampler"] == "diffusion")
    known.loc[drawn, ["grain", "mae_hu_bone"]] += 2.0
    assert verdict("Y33") == "reproduced"


def test_errors_of_angiograms_are_better_lower_and_elsewhere_is_another_protocol(known):
    at_home = (known.translation == "cta") & (known.protocol == "a")
    assert verdict("K09") == "not reproduced", "the error is higher too"
    known.loc[at_home & (known["sampler"] == "U-Net"), "mae_angio"] -= 2.0
    assert verdict("K09") == "reproduced" and verdict("K10") == "not reproduced"
    other = (known.translation == "cta") & (known.protocol == "b")
    known.loc[other, ["ssim_angio", "psnr_angio"]] *= -1
    assert verdict("K10") == "reproduced"
