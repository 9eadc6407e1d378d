"""R19: a report opened from disk in a browser that may read nothing but the disk."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from all_findings import findings
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from reports import code, write

from yoda_nb import phantom_case
from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.figures import explorers, plots
from yoda_nb.report import Run, run_report
from yoda_nb.report.front import EXPLORER_OF, FIGURE_OF
from yoda_nb.report.pages import NO_ALT
from yoda_nb.report.site import write_site
from yoda_papers.ledger import show_findings

PROSE = """\
# Is $x$ *noise*?

An equation in a line, $\\sigma^2$, and one of its own:

$$\\mathrm{FD} = \\lVert \\mu_1 - \\mu_2 \\rVert^2 + \\frac{1}{\\sqrt{N}} \\sum_{i=1}^N \\hat{X}_i$$

| word | means |
|---|---|
| $\\hat\\sigma$ | noise |

## Body"""
FIGURE = """\
import matplotlib.pyplot as plt, pandas as pd
from yoda_nb.figures.plots import show_figure
fig, ax = plt.subplots(figsize=(5, 3))
ax.plot([1, 4, 9], marker="o")
show_figure(fig, alt="A curve that rises ever faster", caption="Squares.", name="squares",
            table=pd.DataFrame({"y": [1, 4, 9]}))"""
CLAIM = """\
from IPython.display import display
effect = {"name": "SSIM", "value": 0.07, "low": 0.06, "high": 0.08, "n": 12, "rule": "> 0"}
claim = {"id": "Y03", "claim": "ExpA nears regression", "verdict": "reproduced", "effects": [effect]}
display({"text/html": '<div id="claim-Y03"><p>Y03 reproduced</p></div>',
         "application/vnd.yoda-nb.claims+json": [claim]}, raw=True)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A report of two small notebooks, the second of which fails."""
    folder = tmp_path_factory.mktemp("site")
    first = write(
        folder,
        "01_first",
        new_markdown_cell(PROSE),
        code('profile = "quick"  # how much\nseed = 0  # of everything', "parameters"),
        code(FIGURE, "headline"),
        code("import pandas as pd\npd.DataFrame({'sampler': ['DDIM'], 'ssim': [0.9]})"),
        code("import ipywidgets\nipywidgets.IntSlider(description='level')"),
        code(CLAIM),
        new_markdown_cell("## Try\n\n<details><summary>Answer</summary>\n\nIt is $1/\\sqrt{N}$.\n\n</details>"),
    )
    second = write(folder, "02_second", new_markdown_cell("# Fails"), code("raise ValueError('no')"))
    run_report([first, second], folder / "out", jobs=2)
    return folder / "out"


# pandas leaves the corner of its tables empty, as print does
RULES = {"rules": {"empty-table-header": {"enabled": False}}}
PAGES = ("index.html", "01_first.html", "02_second.html", "reproduces.html", "claims.html", "made.html")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_asks_for_nothing(site, open_blocked, name):
    page = open_blocked(site / name)
    page.wait_for_load_state("networkidle")
    assert page.requests_seen == [] and page.errors == []
    assert (site / name).stat().st_size < 5e6


def test_equations_are_drawn(site, open_blocked):
    page = open_blocked(site / "01_first.html")
    page.locator("summary", has_text="Answer").click()
    equations = page.locator("math")
    assert equations.count() == 5  # in the title, a line, a block, a table and the answer
    for equation in equations.all():
        assert equation.get_attribute("alttext") and equation.bounding_box()["width"] > 5
    block, line = page.locator("math[display=block]").bounding_box(), equations.nth(1).bounding_box()
    assert block["width"] > 200 and block["height"] > 1.5 * line["height"]
    fraction = page.locator("mfrac").first.bounding_box()
    assert fraction["height"] > 1.5 * page.locator("mfrac mn").first.bounding_box()["height"], "not in one line"
    assert "$" not in page.locator("article").inner_text().replace("$YODA", "")


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("name", PAGES[:2])
def test_pictures_are_seen_and_described_with_and_without_a_script(site, open_blocked, name, javascript):
    page = open_blocked(site / name, java_script_enabled=javascript)
    [picture] = page.locator("img").all()
    assert picture.get_attribute("alt") == "A curve that rises ever faster" != NO_ALT
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box["width"] > 300 and box["height"] > 200 and picture.is_visible()
    assert page.get_by_text("Squares.", exact=True).is_visible()


def test_links_lead_somewhere(site, open_blocked):
    page = open_blocked(site / "index.html")
    page.get_by_role("link", name="Y03 ✓ reproduced: ExpA nears regression").click()
    assert page.url.endswith("01_first.html#claim-Y03")
    page.goto((site / "claims.html").as_uri())
    page.get_by_role("link", name="Y03").click()
    assert page.url.endswith("01_first.html#claim-Y03")
    assert page.locator("#claim-Y03").is_visible()
    for kind in ("SVG", "PNG", "CSV"):
        link = page.get_by_role("link", name=kind).get_attribute("href")
        assert (site / link).stat().st_size > 0
    page.goto((site / link.replace(".csv", ".svg")).as_uri())
    assert page.locator("svg").bounding_box()["width"] > 200


