"""What a reader of hostile input may not do: write elsewhere, open a file outside, start programs, connect, hang."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 10.0  # of work, so that a busy machine is no hang
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {  # event -> which arguments are paths that are changed
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.symlink": (1,),
    "os.link": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.utime": (0,),
}
NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "os.kill")


class Hang(BaseException):
    """Reading took too long."""


class Escape(BaseException):
    """Reading touched what it may not touch; no handler of Exception swallows it."""


_watched: list[tuple[str, str]] = []  # the folder that is given, and one nobody may read
_escapes: list[str] = []


@contextmanager
def watched(given: Path, secret: Path) -> Iterator[None]:
    """Within, only ``given`` may be written to and nothing below ``secret`` opened, for SECONDS at most.

    Raises Escape or Hang.
    """
    _install()
    _escapes.clear()
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _watched.append((os.path.realpath(given), os.path.realpath(secret)))
    try:
        yield
    finally:
        _watched.clear()
        signal.setitimer(signal.ITIMER_PROF, 0)
    if _escapes:
        raise Escape(_escapes[0])


def _too_long(*_: object) -> None:
    raise Hang(f"not done after {SECONDS:g} s of work")


def _install(done: list[bool] = []) -> None:  # noqa: B006  # once in a process: a hook cannot be removed
    if not done:
        done.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    given, secret = _watched[0]
    if event in NEVER:
        _tell(f"{event} {arguments[:1]!r}")
    for place in CHANGES.get(event, ()):
        if not _below(_name(arguments[place]), given):
            _tell(f"{event} outside of the folder: {arguments[place]!r}")
    if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        path, _, flags = arguments
        target = os.path.realpath(path)
        if (
            isinstance(flags, int)
            and flags & WRITES
            and not _below(target, given)
            and os.fsdecode(target) != os.devnull
        ):
            _tell(f"a file outside is written: {path!r}")
        if _below(target, secret):
            _tell(f"a file outside is opened: {path!r}")


def _name(path: Any) -> str | bytes:
    """The path of a name itself, which is what is renamed or removed: not of what a link at it leads to."""
    whole = os.path.abspath(path)
    return os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))


def _below(path: str | bytes, folder: str) -> bool:
    name = os.fsdecode(path)
    return name == folder or name.startswith(folder + os.sep)


def _tell(what: str) -> None:
    _escapes.append(what)
    raise Escape(what)
