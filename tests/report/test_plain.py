"""The page in plain words: what reproduces, what does not, what cannot be tested here."""

from __future__ import annotations

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reports import Page

from yoda_nb.report import Run
from yoda_nb.report.ledger import MIME
from yoda_nb.report.plain import TITLE, by_answer, deciding, found_words, sentences, since_words
from yoda_nb.report.site import write_site
from yoda_papers.ledger import Study, find, origins

FD = {"name": "FD, a less b", "value": 2.0, "low": 1.0, "high": 3.0, "unit": "", "n": 6, "seeds": 0, "rule": "> 0"}


def claim(name: str, verdict: str, **more) -> dict:
    return {"id": name, "claim": f"{name} holds", "where": "Fig. 1", "verdict": verdict, "effects": [FD], **more}


def test_the_effect_that_decides_is_told():
    effects = [{**FD, "verdict": "reproduced"}, {**FD, "name": "other", "verdict": "not reproduced"}]
    finding = claim("Y08", "not reproduced") | {"effects": effects}
    assert deciding(finding)["name"] == "other" and "1 more effect is behind" in found_words(finding, effects[1])
    assert deciding(finding | {"effects": []}) is None
    assert since_words(finding) == "Rule not on record yet; computed in this run."


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
