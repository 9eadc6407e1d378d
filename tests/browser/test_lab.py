"""R20: notebooks in JupyterLab, driven as a student would."""

from __future__ import annotations

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def test_x(run_in_lab, tmp_path):
    nb = new_notebook(cells=[new_markdown_cell("# S"), new_code_cell("import ipywidgets as w\nw.IntSlider(description='level')"), new_code_cell("import time; time.sleep(1); print('ran', 6*7)")], metadata={"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}})
    nbformat.write(nb, tmp_path / "small.ipynb")
    page = run_in_lab(tmp_path / "small.ipynb")
    assert "ran 42" in page.locator(".jp-OutputArea-output").last.inner_text()
    page.screenshot(path="/tmp/lab2.png")
    assert page.errors == []
