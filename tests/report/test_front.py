"""The first page: one figure, findings with their numbers, the map of verdicts, the explorer, the notebooks."""

from __future__ import annotations

import json
import re

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reports import PIXEL, Page

from yoda_nb.figures.explorers.page import MIME as EXPLORER
from yoda_nb.figures.plots.base import FIGURE_MIME
from yoda_nb.report import Run
from yoda_nb.report.front import front_explorer, front_figure, question
from yoda_nb.report.ledger import MIME, by_paper, distinct, share
from yoda_nb.report.site import write_site
from yoda_nb.report.story import sentences
from yoda_papers.ledger import Study, find

FOREIGN = "These verdicts are not of this run's seed 7: they are of the ledger's phantoms, profile quick, seed 0."
BASIS = "Shipped evidence (samplers): CPU of tests, commit abc, 2026-01-05."


def effect(name: str, value: float | None, low: float | None, high: float | None, unit: str = "") -> dict:
    return {"name": name, "value": value, "low": low, "high": high, "unit": unit, "n": 6, "rule": "> 0"}


def claim(name: str, verdict: str = "reproduced", *effects: dict, page: str = "01_a", **more) -> dict:
    words = {
        "claim": f"{name} <holds>",
        "paper": "yoda",
        "title": "YODA",
        "effects": list(effects),
        "shipped": [],
        "basis": "",
    }
    return {"page": page, "id": name, "verdict": verdict, **words, **more}


Y03 = claim(
    "Y03",
    "reproduced",
    effect("SSIM, regression less diffusion", 0.0478, 0.045, 0.0506),
    effect("PSNR, regression less diffusion", 2.15, 2.03, 2.28, "dB"),
    basis=BASIS,
    shipped=["samplers"],
)


def executed(name: str, *cells: tuple[str, dict], title: str = "", subject: str = "") -> Run:
    """A run of cells (tag, displayed data) as if a kernel had displayed these."""
    notebook = new_notebook(cells=[new_markdown_cell(title or f"# Of {name}\n\n**Is it so?**")])
    notebook.cells += [
        new_code_cell("1", metadata={"tags": [tag] if tag else []}, outputs=[new_output("display_data", data=data)])
        for tag, data in cells
    ]
    return Run(f"{name}--{subject}" if subject else name, name, subject, "done", 1.0, {"seed": 0}, notebook)


def picture(alt: str, caption: str = "") -> dict:
    html = f'<figure><img alt="{alt}" src="data:image/png;base64,{PIXEL}"><figcaption>{caption}</figcaption></figure>'
    return {"text/html": html, FIGURE_MIME: {"name": "one", "svg": "<svg/>", "png": PIXEL, "csv": None}}


def explorer(title: str) -> dict:
    spec = {"title": title, "caption": "", "note": ""}
    return {"text/html": f"<figure>{title}</figure>", EXPLORER: {"spec": spec, "frames": {}}}


def shown(*found: dict) -> dict:
    html = "".join(f'<p id="claim-{finding["id"]}">x</p>' for finding in found)
    return {"text/html": html, MIME: [{k: v for k, v in finding.items() if k != "page"} for finding in found]}


# --- one figure, one explorer, a question


def test_the_figure_is_the_papers_where_it_is_in_the_report():
    first = executed("01_a", ("headline", {"text/html": "<table></table>"}), ("headline", picture("first")))
    second = executed("02_sampling_methods", ("", picture("no")), ("headline", picture("second")))
    assert "second" in front_figure([first, second])["html"]
    found = front_figure([first])
    assert "first" in found["html"] and found["run"] is first, "else the first picture that is tagged"
    assert front_figure([executed("01_a", ("", picture("untagged")))]) is None


def test_the_explorer_is_the_plane_of_its_notebook():
    plane, live = explorer("the plane"), explorer("live")
    runs = [executed("02_b", ("", live)), executed("03_perception_distortion", ("", plane), ("", live))]
    found = front_explorer(runs)
    assert "the plane" in found["html"] and "data-yx-spec" in found["html"] and found["run"] is runs[1]
    assert front_explorer(runs[:1]) is None


def test_a_notebook_asks_its_first_bold_words():
    one = executed("01_a", title="# One\n\n**Does $x$ do\n*more*?** And **what**?")
    assert re.fullmatch(r"Does <math .*</math> do <em>more</em>\?", question(one.notebook))
    assert question(executed("01_a", title="# Nothing bold").notebook) == ""
    assert question(new_notebook()) == "" == question(new_notebook(cells=[new_code_cell("'**no**'")]))


# --- three sentences


def test_a_sentence_has_its_numbers_and_words_that_fit_them():
    [told] = sentences([Y03])
    text = re.sub("<.*?>", "", told["html"])
    assert "0.0478 [0.045, 0.0506] higher in SSIM and 2.15 dB [2.03, 2.28] higher in PSNR" in text
    assert told["claims"] == [Y03] and told["n"] == [6]
    worse = claim(
        "Y03",
        "not reproduced",
        effect("SSIM, regression less diffusion", -0.2, -0.3, -0.1),
        effect("PSNR, regression less diffusion", 0.1, -0.3, 0.4, "dB"),
    )
    text = re.sub("<.*?>", "", sentences([worse])[0]["html"])
    assert "0.2 [0.1, 0.3] lower in SSIM and 0.1 dB [-0.3, 0.4] higher (zero is not excluded) in PSNR" in text


def test_a_sentence_without_its_number_is_not_told():
    assert sentences([]) == []
    assert sentences([claim("Y03"), claim("Y07"), claim("K01", "reproduced", effect("SSIM", 1, 0, 2))]) == []
    unmeasured = claim("Y03", "inconclusive", effect("SSIM, regression less diffusion", None, None, None))
    assert sentences([unmeasured]) == []


