"""Every notebook keeps the house rules, and runs in its smallest setting without a network."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from yoda_nb.images.volumes import save_image
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.report import read_parameters, run_report
from yoda_nb.report.pages import NO_ALT
from yoda_nb.study.checks import STRICT

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 20  # lines; about 15 is the aim


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def headings(cells: list) -> dict[str, int]:
    """Where each second heading stands."""
    return {
        match[1].strip(): index
        for index, cell in enumerate(cells)
        if cell.cell_type == "markdown"
        for match in re.finditer(r"^## +(.+)$", cell.source, re.MULTILINE)
    }


each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_notebooks_of_yoda_are_there():
    numbers = {path.stem[:2] for path in NOTEBOOKS}
    assert {f"{n:02d}" for n in range(1, 13)} <= numbers
    assert any(tagged(read(path), "headline") for path in NOTEBOOKS)


@each_notebook
def test_a_notebook_is_stored_without_outputs(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata and "papermill" not in notebook.metadata


@each_notebook
def test_cells_come_in_the_agreed_order(path):
    cells = read(path).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert cells[0].cell_type == "markdown" and re.match(r"# .+", cells[0].source)
    assert "?" in cells[0].source, "the first cell asks the question"
    assert "parameters" in code[0].metadata.get("tags", ()), "parameters before any other code"
    imports = code[1].source.lstrip()
    assert re.match(r"(#.*\n)*(import|from) ", imports), "the imports come after the parameters"

    check, attempt = headings(cells)["Check"], headings(cells)["Try"]
    assert check < attempt, "Check comes before Try"
    assert any("<details>" in cell.source for cell in cells[attempt:]), "a folded answer"
    tries = [cell.source for cell in cells[attempt:] if cell.cell_type == "code"]
    assert any("check_answer(" in source and "answer = None" in source for source in tries), "an answer checks itself"
    for cell in code:
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


@each_notebook
def test_a_notebook_checks_what_it_says_in_its_smallest_setting_too(path):
    cells = read(path).cells
    between = cells[headings(cells)["Check"] : headings(cells)["Try"]]
    trees = [ast.parse(cell.source) for cell in between if cell.cell_type == "code"]
    assert any(asserts(tree.body) for tree in trees), "an assert or study.check outside of 'if profile != \"tiny\"'"
    whole = "".join(cell.source for cell in cells)
    assert "all(f.effects" not in whole, "that claims have effects says nothing of the effects"
    assert whole.count("claims.check_findings(") == whole.count("claims.find("), "findings are checked"


@each_notebook
def test_a_notebook_says_from_where_its_tables_are(path):
    whole = "".join(cell.source for cell in read(path).cells if cell.cell_type == "code")
    shown = set(re.findall(r'ledger\.table\("([^"]+)"\)', whole))
    told = {name for names in re.findall(r"basis\(([^()]*)\)", whole) for name in re.findall(r'"([^"]+)"', names)}
    assert shown <= told, "pass evidence=basis(...) to the figure of a table, or print it below"
    assert "Study(profile)" not in whole, "verdicts are of Study.of_run(profile, seed, device)"


def asserts(body: list[ast.stmt]) -> bool:
    """Whether statements hold an assert or a ``study.check`` that also runs in the profile "tiny"."""
    for node in body:
        if isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and "study.check(" in ast.unparse(node)):
            return True
        large = isinstance(node, ast.If) and "profile != 'tiny'" in ast.unparse(node.test)
        inner = [] if large else getattr(node, "body", [])
        if asserts([*inner, *getattr(node, "orelse", [])]):
            return True
    return False


@each_notebook
def test_there_is_one_parameters_cell_and_it_explains_itself(path):
    assert len(tagged(read(path), "parameters")) == 1
    parameters = {parameter.name: parameter for parameter in read_parameters(path)}
    assert {"profile", "seed"} <= parameters.keys()
    assert parameters["profile"].default == "quick"
    assert all(parameter.help for parameter in parameters.values()), "a comment on every line"


class Images(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.found: list[dict] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


@each_notebook
def test_a_notebook_runs_in_its_smallest_setting(path, tmp_path, monkeypatch):
    """And what it expects to find is found: these are the project's own phantoms."""
    monkeypatch.setenv(STRICT, "1")
    result = run_report([path], tmp_path / "report", profile="tiny")
    (run,) = result.runs
    assert run.status == "done", run.error
    page = (tmp_path / "report" / f"{path.stem}.html").read_text(encoding="utf-8")
    images = Images(page).found
    assert images, "a notebook shows a figure"
    for image in images:
        assert image["src"].startswith("data:image/")
        assert len(image.get("alt", "")) > 15 and image["alt"] != NO_ALT, "describe the figure"
    assert len(page) < 8e6, "a page is at most 8 MB"
    assert "<math" in page or "$" not in "".join(cell.source for cell in read(path).cells)


def test_own_scans_that_disagree_show_a_cross_and_fail_no_page(tmp_path, monkeypatch):
    """An own FLAIR without noise: noise brings nothing nearer to it, and a claim about noisy scans finds no support."""
    v = phantom_case(5, sigma=0.0)
    for k, contrast in enumerate(v.sources):
        save_image(v.source[k : k + 1], v, tmp_path / f"{contrast}.nii.gz")
    save_image(v.clean, v, tmp_path / "FLAIR.nii.gz")
    own = ",".join(f"{contrast}={tmp_path / contrast}.nii.gz" for contrast in (*v.sources, "FLAIR"))
    (path,) = (path for path in NOTEBOOKS if path.stem == "03_perception_distortion")
    monkeypatch.delenv(STRICT, raising=False)
    (run,) = run_report([path], tmp_path / "out", profile="tiny", parameters={"own_files": own}).runs
    assert run.status == "done", run.error
    assert "✗ Not found in this run: " in (tmp_path / "out" / f"{path.stem}.html").read_text(encoding="utf-8")


def test_a_wrong_parameter_ends_the_command_before_a_kernel_starts(tmp_path):
    command = [sys.executable, "-c", "from yoda_nb.cli import app; app()", "report"]
    command += ["--notebooks", str(NOTEBOOKS[0]), "--set", "sead=1", "-o", str(tmp_path / "out")]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert shown.returncode != 0
    assert "sead" in shown.stderr and "Traceback" not in shown.stderr
    assert not (tmp_path / "out").exists()
