"""A visitor's kernel: no more memory than its share, and errors of one sentence without the server's paths.

``python -P visitor_kernel.py BYTES -f CONNECTION_FILE``: a program of its own, which limits itself before it
imports anything large. What goes to standard error goes to the server's log and not to the visitor.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from typing import Any

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type

QUOTED = re.compile(r"""(['"])(?:[A-Za-z]:)?[/\\][^'"\n]*?([^/\\'"\n]*)\1""")
BARE = re.compile(r"""(?<![\w:/\\.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'":;,()]+[/\\])+([^\s/\\'":;,()]*)""")
NO_MEMORY = re.compile("allocate|out of memory", re.IGNORECASE)
TOO_LARGE = "This page has used up its memory: reload it and choose something smaller."


def sentence(kind: type[BaseException], error: object) -> str:
    """What a visitor reads of an error: its first line without paths, with its kind unless it is written for users."""
    said = str(error).strip()
    if issubclass(kind, MemoryError) or NO_MEMORY.search(said):
        return TOO_LARGE
    said = without_paths(said.partition("\n")[0])
    return said if kind.__name__ == "InputError" else f"{kind.__name__}: {said}".rstrip(": ")


def without_paths(text: str) -> str:
    """A text in which absolute paths are cut to the names of their files."""
    text = text.replace("file://", "")
    return BARE.sub(r"\1", QUOTED.sub(r"\1\2\1", text))


def limit_memory(size: int) -> None:
    """Let this process write to so many bytes and no more: an allocation beyond fails, as where a machine has none.

    Linux holds to it; elsewhere the system has no such limit. Address space that is only reserved does not count.
    """
    with suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


class VisitorShell(ZMQInteractiveShell):
    """A shell that shows a sentence in place of a traceback."""

    def _showtraceback(self, etype: type[BaseException], evalue: object, stb: list[str]) -> None:
        print("\n".join(stb), file=sys.__stderr__, flush=True)  # the teacher's
        said = sentence(etype, evalue)
        self.display_pub.publish({"text/plain": said})  # Voilà puts a text of its own in place of the error
        super()._showtraceback(etype, said, [said])


class VisitorKernel(IPythonKernel):
    shell_class = Type(VisitorShell)


class VisitorStream(OutStream):
    """Standard output as ever; what is written to standard error goes to the server's log."""

    def write(self, string: str) -> int | None:  # type: ignore[override]
        if self.name == "stderr" and sys.__stderr__:
            return sys.__stderr__.write(string)
        return super().write(string)


def main(size: str, *arguments: str) -> None:
    limit_memory(int(size))
    settings: dict[str, Any] = {"outstream_class": f"{__name__}.VisitorStream", "capture_fd_output": False}
    IPKernelApp.launch_instance([*arguments], kernel_class=VisitorKernel, **settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