def test_the_keyboard_reaches_all_there_is(site, open_blocked):
    page = open_blocked(site / "01_first.html")
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    assert skip.evaluate("link => link === document.activeElement") and skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    folded = page.locator("details.code").first
    folded.locator("summary").focus()
    page.keyboard.press("Space")
    assert folded.get_attribute("open") is not None


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_narrow_screen(site, open_blocked, name):
    page = open_blocked(site / name, viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_to_object_to(site, open_blocked, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_blocked(site / name, color_scheme=scheme)
    for folded in page.locator("details").all():
        folded.evaluate("details => details.open = true")
    found = Axe().run(page, options=RULES).response["violations"]
    assert [(rule["id"], rule["impact"], rule["nodes"][0]["html"][:200]) for rule in found] == []


# --- the first page of a report of all notebooks


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The site of a report of all notebooks, as they ask and with the ledger's verdicts, without executing them."""
    folder = tmp_path_factory.mktemp("whole")
    shown = {FIGURE_OF: [_figure()], EXPLORER_OF: [_plane()]}
    runs = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        own = [f for f in findings() if f.claim.notebook == path.stem]
        displayed = [*shown.get(path.stem, []), *_displayed(lambda own=own: show_findings(own))]
        cells = [
            new_code_cell("1", metadata={"tags": ["headline"]}, outputs=[new_output("display_data", data=data)])
            for data in displayed
        ]
        notebook = new_notebook(cells=[nbformat.read(path, 4).cells[0], *cells])
        runs.append(Run(path.stem, path.stem, "", "done", 100.0, {"seed": 0}, notebook))
    write_site(runs, folder, 0, 4 * 2**30)
    return folder


def _displayed(show) -> list[dict]:
    """What a function shows in a report, as data by MIME type."""
    found: list[dict] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YODA_NB_REPORT", "1")
        patch.setattr("IPython.display.display", lambda data, **_: found.append(data))
        show()
    return found


def _figure() -> dict:
    """A figure of the size that notebook 2 opens with."""
    case = phantom_case(0)
    images = {"truth": case.clean} | {f"sampler {k}": case.target for k in range(5)}
    figure = plots.comparison(images, case.clean, reference_name="noise-free truth")
    caption = "FLAIR of sub-p1001 by each sampler. " + "What can be seen in it is told in two sentences. " * 3
    [data] = _displayed(lambda: plots.show_figure(figure, alt="Six images", caption=caption, name="one"))
    return data


def _plane() -> dict:
    """The explorer of notebook 3."""
    case = phantom_case(0)
    names = ["regression", "noised 1", "DDIM 8", "DDIM 16", "ExpA 4", "diffusion"]
    rows = [
        {"sampler": n, "ssim": 0.9 - k / 100, "psnr": 26.0, "fd": 9.0 - k, "kd": 1.0, "noise": 0.02}
        for k, n in enumerate(names)
    ]
    images = {name: case.target for name in names} | {"truth": case.clean}
    shown = explorers.tradeoff(pd.DataFrame(rows), images, case.mask, reference="truth")
    [data] = _displayed(lambda: shown.show(alt="The plane", caption="Image and error of the chosen sampler."))
    return data


def test_the_first_page_is_read_in_three_screens(whole, open_blocked):
    page = open_blocked(whole / "index.html", viewport={"width": 1300, "height": 1000})
    page.locator(".yx canvas").first.wait_for()
    assert page.locator(".findings li").count() == 3
    assert page.evaluate("document.documentElement.scrollHeight") <= 3000
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300


def test_each_claim_has_a_cell_that_leads_to_it(whole, open_blocked):
    page = open_blocked(whole / "index.html")
    claims = [finding.claim for finding in findings()]
    cells = page.locator(".map a.cell")
    found = {cell.inner_text().split()[0]: cell for cell in cells.all()}
    assert found.keys() == {claim.id for claim in claims} and cells.count() == len(claims)
    for claim in claims:
        cell = found[claim.id]
        assert cell.get_attribute("href") == f"{claim.notebook}.html#claim-{claim.id}"
        assert claim.claim in cell.get_attribute("aria-label") and claim.claim in cell.get_attribute("title")
        box = cell.bounding_box()
        assert min(box["width"], box["height"]) >= 24, "large enough to hit"
    found["Y03"].click()
    assert page.locator("#claim-Y03").is_visible()


def test_the_plane_is_live_on_the_first_page_and_a_picture_without_a_script(whole, open_blocked):
    page = open_blocked(whole / "index.html")
    page.locator(".yx select").first.select_option("diffusion")
    page.locator(".yx-readouts", has_text="0.85").wait_for()
    assert page.requests_seen == [] and page.errors == []
    still = open_blocked(whole / "index.html", java_script_enabled=False)
    picture = still.get_by_alt_text("The plane")
    picture.scroll_into_view_if_needed()
    assert picture.bounding_box()["height"] > 200 and still.locator(".yx").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "claims.html"])
def test_axe_finds_nothing_in_a_whole_report(whole, open_blocked, name, scheme):
    test_axe_finds_nothing_to_object_to(whole, open_blocked, name, scheme)


@pytest.mark.parametrize("name", ["index.html", "claims.html", "made.html"])
def test_a_whole_report_fits_a_narrow_screen(whole, open_blocked, name):
    test_a_page_fits_a_narrow_screen(whole, open_blocked, name)
