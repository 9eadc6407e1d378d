"""Jupyter servers on loopback, each in a home of its own, gone with their kernels at the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from playwright.sync_api import Page

TRIES = 3  # ports
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
    """JupyterLab on loopback for as long as the context lasts, then it and its kernels are gone.

    It has a port of its own and a token that nobody else knows, and it is there once it answers to
    that token over HTTP: a record of it, or an open port, could be another server's.
    """
    for name, settings in LAB_SETTINGS.items():
        path = home / "config" / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    token = uuid.uuid4().hex
    for attempt in range(TRIES):
        port = free_port(home)
        command = [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}",
            "--LabApp.expose_app_in_browser=True",
            f"--ServerApp.root_dir={folder}",
        ]
        with run_server(command, home) as server:
            url = f"http://127.0.0.1:{port}/"
            if not answers(f"{url}api/status?token={token}", server) and attempt + 1 < TRIES:
                continue  # another program took the port between our asking and the server's
            wait_for(lambda url=url: answers(f"{url}api/status?token={token}", server), server, home)
            yield f"{url}lab?token={token}"
            return


def free_port(home: Path) -> int:
    """A port of loopback that is free now, and that no test of this run has been given before.

    ``home`` is a folder that pytest made for the server.

    The system hands out a port again soon after it was closed; a lock and a list that all workers share
    keep two of them from holding one.
    """
    shared = home.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else home.parent  # by all workers
    given = shared / "ports"
    with FileLock(shared / "ports.lock"):
        taken = given.read_text().split() if given.exists() else []
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if str(port) not in taken:
                given.write_text(" ".join([*taken, str(port)]))
                return port


def answers(url: str, server: subprocess.Popen, seconds: float = 120) -> bool:
    """Whether a server answers to a GET with success before it ends or the time is up."""
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        try:
            with urlopen(url, timeout=10) as answer:
                return answer.status == 200
        except OSError:  # not listening yet, busy, or (403) not ours
            time.sleep(0.2)
    return False


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
