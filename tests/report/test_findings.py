"""What a report says beyond its notebooks: figures as files, the claims, a page for each subject."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode

import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from reports import OWN_PAGES, PIXEL, Page, code, write

from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.plots.base import FIGURE_MIME
from yoda_nb.report import Run, run_report
from yoda_nb.report.ledger import MIME, gather_claims, tally
from yoda_nb.report.site import write_site
from yoda_nb.report.tasks import plan

EFFECT = {"name": "SSIM", "value": 0.0681, "low": 0.06, "high": None, "unit": "", "p": 0.0005, "n": 12}
EFFECT |= {"test": "Wilcoxon", "rule": "> 0"}


def claim(name: str, verdict: str, **more) -> dict:
    return {"id": name, "claim": f"{name} <holds>", "where": "Fig. 1", "verdict": verdict, "effects": [EFFECT], **more}


def figure(name: str, csv: str | None = "x,y\n1,2\n") -> dict:
    html = f'<figure><img alt="A red dot" src="data:image/png;base64,{PIXEL}"></figure>'
    return {"text/html": html, FIGURE_MIME: {"name": name, "svg": "<svg/>", "png": PIXEL, "csv": csv}}


def executed(name: str, *displayed: dict, subject: str = "", status: str = "done") -> Run:
    """A run as if a kernel had displayed these objects, a cell each."""
    cells = [new_code_cell("1", outputs=[new_output("display_data", data=data)]) for data in displayed]
    notebook = new_notebook(cells=[new_markdown_cell(f"# Of {name}"), *cells])
    return Run(f"{name}--{subject}" if subject else name, name, subject, status, 1.0, {"seed": 0}, notebook)


def test_figures_become_files_beside_their_pages(tmp_path):
    runs = [executed("01_a", figure("one"), figure("two", None)), executed("02_b", figure("one"))]
    write_site(runs, tmp_path, 0)
    kept = {path.name: path for path in (tmp_path / "figures").iterdir()}
    stems = ("01_a-01-one", "01_a-02-two", "02_b-01-one")
    assert set(kept) == {f"{s}.{end}" for s in stems for end in ("svg", "png", "csv")} - {"01_a-02-two.csv"}
    assert kept["01_a-01-one.png"].read_bytes() == b64decode(PIXEL)
    assert kept["01_a-01-one.csv"].read_text() == "x,y\n1,2\n"
    page = Page(tmp_path / "01_a.html")
    links = [a["href"] for a in page.all("a") if a["href"].startswith("figures/")]
    assert len(links) == 5 and all((tmp_path / link).is_file() for link in links)
    assert "<svg/>" not in page.text
    nothing = runs[0].notebook.cells[1].outputs[0].data
    assert "figures/" not in nothing["text/html"], "the run itself is left alone"


def test_figures_and_pages_that_no_run_made_are_removed_and_nothing_else(tmp_path):
    runs = [executed("01_a", figure("one")), executed("02_b", figure("one"))]
    write_site(runs, tmp_path, 0)
    (tmp_path / "figures" / "mine.svg").write_text("a user's")
    (tmp_path / "mine.html").write_text("a user's")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01_a.ipynb").write_text("{}")
    write_site([executed("02_b", figure("other"))], tmp_path, 0)
    made = {f"02_b-01-other.{end}" for end in ("svg", "png", "csv")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"mine.svg", *made}
    assert {path.stem for path in tmp_path.glob("*.html")} == {"mine", "02_b", *OWN_PAGES}
    assert (tmp_path / "notebooks" / "01_a.ipynb").exists(), "a later report reuses it"


def test_the_ledger_is_gathered_counted_and_linked(tmp_path):
    runs = [
        executed("01_a", {"text/html": '<p id="claim-Y02">b</p>', MIME: [claim("Y02", "not reproduced", note="why")]}),
        executed(
            "02_b",
            {
                "text/html": "<p></p>",
                MIME: [claim("Y03", "inconclusive", open="more eyes"), claim("Y01", "reproduced")],
            },
        ),
    ]
    found = gather_claims(runs)
    assert [(f["id"], f["page"]) for f in found] == [("Y01", "02_b"), ("Y02", "01_a"), ("Y03", "02_b")]
    told = tally(found)
    assert told == "3 claims were put to the test: 1 reproduced, 1 not reproduced, 1 inconclusive."
    write_site(runs, tmp_path, 0)
    assert json.loads((tmp_path / "claims.json").read_text()) == found
    page = Page(tmp_path / "claims.html")
    assert {"href": "01_a.html#claim-Y02"} in page.all("a")
    for shown in ("✓ reproduced", "✗ not reproduced", "? inconclusive", "Y01 &lt;holds&gt;", "why", told):
        assert shown in page.text, shown
    assert "SSIM: 0.0681 [0.06, not finite] (n = 12, p = 0.0005, Wilcoxon, expected &gt; 0)" in page.text


def test_without_claims_there_is_no_ledger(tmp_path):
    write_site([executed("01_a")], tmp_path, 0)
    text = Page(tmp_path / "index.html").text
    assert "claims.html" not in text and "Verdicts" not in text
    assert "no claim to the test" in Page(tmp_path / "claims.html").text
    assert json.loads((tmp_path / "claims.json").read_text()) == []


def test_subjects_are_grouped_on_the_first_page(tmp_path):
    runs = [executed("01_a", subject=name) for name in ("sub-1", "sub-2")] + [executed("02_b")]
    write_site(runs, tmp_path, 0)
    text = Page(tmp_path / "index.html").text
    assert text.count('scope="rowgroup"') == 1 and text.count('<a href="01_a--sub-1.html">sub-1</a>') == 1


# --- the real thing, once

SHOWN = """\
# The figure
import matplotlib.pyplot as plt, pandas as pd
from yoda_nb.figures.plots import show_figure
fig, ax = plt.subplots(figsize=(2, 1))
ax.plot([1, 2])
show_figure(fig, alt="A line that rises", name="Noise law!", table=pd.DataFrame({"x": [1, 2]}))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subjects")
    shown = write(
        folder,
        "01_shown",
        new_markdown_cell("# What is *shown*?\n\n## Part"),
        code('subject = ""  # one subject\ndataset = "phantom"  # of the manifest', "parameters"),
        code(SHOWN),
        code("print('of', subject)"),
    )
    once = write(folder, "02_once", new_markdown_cell("# Once"), code("1"))
    subjects = ["sub-p1001", "sub-p1002", "sub-p1001"]
    result = run_report([shown, once], folder / "out", subjects=subjects, jobs=2)
    return folder / "out", result


