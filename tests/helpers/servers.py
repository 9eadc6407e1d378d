"""Jupyter servers on loopback, each in a home of its own, gone with their kernels at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

LAB_SETTINGS = {
    "labconfig/page_config.json": {  # it would ask the network for updates
        "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}
    },
    "lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {
        "windowingMode": "none"  # else cells out of sight are not in the page
    },
}

# the open notebook, which must be named, is shown and has its kernel
READY = """name => {
    const panel = window.jupyterapp?.shell.currentWidget
    return panel?.context?.path === name && panel.isRevealed && panel.sessionContext.isReady
        && panel.sessionContext.session?.kernel?.status === 'idle'
}"""
# every code cell of the open notebook was executed, and the kernel has nothing left to do
ALL_RAN = """() => {
    const panel = jupyterapp.shell.currentWidget
    const code = panel.content.widgets.filter(cell => cell.model.type === 'code')
    return code.every(cell => cell.model.executionCount || !cell.model.sharedModel.source.trim())
        && panel.sessionContext.session.kernel.status === 'idle'
}"""


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[str]:
    """JupyterLab on loopback for as long as the context lasts, then it and its kernels are gone."""
    for name, settings in LAB_SETTINGS.items():
        path = home / "config" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={folder}",
    ]
    with run_server(command, home) as server:
        [record] = wait_for(lambda: list((home / "runtime").glob("jpserver-*.json")), server, home)
        told = wait_for(lambda: _json(record), server, home)
        yield f"{told['url']}lab?token={told['token']}"


def run_all(page: Page, url: str, notebook: Path, seconds: float = 300) -> None:
    """Open a notebook of the served folder in a page and wait until all its cells have run."""
    address, _, query = url.partition("?")
    page.goto(f"{address}/workspaces/{uuid.uuid4().hex}/tree/{notebook.name}?{query}")
    page.wait_for_function(READY, arg=notebook.name)
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(ALL_RAN, timeout=seconds * 1000)


@contextmanager
def run_server(command: list[str], home: Path) -> Iterator[subprocess.Popen]:
    """A Jupyter server with its own home, configuration and runtime folder; ended and reaped."""
    own = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
    with (
        open(home / "server.log", "wb") as log,
        subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log) as server,
    ):
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()  # its kernels end with it: they watch their parent


def wait_for(condition: Callable, server: subprocess.Popen, home: Path, seconds: float = 90):
    """The condition's first true value; fails with the server's log if it ends or takes too long."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if server.poll() is not None or time.monotonic() > end:
            pytest.fail("the server did not start:\n" + (home / "server.log").read_text()[-3000:])
        time.sleep(0.1)
    return found


def children(pid: int) -> list[str]:
    """The command lines of a process's living descendants, as ``/proc`` has them."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            found += [command, *children(int(child))]
    return [command for command in found if command]


def _json(path: Path):
    try:
        return json.loads(path.read_text())
    except ValueError:  # being written
        return None
