"""What a class may do on the teacher's machine, asked of a running server over HTTP and websockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from reports import code, write
from tornado.httpclient import HTTPClientError
from visitors import WORD, Visit, ask, classroom, connect, crowd, listen, memory_of, move, send, tells, write_slider

from yoda_nb.report import class_server
from yoda_nb.report import classroom as commands

T = TypeVar("T")
BROKEN = """\
import warnings
warnings.warn("old")
open("/srv/secret/place/scan.nii")"""
REFUSES = """\
from yoda_nb.errors import InputError
raise InputError("/srv/secret/place/scan.nii does not exist: name a file that does.")"""
HUNGRY = "x = bytearray(3 * 2**30)"
SLOW = "import time\ntime.sleep(600)"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A classroom with notebooks of every kind; a kernel may take 1 GiB."""
    folder, home = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("home")
    write_slider(folder)
    for name, source in (("broken", BROKEN), ("refuses", REFUSES), ("hungry", HUNGRY)):
        write(folder, name, code(source), code("print('afterwards')"))
    (folder / "dot.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("the teacher's")
    with classroom(folder, home, memory=1) as (url, pid):
        yield url, pid, folder, home


@pytest.fixture(scope="module")
def visit(room):
    """The slider's page, opened with the token."""
    status, page = ask(f"{room[0]}voila/render/slider.ipynb?token={WORD}")
    assert status == 200
    return Visit.of(page)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: Playwright's loop runs in this one for as long as its browser lives."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def with_token(address: str) -> str:
    return f"{address}?token={WORD}"


def test_the_variable_of_the_token_is_the_same_in_both_programs():
    assert class_server.TOKEN == commands.TOKEN


@pytest.mark.parametrize(
    "path",
    ["", "voila/tree/", "voila/render/slider.ipynb", "voila/static/voila.js", "voila/files/dot.png",
     "voila/templates/lab/static/voila.js", "api/kernels/{kernel}"],
)  # fmt: skip
def test_no_page_file_or_kernel_without_the_token(room, visit, path):
    address = room[0] + path.format(kernel=visit.kernel)
    for wrong in (address, f"{address}?token=wrong", f"{address}?token="):
        assert ask(wrong) == (403, class_server.SENTENCES[403]), wrong
    status, said = ask(with_token(address))
    assert status == 200 and said
    assert ask(address, Authorization=f"token {WORD}")[0] == 200


def test_what_changes_something_needs_the_token_too(room, visit):
    url = room[0]
    for method, path in (("DELETE", f"api/kernels/{visit.kernel}"), ("POST", f"voila/api/shutdown/{visit.kernel}")):
        assert ask(url + path, method, b"" if method == "POST" else None)[0] == 403
    assert ask(with_token(f"{url}api/kernels/{visit.kernel}"))[0] == 200, "it lives"


def test_the_kernels_websocket_opens_with_the_token_alone(room, visit):
    async def tries() -> str:
        for wrong in ("", "wrong"):
            with pytest.raises(HTTPClientError, match="403"):
                await connect(room[0], visit.kernel, wrong)
        socket = await connect(room[0], visit.kernel)
        await move(socket, visit, 5)
        return (await listen(socket, tells(visit)))[-1]["content"]["data"]["state"]["value"]

    assert run(tries()).startswith("level 5 in ")


def test_a_visitor_runs_no_code(room, visit, tmp_path):
    trace = tmp_path / "trace"

    async def tries() -> None:
        socket = await connect(room[0], visit.kernel)
        await send(socket, "execute_request", code=f"open({str(trace)!r}, 'w')", silent=False, allow_stdin=False)
        await send(socket, "inspect_request", code="open", cursor_pos=4, detail_level=0)
        await move(socket, visit, 6)
        heard = await listen(socket, tells(visit))
        assert not {"execute_reply", "inspect_reply"} & {message["header"]["msg_type"] for message in heard}

    run(tries())
    assert not trace.exists()


def test_no_upload_no_terminal_and_no_listing_of_files(room, visit):
    url, _, folder, _ = room
    before = sorted(path.name for path in folder.rglob("*"))
    for path in ("api/contents", "voila/api/contents", "api/terminals", "terminals/websocket/1", "api/kernels",
                 "api/sessions", "files/notes.txt", "lab", "edit/notes.txt", "login", "logout"):  # fmt: skip
        assert ask(with_token(url + path))[0] == 404, path
        assert ask(with_token(f"{url}{path}/new.txt"), "PUT", b"mine")[0] in (404, 405), path
        assert ask(with_token(url + path), "POST", b"{}")[0] in (404, 405), path
    for path in ("voila/files/new.png", "voila/render/new.ipynb", "voila/tree/new"):
        assert ask(with_token(url + path), "PUT", b"mine")[0] == 405
        assert ask(with_token(url + path), "POST", b"mine")[0] == 405
    assert sorted(path.name for path in folder.rglob("*")) == before

    async def upload() -> None:
        socket = await connect(url, visit.kernel)
        await send(socket, "comm_msg", comm_id=visit.slider, data={"method": "update", "file": "x" * 2**20})
        while await socket.read_message() is not None:  # what was on its way before the server hung up
            pass

    run(asyncio.wait_for(upload(), 30))


@pytest.mark.parametrize(
    "path", ["notes.txt", "slider.ipynb", "../../etc/passwd.png", "%2e%2e/x.png", "/etc/hostname.png"]
)
def test_only_pictures_beside_the_notebooks_are_handed_out(room, path):
    status, said = ask(with_token(f"{room[0]}voila/files/{path}"))
    assert status in (403, 404) and "teacher's" not in said


def test_an_error_of_the_server_is_a_sentence(room):
    url, _, folder, home = room
    for path in ("voila/render/nothing.ipynb", "voila/tree/nothing", "voila/files/nothing.png",
                 "voila/api/shutdown/nothing", "api/kernels/1-2-3-4-5", "voila/templates/x", "voila/static/%00"):  # fmt: skip
        method = "POST" if "shutdown" in path else "GET"
        status, said = ask(with_token(url + path), method, b"" if method == "POST" else None)
        assert status >= 400 and "\n" not in said and said.endswith("."), (path, said)
        assert_no_place(said, folder, home)


@pytest.mark.parametrize(
    ("name", "said"),
    [("broken", "FileNotFoundError: [Errno 2] No such file or directory: \\u0027scan.nii\\u0027"),
     ("refuses", '"scan.nii does not exist: name a file that does."'),
     ("hungry", "This page has used up its memory: reload it and choose something smaller.")],
)  # fmt: skip
def test_a_notebook_that_fails_says_why_and_not_where(room, name, said):
    url, _, folder, home = room
    status, page = ask(with_token(f"{url}voila/render/{name}.ipynb"))
    assert status == 200 and said in page and "afterwards" not in page
    assert "The page ends here: reload it, or tell the teacher." in page
    assert "Traceback" not in page and "UserWarning" not in page
    assert_no_place(page, folder, home)
    assert "Traceback" in (home / "server.log").read_text(), "the teacher sees where"


def test_a_control_that_fails_says_why_and_not_where(room, visit):
    async def tries() -> list[dict]:
        socket = await connect(room[0], visit.kernel)
        await move(socket, visit, 13)
        await move(socket, visit, 14)
        return await listen(socket, tells(visit))

    heard = run(tries())
    failed = [message["content"] for message in heard if message["header"]["msg_type"] == "error"]
    assert [error["evalue"] for error in failed] == [
        "FileNotFoundError: [Errno 2] No such file or directory: 'scan.nii'"
    ]
    text = str(heard)
    assert "level 14 in" in text and "Traceback" not in text
    assert_no_place(text, room[2], room[3])


def assert_no_place(text: str, *places: Path) -> None:
    for place in ("/srv/secret", "site-packages", "visitor_kernel", *map(str, places)):
        assert place not in text, place


def test_five_visitors_at_once_each_see_their_own(room):
    """The short form of ``bench_class.py``."""
    url, pid, *_ = room
    visits, said, *_ = run(crowd(url, "slider.ipynb", 5))
    assert len({visit.kernel for visit in visits}) == 5
    assert [told.split(" in ")[0] for told in said] == [f"level {100 + k}" for k in range(5)]
    assert len({told.split(" in ")[1] for told in said}) == 5, "a process each"
    assert 0 < memory_of(pid) < 4


def test_a_class_has_so_many_visits_and_one_that_ends_makes_room(tmp_path):
    (tmp_path / "home").mkdir()
    write_slider(tmp_path)
    with classroom(tmp_path, tmp_path / "home", visits=1) as (url, _):
        page = with_token(f"{url}voila/render/slider.ipynb")
        first = Visit.of(ask(page)[1])
        assert ask(page) == (503, class_server.SENTENCES[503])
        assert ask(with_token(f"{url}voila/api/shutdown/{first.kernel}"), "POST", b"")[0] == 204
        assert Visit.of(ask(page)[1]).kernel != first.kernel


def test_a_visit_ends_after_its_time_even_at_work(tmp_path):
    (tmp_path / "home").mkdir()
    write(tmp_path, "slow", code(SLOW), code("print('afterwards')"))
    with classroom(tmp_path, tmp_path / "home", minutes=0.1) as (url, _):
        started = time.monotonic()
        status, page = ask(with_token(f"{url}voila/render/slow.ipynb"))
        assert status == 200 and "The page ends here" in page and "afterwards" not in page
        assert 5 < time.monotonic() - started < 120
        kernel = page.partition('"kernelId": "')[2].partition('"')[0]
        assert ask(with_token(f"{url}api/kernels/{kernel}"))[0] == 404


def test_a_page_that_was_left_without_a_word_is_ended_when_idle(tmp_path):
    (tmp_path / "home").mkdir()
    write_slider(tmp_path)
    with classroom(tmp_path, tmp_path / "home", idle=0.05) as (url, _):
        kernel = Visit.of(ask(with_token(f"{url}voila/render/slider.ipynb"))[1]).kernel
        end = time.monotonic() + 60
        while ask(with_token(f"{url}api/kernels/{kernel}"))[0] != 404:
            assert time.monotonic() < end
            time.sleep(0.5)


def test_this_machine_alone_needs_no_token_but_its_own_name(tmp_path):
    (tmp_path / "home").mkdir()
    write_slider(tmp_path)
    with classroom(tmp_path, tmp_path / "home", token="") as (url, _):
        assert ask(url)[0] == 200
        assert ask(url, Host="elsewhere.example")[0] == 403, "a name that another site gave to loopback"


def test_a_cookie_lasts(room):
    browser = build_opener(HTTPCookieProcessor(CookieJar()))
    assert browser.open(with_token(room[0])).status == 200
    assert browser.open(f"{room[0]}voila/tree/").status == 200


def test_kernels_are_not_told_the_token(room, visit):
    (kernel,) = [process for process in Path("/proc").glob("[0-9]*") if visit.kernel in command_of(process)]
    assert commands.TOKEN not in (kernel / "environ").read_bytes().decode(errors="replace")


def command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:  # it has ended
        return ""