def test_a_notebook_is_rendered_once_for_each_subject(report):
    out, result = report
    assert not result.failed
    assert [run.name for run in result.runs] == ["01_shown--sub-p1001", "01_shown--sub-p1002", "02_once"]
    text = Page(out / "01_shown--sub-p1002.html").text
    assert re.search("<title>What is shown\\? · sub-p1002", text) and "of sub-p1002" in text
    assert re.search("<h1.*>What is <em>shown</em>\\? · sub-p1002", text)
    assert "What is shown?</th>" in Page(out / "index.html").text


def test_a_figure_is_kept_as_svg_png_and_csv(report):
    out, _ = report
    stem = out / "figures" / "01_shown--sub-p1001-01-noise-law"
    svg = stem.with_suffix(".svg").read_text()
    assert "<svg" in svg and "yoda-nb" in svg and "A line that rises" in svg
    image = Image.open(stem.with_suffix(".png"))
    assert image.text["Software"].startswith("yoda-nb ") and image.text["Description"] == "A line that rises"
    assert round(image.info["dpi"][0]) == 200
    assert pd.read_csv(stem.with_suffix(".csv")).x.tolist() == [1, 2]
    twin = out / "figures" / "01_shown--sub-p1002-01-noise-law.svg"
    assert twin.read_text() == svg, "a figure's bytes do not depend on the clock"


