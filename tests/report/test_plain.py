"""The page in plain words: what reproduces, what does not, what cannot be tested here."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reports import Page

from yoda_nb.report import Run
from yoda_nb.report.ledger import MIME
from yoda_nb.report.plain import TITLE, by_answer, deciding, found_words, sentences, since_words
from yoda_nb.report.site import write_site
from yoda_nb.study.findings import trained_words
from yoda_papers.ledger import Study, find, origins

FD = {"name": "FD, a less b", "value": 2.0, "low": 1.0, "high": 3.0, "unit": "", "n": 6, "seeds": 0, "rule": "> 0"}
SEEN = {
    "ruled": {"commit": "abc", "date": "2026-11-02"},
    "made": {"one": {"commit": "def", "date": "2026-11-21"}, "two": {"commit": "def", "date": "2026-11-24"}},
    "trainings": {"systems/a": 1, "systems/b": 1},
}


def claim(name: str, verdict: str, **more) -> dict:
    return {"id": name, "claim": f"{name} holds", "where": "Fig. 1", "verdict": verdict, "effects": [FD], **more}


def test_a_claim_is_told_with_all_that_a_reader_asks():
    effects = [{**FD, "extractor": "offline", "verdict": "reproduced"}, {**FD, "extractor": "tissue", "value": 0.5}]
    told = sentences(claim("Y08", "reproduced", **SEEN) | {"effects": effects, "page": "06", "open": ""})
    assert told["found"] == (
        "FD, a less b: 2 (95 % interval 1 to 3) by the extractor offline, 0.5 (1 to 3) by tissue, "
        "over 6 subjects and one training of each model; more than 0 was expected."
    )
    assert told["since"] == "Rule of 2 November 2026; tables of 21 November 2026 to 24 November 2026."


def test_the_effect_that_decides_is_told():
    effects = [{**FD, "verdict": "reproduced"}, {**FD, "name": "other", "verdict": "not reproduced"}]
    finding = claim("Y08", "not reproduced") | {"effects": effects}
    assert deciding(finding)["name"] == "other" and "1 more effect is behind" in found_words(finding, effects[1])
    assert deciding(finding | {"effects": []}) is None
    assert since_words(finding) == "Rule not on record yet; computed in this run."


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        ({"unit": "x 0.001", "rule": "< 0 x 0.001"}, "0.002 (95 % interval 0.001 to 0.003), over 6 subjects"),
        ({"unit": "dB", "rule": "> 0 dB, counts from 0.1"}, "more than 0 dB (counts from 0.1) was expected"),
        ({"rule": "within ±0.2"}, "within ±0.2 was expected"),
        ({"seeds": 3}, "over 6 subjects and 3 trainings of each model"),
        ({"value": None}, "FD, a less b: not measured, over 6 subjects and no trained model"),
        ({"n": 1}, "over 1 subject and"),
    ],
)
def test_numbers_and_rules_are_read_aloud(effect, says):
    found = FD | effect
    assert says in found_words(claim("Y08", "reproduced") | {"effects": [found]}, found)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({}, "no trained model"),
        ({"a": 1}, "one training of the model"),
        ({"a": 3, "b": 3}, "3 trainings of each model"),
        ({"a": 1, "b": 3}, "1 to 3 trainings of each model"),
    ],
)
def test_trainings_are_counted(found, says):
    assert trained_words(found) == says


def test_seeds_of_a_model_are_its_trainings(monkeypatch):
    models = ["systems/yoda", "variants/yoda-seed1", "variants/yoda-x4", "ablations/base-0", "ablations/base-1"]
    monkeypatch.setattr(origins, "index", lambda: {"one": {"weights": dict.fromkeys([*models, "features/a"], "")}})
    assert origins.trainings(["one"]) == {"systems/yoda": 2, "variants/yoda-x4": 1, "ablations/base": 2}


def test_the_page_has_a_part_for_each_verdict_that_was_reached(tmp_path):
    displayed = [claim("Y01", "reproduced"), claim("Y02", "inconclusive", open="more eyes")]
    assert [part["title"] for part in by_answer(displayed)] == ["Reproduced", "Inconclusive: not decided here yet"]
    shown = new_output("display_data", data={"text/html": "<p></p>", MIME: displayed})
    notebook = new_notebook(cells=[new_markdown_cell("# Of a"), new_code_cell("1", outputs=[shown])])
    write_site([Run("01_a", "01_a", "", "done", 1.0, {"seed": 0}, notebook)], tmp_path, 0)
    page = Page(tmp_path / "reproduces.html")
    assert TITLE in page.text and "What would decide it:</em> more eyes" in page.text
    assert {"href": "01_a.html#claim-Y02"} in page.all("a")
    assert "FD, a less b: 2 (95 % interval 1 to 3), over 6 subjects" in page.text


def test_a_finding_of_the_ledger_knows_its_dates_and_trainings():
    [finding] = find(["Y02"], study=Study())
    document = finding.document()
    assert set(document["made"]) == {"rician"} and document["made"]["rician"]["date"] and document["trainings"] == {}
    assert "no trained model" in sentences(document)["found"]