def test_the_ledger_has_the_numbers_of_all_three_sentences():
    found = [f.document() | {"page": "p"} for f in find(["Y03", "Y07", "Y08", "Y24", "Y25"], study=Study())]
    told = sentences(found)
    assert [[c["id"] for c in t["claims"]] for t in told] == [["Y03"], ["Y07", "Y08"], ["Y24", "Y25"]]
    assert [len(re.findall(r"<strong>-?[\d.]+", t["html"])) for t in told] == [2, 2, 2]


# --- the map


def test_the_map_has_a_linked_cell_for_each_claim(tmp_path):
    found = [
        claim("Y01", "reproduced", basis=BASIS, shipped=["samplers"]),
        claim("Y02", "not reproduced"),
        claim("B01", "inconclusive", paper="bridge", title="Brownian bridge"),
        claim("X01", "reproduced", paper="other", title="One's own paper"),
    ]
    runs = [executed("01_a", ("", shown(*found[:3]))), executed("02_b", ("", shown(found[3], found[0])))]
    write_site(runs, tmp_path, 0)
    page = Page(tmp_path / "index.html")
    cells = [a for a in page.all("a") if a.get("class", "").startswith("cell")]
    assert [(c["href"], c["class"]) for c in cells] == [
        ("01_a.html#claim-Y01", "cell yes"),
        ("01_a.html#claim-Y02", "cell no"),
        ("01_a.html#claim-B01", "cell open"),
        ("02_b.html#claim-X01", "cell yes"),
    ]
    assert cells[0]["aria-label"] == "Y01 ✓ reproduced: Y01 <holds>" and BASIS in cells[0]["title"]
    assert [re.search(rf">({name} .)</a>", page.text)[1] for name in ("Y02", "B01")] == ["Y02 ✗", "B01 ?"]
    papers = re.findall(r'<h3 id="paper-\d">(.*?)</h3>', page.text)
    assert papers[0].startswith("YODA") and papers[1].startswith("Brownian") and papers[2] == "One&#39;s own paper"
    assert "4 claims were put to the test" in page.text and "✓ 2 reproduced" in page.text
    rows = [a["href"] for a in Page(tmp_path / "claims.html").all("a") if "#claim-" in a["href"]]
    assert rows == [c["href"] for c in cells]
    rows = [a["href"][-3:] for a in Page(tmp_path / "reproduces.html").all("a") if "#claim-" in a["href"]]
    assert rows == ["X01", "Y01", "Y02", "B01"], "in plain words by verdict"
    assert BASIS in (tmp_path / "claims.html").read_text(), "beside its verdict"
    assert len(json.loads((tmp_path / "claims.json").read_text())) == 5, "every page's finding"


def test_a_claim_that_several_subjects_show_is_one_cell_unless_they_differ():
    same = [claim("Y01", page="a--s1"), claim("Y01", page="a--s2")]
    assert [f["page"] for f in distinct(same)] == ["a--s1"]
    differ = [*same, claim("Y01", "inconclusive", page="a--s3")]
    assert [c["page"] for c in by_paper(differ)[0]["claims"]] == ["a--s1", "a--s3"]


# --- what rests on what


def test_the_share_of_shipped_evidence_is_told():
    about = {
        "samplers": {"machine": "CPU of tests", "commit": "abc", "date": "2026-01-05"},
        "lesions": {"machine": "CPU of tests", "commit": "def", "date": "2026-02-01"},
    }
    found = [
        claim("Y01", shipped=["samplers"], made={"samplers": about["samplers"]}),
        claim("Y02", shipped=["lesions"], made={"lesions": about["lesions"]}),
        claim("Y03"),
    ]
    runs = [executed("01_a", ("", picture("x", BASIS)), ("", picture("y", "Computed in this run.")))]
    assert share(found, runs).startswith(
        "2 of 3 verdicts and 1 of 2 figures rest on evidence computed before and shipped "
        "(CPU of tests; commits abc, def; 2026-01-05 to 2026-02-01), as each says beside it"
    )
    assert share([], runs).startswith("1 of 2 figures rests on evidence computed before and shipped, as")
    assert share([claim("Y03")], []) == "None of the 1 verdict rests on shipped evidence."
    assert share([], []) == ""


def test_what_is_not_of_this_run_is_labelled_wherever_it_is_shown(tmp_path):
    foreign = {**Y03, "not_of_this_run": FOREIGN}
    write_site([executed("01_a", ("", shown(foreign, claim("Y04"))))], tmp_path, 0)
    index, claims = ((tmp_path / f"{name}.html").read_text() for name in ("index", "claims"))
    told = FOREIGN.replace("'", "&#39;")
    assert f"{told} (1 of 2 verdicts.)" in index and f"{told} (1 of 2 verdicts.)" in claims
    findings, verdicts = index.split('id="verdicts"')
    assert told in findings, "beside the sentence"
    assert re.search(rf'title="Y03 [^"]*{re.escape(told)}"', verdicts), "in its cell"
    assert claims.count(told) == 2, "above the table and in its row"


def test_a_lessons_link_to_the_glossary_leads_to_its_page(tmp_path):
    write_site([executed("01_a", title="# A\n\n[words](glossary.md), [elsewhere](https://example.org)")], tmp_path, 0)
    page = (tmp_path / "01_a.html").read_text(encoding="utf-8")
    assert 'href="glossary.html">words<' in page and 'href="https://example.org"' in page
    glossary = (tmp_path / "glossary.html").read_text(encoding="utf-8")
    assert "<h1>Glossary</h1>" in glossary and "<td>slab</td>" in glossary
