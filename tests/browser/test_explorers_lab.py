"""Explorers in JupyterLab: the kernel and the page agree, and re-running leaves nothing behind."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from yoda_nb.systems import get_system

MADE = """\
import torch, ipywidgets
from yoda_nb import study
from yoda_nb.figures import explorers
from yoda_nb.figures.explorers import runner
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems import get_system
v = phantom_case(1, spacing=6.0, shape=(32, 32, 32))
steps = [{"t": t, "s": t - 10, "view": 0, "noise_level": t / 30, "x": v.clean, "x0": x, "mask": v.mask}
         for t, x in ((29, -v.clean), (19, v.clean), (9, v.target))]
made = explorers.trajectory(steps)
def count():
    return sum(isinstance(w, explorers.widget.Front) for w in ipywidgets.Widget.widgets.values())"""
SHOW = 'made.show(alt="Three steps.", caption="Scrub.")\nprint("live:", count())'
LIVE = """\
import time, pandas
def samples(volume, system, *, seed, device, on_step, **settings):
    for i in range(get_system(system, **settings).n_steps):
        time.sleep(0.1)
        on_step(i, (0, -1), None, None)
    return volume.clean[None]
study.samples = samples
runner.perceptual_table = lambda v, images: pandas.DataFrame({"fd": [float(len(images))] * len(images)})
explorers.live(v).show(alt="The plane.")"""
STATE = """\
front = next(w for w in ipywidgets.Widget.widgets.values() if isinstance(w, explorers.widget.Front))
print("step", front.state["step"])
front.state = {"step": 99, "view": 0}"""
PICTURE = "form => [...form.querySelectorAll('canvas')].filter(c => c.clientWidth).map(c => c.toDataURL()).join()"


@pytest.fixture
def notebook(tmp_path):
    cells = [new_markdown_cell("# Explorers"), *map(new_code_cell, (MADE, SHOW, LIVE, STATE))]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "explorers.ipynb")
    return tmp_path / "explorers.ipynb"


def run_cell(page, index: int) -> str:
    """Run one cell again; the text it prints."""
    return page.evaluate(
        """async index => {
            const panel = jupyterapp.shell.currentWidget
            panel.content.activeCellIndex = index
            await jupyterapp.commands.execute('notebook:run-cell')
            const outputs = panel.content.widgets[index].model.outputs.toJSON()
            return outputs.map(o => [].concat(o.text ?? o.evalue ?? '').join('')).join('')
        }""",
        index,
    )


def test_explorers_live_in_a_notebook(run_in_lab, notebook):
    page = run_in_lab(notebook)
    here, live = page.locator("form.yx").nth(0), page.locator("form.yx").nth(1)
    live.wait_for()
    step, before = here.locator("input[name=step]"), here.evaluate(PICTURE)
    assert step.input_value() == "2" and here.get_by_role("radio", name="sagittal").is_checked(), (
        "set and clamped from Python"
    )

    step.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert step.input_value() == "1" and here.evaluate(PICTURE) != before
    assert "step 1" in run_cell(page, 4), "the kernel knows what the reader did"
    page.wait_for_function("() => document.querySelector('input[name=step]').value === '2'")

    for _ in range(2):
        assert "live: 2" in run_cell(page, 2), "this explorer and the live one, none of earlier runs"
    page.wait_for_function("() => document.querySelectorAll('form.yx').length === 2")

    page.get_by_label("System").select_option("yoda-ddim")
    own = get_system("yoda-ddim").n_steps  # the kernel's answer would overwrite what is typed before it comes
    page.wait_for_function(
        "([input, own]) => input.value === own", arg=[page.get_by_label("Steps").element_handle(), str(own)]
    )
    page.get_by_label("Steps").fill("40")
    page.get_by_label("Steps").press("Tab")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text(re.compile(r"step \d+ of 40")).wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("Cancelled at step").wait_for()
    page.get_by_label("Steps").fill("2")
    page.get_by_label("Steps").press("Tab")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("form.yx").nth(1).get_by_role("radio", name="DDIM, 2 steps, seed 0").wait_for()
    live = page.locator("form.yx").nth(1)
    assert live.locator("select[name=sampler] option:checked").inner_text() == "DDIM, 2 steps, seed 0"

    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel().then(() => true)")
    for index in (1, 2):
        told = run_cell(page, index)
    assert "live: 1" in told
    page.locator("form.yx").first.locator("input[name=step]").press("End")
    assert page.errors == []
