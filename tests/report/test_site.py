"""The site: pages that need nothing but themselves, described, readable, with provenance."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from reports import OWN_PAGES, PARAMETERS, PIXEL, Page, assert_self_contained, code, write

from yoda_nb.report import run_report
from yoda_nb.report.pages import NO_ALT, math_html, outputs_html, render_page

FIGURE = f"""\
# The figure
from IPython.display import display
html = '<figure><img alt="A red dot" src="data:image/png;base64,{PIXEL}"></figure>'
display({{"text/html": html, "image/png": "{PIXEL}", "text/plain": "<Figure>"}}, raw=True)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Three notebooks, the second of which fails; run once for the tests below."""
    folder = tmp_path_factory.mktemp("site")
    count = f"open({str(folder / 'count')!r}, 'a').write('x')"
    first = write(
        folder,
        "01_first",
        new_markdown_cell(
            "# Is $x$ *noise*?\n\n$$\\frac{a}{b}$$\n\n\\begin{aligned} a &= b \\\\ c &= d"
            "\\end{aligned}\n\n| a | b |\n|---|---|\n| $\\sigma$ | 1 |\n\n## One\n\n## Two"
        ),
        code(PARAMETERS, "parameters"),
        code(FIGURE, "headline"),
        code("print('headline table', seed, sigma)", "headline"),
        code("import ipywidgets\nipywidgets.IntSlider(description='dangling')"),
        code("import sys\nprint('&<&'); print('to stderr', file=sys.stderr)"),
        code(count),
        code("import os\nassert os.environ['YODA_NB_REPORT'] == '1' and seed == 5"),
    )
    second = write(
        folder,
        "02_second",
        new_markdown_cell("# Fails"),
        code("seed = 1  # of everything", "parameters"),
        code("print('before')"),
        code("raise ValueError('a <b> problem')"),
        code("print('never')"),
    )
    third = write(folder, "03_third", new_markdown_cell("# Last"), code("2 + 2"))
    lines: list[str] = []
    result = run_report(
        [first, second, third], folder / "out", parameters={"seed": 5}, profile="tiny", jobs=2, progress=lines.append
    )
    return folder, result, lines


def test_a_failing_notebook_is_named_and_stops_no_other(site):
    folder, result, lines = site
    assert [run.status for run in result.runs] == ["done", "failed", "done"]
    (failed,) = result.failed
    assert failed.error == "cell 4: ValueError: a <b> problem"
    assert any("02_second: FAILED at cell 4" in line for line in lines)
    page = Page(folder / "out" / "02_second.html")
    assert "a &lt;b&gt; problem" in page.text and "before" in page.text
    assert "papermill-error" not in page.text
    assert "02_second" in Page(result.index).text.split("A red dot")[0].split("</header>")[1]


def test_pages_ask_for_nothing_and_describe_every_image(site):
    folder, _, _ = site
    pages = sorted((folder / "out").glob("*.html"))
    assert [p.stem for p in pages] == ["01_first", "02_second", "03_third", *sorted(OWN_PAGES)]
    for path in pages:
        page = Page(path)
        assert_self_contained(page)
        assert all(image["alt"] not in ("", NO_ALT) for image in page.all("img"))
        for name in ("html", "main", "h1", "nav", "header", "footer", "title"):
            assert page.all(name), (path.name, name)
        assert len(page.all("h1")) == len(page.all("main")) == 1
        assert page.all("html")[0]["lang"] == "en"
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        for link in page.all("a"):
            target = link["href"]
            if target.startswith("#"):
                assert target[1:] in ids
            else:
                assert (folder / "out" / target).exists(), target


def test_equations_are_drawn_without_a_script(site):
    page = Page(site[0] / "out" / "01_first.html")
    assert len(page.all("math")) == 4 and page.all("mfrac") and page.all("mtable")
    assert "$$" not in page.text
    assert page.all("math")[0]["alttext"] == "x"


def test_code_is_folded_and_widgets_leave_no_husk(site):
    page = Page(site[0] / "out" / "01_first.html")
    folded = [d for d in page.all("details") if d.get("class") == "code"]
    assert len(folded) == 8 and not any("open" in d for d in folded)  # 7 cells and the injected
    assert "The figure</summary>" in page.text
    shown = re.sub(r"<details.*?</details>", "", page.text, flags=re.DOTALL)
    assert "dangling" not in shown and "widget" not in shown
    assert "&amp;&lt;&amp;" in shown and 'class="stderr"' in shown


def test_the_index_has_one_figure_status_and_a_link_to_its_provenance(site):
    folder, result, _ = site
    text = Page(result.index).text
    assert text.index("A red dot") < text.index("Notebooks</h2>")
    assert text.count("<img") == 1 and "headline table 5 0.5" not in text, "one picture, no table"
    for needed in ("✓ executed", "✗ failed", "peak memory", 'href="made.html"'):
        assert needed in text, needed
    made = Page(folder / "out" / "made.html").text
    for needed in ("Seed", "Machine", "Commit", "torch&nbsp;", "sigma", "Peak memory", "GiB"):
        assert needed in made, needed


def test_a_second_report_repeats_only_what_failed(site):
    folder, _, _ = site
    notebooks = sorted(folder.glob("*.ipynb"))
    stored = (folder / "out/notebooks/01_first.ipynb").read_bytes()

    def again(**parameters):
        result = run_report(notebooks, folder / "out", parameters=parameters, profile="tiny", jobs=2)
        return [run.status for run in result.runs]

    assert again(seed=5) == ["reused", "failed", "reused"]
    assert (folder / "count").read_text() == "x"
    assert (folder / "out/notebooks/01_first.ipynb").read_bytes() == stored
    changed = nbformat.read(notebooks[1], 4)
    changed.cells[3].source = "print('mended')"
    nbformat.write(changed, notebooks[1])
    (folder / "out/notebooks/03_third.ipynb").write_bytes(b'{"cut')
    assert again(seed=5) == ["reused", "done", "done"]
    assert {path.name for path in (folder / "out").rglob(".*")} <= {".lock"}


@pytest.mark.parametrize("tex", [r"\frac", "x^", r"\left( x", r"\begin{nope} x", "<b>", '"', "&"])
def test_equations_that_cannot_be_read_stay_harmless(tex):
    html = math_html(tex, block=False)
    assert "<b>" not in html and html.startswith(("<math", "<code"))


def test_outputs_show_their_richest_static_form():
    def shown(**data):
        output = new_output("display_data", data={k.replace("__", "/"): v for k, v in data.items()})
        return outputs_html(new_code_cell(outputs=[output]))

    widget = {"application__vnd.jupyter.widget-view+json": {"model_id": "1"}}
    assert shown(**widget, text__plain="IntSlider(value=0)") == ""
    assert "<b>twin</b>" in shown(**widget, text__html="<b>twin</b>")
    assert f'alt="{NO_ALT}"' in shown(image__png=PIXEL)
    assert 'tabindex="0"' in shown(text__html="<table><tr><td>1</td></tr></table>")
    assert "<math" in shown(text__latex=r"$\displaystyle \alpha$")
    assert "<strong>b</strong>" in shown(text__markdown="a **b**")
    assert shown(text__plain="\x1b[31m<i>\x1b[0m") == "<pre>&lt;i&gt;</pre>"
    assert shown(application__javascript="alert(1)") == ""


def test_text_that_is_no_utf8_is_escaped_on_a_page():
    page = render_page(
        "plain.html.j2", titles={}, pages=[], has_claims=False, here="reproduces", title="caf\udce9", answers=[],
        papers=[], tally=[], legend=[], verdicts=[], share="", warnings=[],
    )  # fmt: skip
    assert b"caf\\udce9" in page
