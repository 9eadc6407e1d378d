"""R20: notebooks in JupyterLab, as a student meets them: run all, restart, run again, leave."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell
from reports import alive, code, write
from servers import ALL_RAN, run_all, serving

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FIGURE = """\
import os
import matplotlib.pyplot as plt
from yoda_nb.figures.plots import show_figure
fig, ax = plt.subplots(figsize=(4, 3))
ax.plot([1, 4, 9])
show_figure(fig, alt="A curve that rises", caption="Squares.")
print("open figures:", len(plt.get_fignums()), "process:", os.getpid())"""
SLIDER = """\
import ipywidgets as widgets
level, told = widgets.IntSlider(description="level", max=10), widgets.Label("level 0")
level.observe(lambda change: setattr(told, "value", f"level {change.new}"), "value")
widgets.VBox([level, told])"""


def process_of(page) -> int:
    """The kernel's process, which the figure's cell has printed; and no figure has piled up."""
    [said] = page.get_by_text("open figures:").all_inner_texts()[-1:]
    assert "open figures: 0" in said
    return int(said.rsplit(":", 1)[1])


def test_run_all_move_restart_run_again_and_leave(browser, page, tmp_path):
    notebook = write(tmp_path, "small", new_markdown_cell("# Small\n\n$x^2$"), code(SLIDER), code(FIGURE))
    (tmp_path / "home").mkdir()
    with serving(tmp_path, tmp_path / "home") as url:
        run_all(page, url, notebook)
        picture = page.get_by_alt_text("A curve that rises")
        assert picture.bounding_box()["width"] > 200
        assert page.locator("mjx-container, math").first.bounding_box()["width"] > 5
        page.locator(".noUi-handle").press("ArrowRight")
        page.get_by_text("level 1", exact=True).wait_for()
        first = process_of(page)

        page.locator("[data-command='notebook:restart-run-all']").click()
        page.locator(".jp-Dialog .jp-mod-accept").click()
        page.get_by_text("level 0", exact=True).wait_for()
        page.wait_for_function(ALL_RAN)
        assert picture.bounding_box()["width"] > 200
        second = process_of(page)
        assert page.errors == []
    end = time.monotonic() + 20
    while (left := [pid for pid in (first, second) if alive(pid)]) and time.monotonic() < end:
        time.sleep(0.2)
    assert first != second and not left, "kernels outlive their server"


def test_a_notebook_of_the_paper_runs(run_in_lab, tmp_path):
    """The first one in its smallest setting: every picture described, no error of ours."""
    notebook = nbformat.read(NOTEBOOKS / "01_data_and_noise.ipynb", 4)
    [given] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    given.source = given.source.replace('profile = "quick"', 'profile = "tiny"')
    nbformat.write(notebook, tmp_path / "01.ipynb")
    page = run_in_lab(tmp_path / "01.ipynb")
    assert page.locator(".jp-OutputArea-output [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    pictures = page.locator(".jp-OutputArea-output figure img").all()
    assert len(pictures) >= 3 and all(len(picture.get_attribute("alt")) > 15 for picture in pictures)
    assert page.errors == []
