"""The report: strict parameters, resumable runs, pages that need nothing but themselves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from yoda_nb.report import provenance, read_parameters, resolve_parameters, run_report
from yoda_nb.report.pages import NO_ALT, math_html, outputs_html
from yoda_nb.volumes import InputError

PIXEL = (  # a red dot as PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PARAMETERS = """\
profile = "tiny"  # tiny, quick or full
seed = 0  # of everything random
sigma = 0.5  # noise level
flag = False  # a switch
subject = None  # one subject, or all
n_ex = [1, 4]  # averages"""


def code(source: str, *tags: str):
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def write(folder: Path, name: str, *cells) -> Path:
    nbformat.write(new_notebook(cells=list(cells)), folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def declared(tmp_path) -> Path:
    return write(tmp_path, "declared", code(PARAMETERS, "parameters"))


# --- parameters


def test_a_parameters_cell_is_read_with_its_help(declared):
    parameters = {p.name: p for p in read_parameters(declared)}
    assert list(parameters) == ["profile", "seed", "sigma", "flag", "subject", "n_ex"]
    assert parameters["n_ex"].default == [1, 4] and parameters["n_ex"].help == "averages"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("seed", 3, 3),
        ("seed", "3", 3),
        ("seed", "-3", -3),
        ("sigma", "1", 1.0),
        ("sigma", 2, 2.0),
        ("flag", "true", True),
        ("flag", False, False),
        ("subject", "007", "007"),
        ("subject", "none", None),
        ("profile", "full", "full"),
        ("n_ex", "1,2", [1, 2]),
        ("n_ex", "8", [8]),
        ("n_ex", "[1, 2]", [1, 2]),
        ("n_ex", (1, 2), [1, 2]),
    ],
)
def test_a_given_value_takes_the_parameter_type(declared, name, given, value):
    resolved = resolve_parameters([declared], {name: given})[declared]
    assert resolved[name] == value and type(resolved[name]) is type(value)
    assert set(resolved) == {"profile", "seed", "sigma", "flag", "subject", "n_ex"}


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("seed", "3.5", "whole number"),
        ("seed", True, "whole number"),
        ("seed", "three", "whole number"),
        ("sigma", "nan", "a number"),
        ("sigma", float("inf"), "a number"),
        ("flag", 1, "true or false"),
        ("flag", "yes", "true or false"),
        ("subject", 7, "text or None"),
        ("profile", "fast", "tiny, quick, full"),
        ("n_ex", "a,b", "a list, each item a whole number"),
    ],
)
def test_an_ill_typed_value_is_refused(declared, name, given, allowed):
    with pytest.raises(InputError, match=f"declared.ipynb.*{name}.*{allowed}"):
        resolve_parameters([declared], {name: given})


def test_a_parameter_must_be_known_by_one_notebook_at_least(declared, tmp_path):
    other = write(tmp_path, "other", code("steps = 10  # evaluations", "parameters"))
    resolved = resolve_parameters([declared, other], {"steps": 20}, profile="quick")
    assert resolved[other] == {"steps": 20}
    assert resolved[declared]["profile"] == "quick" and "steps" not in resolved[declared]
    with pytest.raises(InputError, match=r"'sed'.*did you mean 'seed'"):
        resolve_parameters([declared, other], {"sed": 1})


@pytest.mark.parametrize(
    "source",
    [
        "a = 1\nb = a + 1",
        "import os",
        "a: int = 1",
        "a = b = 1",
        "a, b = 1, 2",
        "a = {1: 2}",
        "a = [None]",
        "a = (",
        "a = 1\na = 2",
        "print(1)",
    ],
)
def test_a_parameters_cell_holds_plain_literals_only(tmp_path, source):
    with pytest.raises(InputError, match=r"bad\.ipynb: the parameters cell"):
        read_parameters(write(tmp_path, "bad", code(source, "parameters")))


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "text.ipynb").write_text("not json")
    (tmp_path / "list.ipynb").write_text("[]")
    for name in ("text.ipynb", "list.ipynb", "missing.ipynb", ""):
        with pytest.raises(InputError, match=str(tmp_path / name)):
            read_parameters(tmp_path / name)
    two = write(tmp_path, "two", code("a = 1", "parameters"), code("b = 1", "parameters"))
    with pytest.raises(InputError, match="2 cells are tagged"):
        read_parameters(two)


