"""``make class``: the notebooks as pages whose controls are alive, a kernel a visitor."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from servers import children, free_port, run_server, wait_for

ROOT = Path(__file__).parents[2]
WIDGET = """\
import os
import ipywidgets as widgets
level = widgets.IntSlider(description="level", max=10)
told = widgets.HTML(value=f"level 0, threads {os.environ['OMP_NUM_THREADS']}")
level.observe(lambda change: setattr(told, "value", f"level {change.new}"), "value")
display(level, told)"""


@pytest.fixture
def classroom(tmp_path):
    """A classroom with one small notebook, started by the Makefile's own line: address, what opens it, process."""
    folder, home = tmp_path / "notebooks", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    cells = [new_markdown_cell("# Small\n\n$x^2$"), new_code_cell(WIDGET)]
    nbformat.write(new_notebook(cells=cells), folder / "small.ipynb")
    port = free_port(home)
    command = [
        "make",
        "--silent",
        f"--directory={ROOT}",
        "--assume-old=.venv/.installed",
        "class",
        f"BIN={Path(sys.executable).parent}",
        f"ARGS=--folder {folder} --port {port}",
    ]
    with run_server(command, home) as server:
        pattern = rf"Tell the class: http://\S+:{port}/(\?token=[0-9a-f]{{12}}) \(Ctrl-C"
        said = wait_for(lambda: re.search(pattern, (home / "server.log").read_text()), server, home)
        wait_for(lambda: reachable(port), server, home)
        yield f"http://127.0.0.1:{port}/", said[1], server


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_each_student_moves_a_slider_of_his_own(classroom, browser, page):
    url, token, server = classroom
    page.goto(url)
    page.get_by_text("needs the whole address").wait_for()
    page.errors.clear()  # the browser notes that it was refused
    page.goto(url + token)
    page.get_by_text("small.ipynb").wait_for()
    page.goto(f"{url}voila/render/small.ipynb")  # a cookie remembers the token
    page.get_by_text("level 0, threads 1").wait_for()
    assert not page.get_by_text("import ipywidgets").count(), "sources are stripped"
    assert page.locator("mjx-container, math").first.bounding_box()["width"] > 5
    page.locator(".noUi-handle").press("ArrowRight")
    page.get_by_text("level 1", exact=True).wait_for()

    other = browser.new_page()
    other.goto(f"{url}voila/render/small.ipynb{token}")
    other.get_by_text("level 0, threads 1").wait_for()
    kernels = [line for line in children(server.pid) if "visitor_kernel.py" in line]
    assert len(kernels) == 2
    other.close()

    # Voilà's own style sheet asks for icons that the notebooks do not use; nothing else goes out.
    beyond = [address for address in page.requests_seen if not address.startswith(url)]
    assert all(re.search("font-?awesome", address) for address in beyond), beyond
    assert [error for error in page.errors if "ERR_NAME_NOT_RESOLVED" not in error] == []
