"""A classroom on loopback and its visitors: pages over HTTP, sliders over the kernel's websocket."""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from reports import code, write
from servers import answers, free_port, run_server, wait_for
from tornado.websocket import WebSocketClientConnection, websocket_connect

from yoda_nb.report.classroom import TOKEN, class_command
from yoda_nb.report.memory import tree_bytes

WORD = "open-sesame"  # the token
SLIDER = """\
import os
import ipywidgets as widgets
level, told = widgets.IntSlider(max=1000), widgets.HTML(value="level 0")
def tell(change):
    if change.new == 13:
        open("/srv/secret/place/scan.nii")
    told.value = f"level {change.new} in {os.getpid()}"
level.observe(tell, "value")
display(level, told)"""


class Stay(HTTPRedirectHandler):
    """Redirections are answers, not to be followed."""

    def redirect_request(self, *_):
        return None


OPENER = build_opener(Stay)


@contextmanager
def classroom(folder: Path, home: Path, *, token: str = WORD, **limits) -> Iterator[tuple[str, int]]:
    """The address of a classroom on loopback (it ends in a slash) and its process, as the command starts it."""
    port = free_port(home)
    command = class_command(folder, port, ip="127.0.0.1", **limits)
    with run_server(["env", f"{TOKEN}={token}", *command], home) as server:
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: answers(f"{url}?token={token}", server), server, home)
        yield url, server.pid


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer."""
    request = Request(url, data=body, method=method, headers=headers)
    try:
        with OPENER.open(request, timeout=300) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def write_slider(folder: Path, name: str = "slider") -> Path:
    """A notebook of one slider; its page tells of each move, and at 13 its kernel fails."""
    return write(folder, name, code(SLIDER))


@dataclass
class Visit:
    """A page of ``write_slider`` that was opened."""

    page: str
    kernel: str
    slider: str  # ids of its models
    told: str

    @classmethod
    def of(cls, page: str) -> Visit:
        (kernel,) = re.findall(r'"kernelId": "([\w-]+)"', page)
        slider, told = re.findall(r'"model_id": "(\w+)"', page)
        return cls(page, kernel, slider, told)


async def connect(url: str, kernel: str, token: str = WORD) -> WebSocketClientConnection:
    """The websocket of a kernel; tornado's HTTPClientError where it is refused."""
    query = f"session_id={uuid.uuid4().hex}" + (f"&token={token}" if token else "")
    return await websocket_connect(f"ws://{urlsplit(url).netloc}/api/kernels/{kernel}/channels?{query}")


async def send(socket: WebSocketClientConnection, kind: str, **content) -> None:
    """A message to the kernel's shell channel."""
    ids = {"msg_id": uuid.uuid4().hex, "session": uuid.uuid4().hex, "username": "", "version": "5.3", "date": ""}
    header = {**ids, "msg_type": kind}
    parts = {"parent_header": {}, "metadata": {}, "buffers": [], "channel": "shell"}
    await socket.write_message(json.dumps({"header": header, "content": content, **parts}))


async def move(socket: WebSocketClientConnection, visit: Visit, value: int) -> None:
    """Move the slider of a page, as a browser does."""
    state = {"method": "update", "state": {"value": value}, "buffer_paths": []}
    await send(socket, "comm_msg", comm_id=visit.slider, data=state)


async def listen(socket: WebSocketClientConnection, until: Callable[[dict], bool], seconds: float = 60) -> list[dict]:
    """The kernel's messages up to the first that is waited for; TimeoutError without it."""
    heard = []
    async with asyncio.timeout(seconds):
        while (message := await socket.read_message()) is not None:
            heard.append(json.loads(message))
            if until(heard[-1]):
                return heard
    raise ConnectionError("the server closed the connection")


def tells(visit: Visit) -> Callable[[dict], bool]:
    """Whether a message changes what a page says."""
    return lambda m: m["content"].get("comm_id") == visit.told and "value" in m["content"]["data"].get("state", {})


async def say_after(url: str, visit: Visit, value: int) -> str:
    """What a page says once its slider was moved."""
    socket = await connect(url, visit.kernel)
    await move(socket, visit, value)
    heard = await listen(socket, tells(visit), 300)
    socket.close()
    return heard[-1]["content"]["data"]["state"]["value"]


async def crowd(url: str, page: str, visitors: int) -> tuple[list[Visit], list[str], float, float]:
    """So many visitors open a page at once, then each moves to a value of his own.

    Gives the visits, what each page says then, and the seconds until all pages and until all moves were done.
    """
    started = time.monotonic()
    address = f"{url}voila/render/{page}?token={WORD}"
    opened = await asyncio.gather(*(asyncio.to_thread(ask, address) for _ in range(visitors)))
    assert {status for status, _ in opened} == {200}
    visits = [Visit.of(text) for _, text in opened]
    served = time.monotonic() - started
    said = await asyncio.gather(*(say_after(url, visit, 100 + k) for k, visit in enumerate(visits)))
    return visits, said, served, time.monotonic() - started - served


def memory_of(pid: int) -> float:
    """GiB of a server and its kernels, shared pages counted once."""
    return (tree_bytes(pid) or 0) / 2**30