def test_a_figure_outside_a_report_brings_no_files(monkeypatch):
    shown = []
    monkeypatch.delenv("YODA_NB_REPORT", raising=False)
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    fig = plots.plt.figure(figsize=(1, 1))
    plots.show_figure(fig, alt='A "wide" axis', caption="<b>", name="axis", table=pd.DataFrame({"x": [1]}))
    assert set(shown[0]) == {"text/html", "text/plain"} and "&quot;wide&quot;" in shown[0]["text/html"]
    assert "&lt;b&gt;" in shown[0]["text/html"] and not plots.plt.get_fignums()


def test_a_named_index_is_part_of_a_figures_table(monkeypatch):
    shown = []
    monkeypatch.setenv("YODA_NB_REPORT", "1")
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    table = pd.DataFrame({"y": [3.5]}, index=pd.Index(["DDIM 4"], name="sampler"))
    plots.show_figure(plots.plt.figure(figsize=(1, 1)), alt="Nothing", table=table)
    files = shown[0][FIGURE_MIME]
    assert files["name"] == "figure"
    assert pd.read_csv(io.StringIO(files["csv"])).to_dict("records") == [{"sampler": "DDIM 4", "y": 3.5}]


# --- what is refused


def test_a_task_for_each_subject_where_one_is_declared(tmp_path):
    one, other = tmp_path / "one.ipynb", tmp_path / "other.ipynb"
    values = {one: {"subject": "", "seed": 1}, other: {"seed": 1}}
    tasks = plan(values, ["sub-p1001", "sub-p1002"])
    assert [(task.name, task.source, task.parameters.get("subject")) for task in tasks] == [
        ("one--sub-p1001", one, "sub-p1001"),
        ("one--sub-p1002", one, "sub-p1002"),
        ("other", other, None),
    ]
    assert values[one]["subject"] == ""
    assert [task.name for task in plan(values)] == ["one", "other"]


@pytest.mark.parametrize(
    ("given", "subjects", "says"),
    [
        ({"seed": 1}, ["sub-p1001"], "no chosen notebook .one.ipynb. has a parameter 'subject'"),
        ({"subject": ""}, ["sub-p9"], "'sub-p9' is not a test subject of dataset 'phantom'.*sub-p1001"),
        ({"subject": ""}, ["sub-p0001"], "'sub-p0001' is not a test subject"),
        ({"subject": "", "dataset": "nowhere"}, ["sub-p1001"], "nowhere"),
        ({"subject": "sub-p1002"}, ["sub-p1001"], "subject is set to 'sub-p1002'"),
        ({"subject": "", "own_files": "T1w=a.nii"}, ["sub-p1001"], "own_files is set"),
    ],
)
def test_a_subject_that_cannot_be_is_refused(tmp_path, given, subjects, says):
    with pytest.raises(InputError, match=says):
        plan({tmp_path / "one.ipynb": given}, subjects)


def test_the_shell_takes_lists_with_commas(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from yoda_nb import cli, report

    asked = {}
    monkeypatch.setattr(report, "run_report", lambda paths, out, **given: asked.update(paths=paths, **given) or done)
    done = report.ReportResult(tmp_path, (), 0.0)
    words = ["report", "--notebooks", "01_data_and_noise, 02_sampling_methods", "-o", str(tmp_path)]
    words += ["--notebooks", "03_perception_distortion", "--subjects", "sub-p1001,sub-p1002"]
    shown = CliRunner().invoke(cli.app, words)
    assert shown.exit_code == 0, shown.output
    assert [path.stem[:2] for path in asked["paths"]] == ["01", "02", "03"]
    assert asked["subjects"] == ["sub-p1001", "sub-p1002"] and asked["jobs"] is None
