"""Voilà for a class: no route without the token, none that lists files or tells of the server, visits with limits.

``python -P class_server.py FOLDER [OPTIONS]`` takes Voilà's options and the traits of the classes below. The token
comes by the environment, where other users of the machine cannot read it; an empty one opens the pages to all.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.auth.logout import LogoutHandler
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Integer
from voila.app import Voila
from voila.tornado.contentshandler import VoilaContentsHandler
from voila.voila_identity_provider import VoilaIdentityProvider

TOKEN = "YODA_NB_CLASS_TOKEN"
KERNEL = Path(__file__).with_name("visitor_kernel.py")
LEFT_OUT = (VoilaContentsHandler, LoginFormHandler, LogoutHandler)  # the token comes with the address, and stays
LARGEST_MESSAGE = 2**18  # bytes from a browser: any slider's, no file's
SENTENCES = {
    403: "This page needs the whole address that the teacher gave, with its token.",
    404: "There is no such page here.",
    503: "The class is full: close a page that you do not need, wait a minute and reload this one.",
}
ANY_OTHER = "That did not work: go back and try again, or tell the teacher."


class Guard(JupyterHandler):
    """What each handler of the class has: it asks for the token, and its errors are one sentence."""

    def get_login_url(self) -> str:
        """Where Jupyter would send a visitor without the token: nowhere."""
        raise HTTPError(403)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(SENTENCES.get(status_code, ANY_OTHER))


def guarded(route: tuple) -> tuple:
    """A route (pattern, handler, ...) whose handler is guarded; Voilà's static files are open without."""
    pattern, kind, *rest = route
    return pattern, type(kind.__name__, (Guard, kind), {}), *rest


class VisitManager(AsyncMappingKernelManager):
    """Kernels of visits: so many at a time, and each for so long."""

    visits = Integer(40, config=True, help="Kernels that may live at a time.")
    visit_seconds = Integer(3 * 3600, config=True, help="How long one may live.")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.began: dict[str, float] = {}
        self.starting = 0

    async def start_kernel(self, **settings: Any) -> str:  # type: ignore[override]  # as in the base, which hides it
        """The id of a new kernel; HTTPError 503 where the class is full."""
        if len(self) + self.starting >= self.visits:
            raise HTTPError(503)
        self.starting += 1
        try:
            kernel_id = await super().start_kernel(**settings)
        finally:
            self.starting -= 1
        self.began[kernel_id] = time.monotonic()
        return kernel_id

    async def cull_kernel_if_idle(self, kernel_id: str) -> None:
        """End a kernel that is idle, as Jupyter does, or older than a visit may be, whatever it does."""
        if time.monotonic() - self.began.get(kernel_id, time.monotonic()) > self.visit_seconds:
            self.log.info("Visit %s has lasted its time.", kernel_id)
            await self.shutdown_kernel(kernel_id, now=True)
        else:
            await super().cull_kernel_if_idle(kernel_id)

    def remove_kernel(self, kernel_id: str) -> Any:
        self.began.pop(kernel_id, None)
        return super().remove_kernel(kernel_id)


class VisitorKernels(KernelSpecManager):
    """One kernel for every notebook, whatever it names: this interpreter with a visitor's limits."""

    memory = Integer(4 * 2**30, config=True, help="Bytes that a kernel may write to.")

    def find_kernel_specs(self) -> dict[str, str]:
        return {"python3": ""}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-P", str(KERNEL), str(self.memory), "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


class ClassServer(Voila):
    """Voilà with guarded routes, visits for kernels and no listing of files."""

    def initialize(self, argv: list[str] | None = None) -> None:
        super().initialize(argv)
        self.token = os.environ.pop(TOKEN, "")  # kernels do not inherit it
        self.identity_provider_class = VoilaIdentityProvider  # a token, no passwords
        self.voila_configuration.multi_kernel_manager_class = VisitManager
        self.voila_configuration.kernel_spec_manager_class = VisitorKernels

    def init_settings(self) -> dict:
        settings = super().init_settings()
        settings["websocket_max_message_size"] = LARGEST_MESSAGE
        # Without a token, a page of another site must not reach loopback by a name of its own.
        settings["allow_remote_access"] = bool(self.token)
        return settings

    def init_handlers(self) -> list:
        return [guarded(route) for route in super().init_handlers() if not issubclass(route[1], LEFT_OUT)]


if __name__ == "__main__":
    ClassServer.launch_instance()