def test_nothing_starts_and_nothing_is_written_after_a_bad_parameter(
    declared, tmp_path, monkeypatch
):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    for wrong in ({"sed": 1}, {"seed": "x"}):
        with pytest.raises(InputError):
            run_report([declared], tmp_path / "out", parameters=wrong)
    for wrong in ({"jobs": 0}, {"profile": "slow"}):
        with pytest.raises(InputError):
            run_report([declared], tmp_path / "out", **wrong)
    with pytest.raises(InputError):
        run_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- execution and pages


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict]] = []
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def assert_self_contained(page: Page):
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
        assert tag not in ("script", "iframe", "object", "embed"), tag
    style = "".join(re.findall(r"<style.*?</style>", page.text, re.DOTALL))
    assert "url(" not in style and "@import" not in style
    (policy,) = [m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy["content"].startswith("default-src 'none'")


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
        [first, second, third],
        folder / "out",
        parameters={"seed": 5},
        profile="tiny",
        jobs=2,
        progress=lines.append,
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
    assert "02_second" in Page(result.index).text.split("In short")[0]


def test_pages_ask_for_nothing_and_describe_every_image(site):
    folder, _, _ = site
    pages = sorted((folder / "out").glob("*.html"))
    assert [p.name for p in pages] == [
        "01_first.html",
        "02_second.html",
        "03_third.html",
        "index.html",
    ]
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


def test_the_index_has_headlines_status_and_provenance(site):
    _, result, _ = site
    text = Page(result.index).text
    figure, table = text.index("A red dot"), text.index("headline table 5 0.5")
    assert figure < table < text.index("Notebooks</h2>")
    for needed in ("✓ executed", "✗ failed", "Seed", "Machine", "Commit", "torch&nbsp;", "sigma"):
        assert needed in text, needed


def test_a_second_report_repeats_only_what_failed(site):
    folder, _, _ = site
    notebooks = sorted(folder.glob("*.ipynb"))
    stored = (folder / "out/notebooks/01_first.ipynb").read_bytes()

    def again(**parameters):
        result = run_report(
            notebooks, folder / "out", parameters=parameters, profile="tiny", jobs=2
        )
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


def test_a_fingerprint_covers_what_decides_a_result(declared, tmp_path, monkeypatch):
    data = tmp_path / "t1.nii.gz"
    data.write_bytes(b"one")
    values = {"seed": 0, "path": str(data)}
    marks = {provenance.fingerprint(declared, values)}
    assert provenance.fingerprint(declared, dict(reversed(values.items()))) in marks
    marks.add(provenance.fingerprint(declared, {**values, "seed": 1}))
    data.write_bytes(b"other")
    marks.add(provenance.fingerprint(declared, values))
    declared.write_bytes(declared.read_bytes() + b"\n")
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "0"})
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "package_hash", lambda: "changed")
    marks.add(provenance.fingerprint(declared, values))
    assert len(marks) == 6


def test_a_killed_report_resumes_and_leaves_no_kernel(tmp_path, monkeypatch):
    """R10, R11: after SIGKILL nothing is partial, no process stays, finished work is kept."""
    quick = write(tmp_path, "01_quick", code(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"))
    slow = write(
        tmp_path,
        "02_slow",
        code(
            "import os, pathlib, time\n"
            f"flag = pathlib.Path({str(tmp_path / 'pid')!r})\n"
            "if not flag.exists():\n"
            "    flag.write_text(str(os.getpid()))\n"
            "    time.sleep(120)"
        ),
    )
    out = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path; from yoda_nb.report import provenance, run_report\n"
        "provenance.package_hash = lambda: 'fixed'\n"
        "run_report([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]))"
    )
    monkeypatch.setattr(provenance, "package_hash", lambda: "fixed")
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(out), str(quick), str(slow)], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 90)
    (out / f".{'0' * 32}-index.html").write_bytes(b"half")
    with pytest.raises(InputError, match="another report is being written"):
        run_report([quick], out)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    kernel = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(kernel), 30)
    assert not (out / "index.html").exists()

    result = run_report([quick, slow], out)
    assert [run.status for run in result.runs] == ["reused", "done"]
    assert (tmp_path / "ran").read_text() == "x"
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        "01_quick.html",
        "02_slow.html",
        "index.html",
        "notebooks",
    }


def wait_for(condition, seconds: float):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_dead_kernel_is_a_failure_with_a_reason(tmp_path):
    notebook = write(
        tmp_path, "dies", code("1"), code("import os, signal\nos.kill(os.getpid(), 9)")
    )
    (run,) = run_report([notebook], tmp_path / "out").runs
    assert run.status == "failed" and re.match("cell [12]: the kernel died", run.error)


def test_a_folder_that_cannot_hold_a_report(tmp_path):
    notebook = write(tmp_path, "one", code("1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written there"):
        run_report([notebook], tmp_path / "file")
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another report"):
        run_report([notebook], tmp_path)
    with pytest.raises(InputError, match="rename one"):
        run_report([notebook, notebook], tmp_path / "out")


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


def test_colours_of_the_pages_can_be_read():
    """WCAG AA: every text colour has a contrast of 4.5:1 with both grounds, light and dark."""
    css = (Path(provenance.__file__).parents[1] / "templates" / "style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in css.split("@media (prefers-color-scheme: dark)")
    )
    assert light.keys() == dark.keys()
    for colours in (light, dark):
        for text in colours.keys() - {"page", "panel", "line", "bad-page"}:
            for ground in ("page", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["ink"], colours["bad-page"]) >= 4.5
        assert contrast(colours["link"], colours["bad-page"]) >= 4.5


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)
