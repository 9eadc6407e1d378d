"""How a class is served; test_class_server.py asks a running one, and a browser visits it in tests/browser."""

from __future__ import annotations

import re
import socket

import pytest

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.report.classroom import (
    EVERYBODY,
    SERVER,
    THREADS,
    TOKEN,
    check_port,
    class_address,
    class_command,
    class_environment,
    class_token,
)


def test_the_command_serves_the_lessons_to_other_machines():
    command = class_command(port=9000)
    assert command[1:4] == ["-P", str(SERVER), str(NOTEBOOKS)] and SERVER.is_file()
    assert {"--port=9000", "--no-browser", "--Voila.ip=0.0.0.0", "--strip_sources=True"} <= set(command)


def test_students_share_the_cores_unless_the_teacher_says_otherwise():
    assert class_environment({}, "abc") == {**dict.fromkeys(THREADS, "1"), TOKEN: "abc"}
    assert class_environment({"OMP_NUM_THREADS": "4", "HOME": "/h"})["OMP_NUM_THREADS"] == "4"
    assert class_environment({TOKEN: "old"}, "new")[TOKEN] == "new"


@pytest.mark.parametrize("ip", [EVERYBODY, "::", "192.0.2.7", "teacher.example"])
def test_others_need_a_token_which_is_new_each_time(ip):
    tokens = {class_token(ip) for _ in range(20)}
    assert len(tokens) == 20 and all(re.fullmatch("[0-9a-f]{12}", token) for token in tokens)
    assert class_token(ip, "open-sesame") == "open-sesame"


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_alone_needs_none(ip):
    assert class_token(ip) == ""
    assert class_token(ip, "open-sesame") == "open-sesame"


@pytest.mark.parametrize("token", ["", "short", "with space and more", "a&b=cdefgh", "münchen-1"])
def test_a_token_that_is_guessed_or_breaks_an_address_is_refused(token):
    with pytest.raises(InputError, match="at least eight"):
        class_token(EVERYBODY, token)


def test_the_class_is_told_the_whole_address(monkeypatch):
    monkeypatch.setattr("yoda_nb.report.classroom.address", lambda: "192.0.2.8")  # looked up without a network
    assert class_address("192.0.2.7", 9000, "abc") == "http://192.0.2.7:9000/?token=abc"
    assert class_address("127.0.0.1", 9000, "") == "http://127.0.0.1:9000/"
    assert class_address("::1", 9000, "") == "http://[::1]:9000/"
    assert class_address(EVERYBODY, 9000, "abc") == "http://192.0.2.8:9000/?token=abc"


def test_a_port_that_another_program_has_is_one_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 cannot be used .*choose another"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)
