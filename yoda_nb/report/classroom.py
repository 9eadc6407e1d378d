"""The notebooks for a class of thirty, served by Voilà: a page each, whose controls are alive.

Each visitor gets a kernel of his own, which runs the notebook when its page is opened. What was
sampled before is read from the bank that all share, so a report beforehand saves the class time.
Whoever is not at this machine needs the token; visits end, and take no more memory than their share
(``class_server`` and ``visitor_kernel``).
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.report.lessons import notebooks_in

PORT = 8866
EVERYBODY = "0.0.0.0"  # the class comes from other machines
SERVER = Path(__file__).with_name("class_server.py")
TOKEN = "YODA_NB_CLASS_TOKEN"
SETTINGS = (
    "--no-browser",
    "--Voila.port_retries=0",  # the class was told this one
    "--strip_sources=True",
    "--show_tracebacks=False",
    "--classic-tree",  # the other one asks for a listing of files
    "--theme=light",
    "--VoilaConfiguration.allow_template_override=NO",
    "--VoilaConfiguration.allow_theme_override=NO",
    "--VoilaExecutor.cell_error_instruction=The page ends here: reload it, or tell the teacher.",
    # Preheating would run every notebook at the start and keep a kernel of each in memory.
    "--preheat_kernel=False",
    # Thirty who come at once wait for each other; a page whose kernel died is opened again, not its kernel alone.
    "--VoilaExecutor.startup_timeout=600",
    "--MappingKernelManager.kernel_info_timeout=600",
    "--KernelManager.autorestart=False",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def class_command(
    folder: Path = NOTEBOOKS,
    port: int = PORT,
    *,
    ip: str = EVERYBODY,
    minutes: float = 180,
    idle: float = 30,
    memory: float = 4,
    visits: int = 40,
) -> list[str]:
    """The command that serves a folder; InputError where it holds no notebook.

    So many visits may take place at a time, each for so many minutes and with so many GiB to write to. Leaving
    a page ends its visit; ``idle`` minutes are for the laptops that are just shut.
    """
    if not notebooks_in(folder):
        raise InputError(
            f"{folder} contains no notebook: name a folder with notebooks, such as one of 'yoda-nb notebooks DIR'."
        )
    seconds = round(60 * minutes)
    limits = {
        "VisitManager.visits": visits,
        "VisitManager.visit_seconds": seconds,
        "VisitorKernels.memory": round(memory * 2**30),
        "MappingKernelManager.cull_idle_timeout": round(60 * idle),
        "MappingKernelManager.cull_interval": max(1, min(60, seconds // 4, round(60 * idle) // 4)),
    }
    options = (f"--{name}={value}" for name, value in limits.items())
    # -P: the folder of class_server.py must not shadow modules.
    return [sys.executable, "-P", str(SERVER), str(folder), f"--port={port}", f"--Voila.ip={ip}", *SETTINGS, *options]


def class_environment(environment: Mapping[str, str] | None = None, token: str = "") -> dict[str, str]:
    """This environment with the token, and one thread a kernel where it does not say otherwise.

    Students share the cores.
    """
    given = os.environ if environment is None else environment
    return {**dict.fromkeys(THREADS, "1"), **given, TOKEN: token}


def class_token(ip: str, wanted: str | None = None) -> str:
    """The token that opens the pages: a new one, or the wanted; "", none, on loopback, which others do not reach.

    InputError for one that is easily guessed or does not fit into an address.
    """
    if wanted is None:
        return "" if is_loopback(ip) else secrets.token_hex(6)
    if not re.fullmatch(r"[\w-]{8,}", wanted, re.ASCII):
        raise InputError("A token has at least eight letters, digits, - and _: choose another, or let one be made.")
    return wanted


def class_address(ip: str, port: int, token: str) -> str:
    """What to tell the class: the whole address of the first page."""
    host = address() if ip in (EVERYBODY, "::") else ip
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/" + (f"?token={token}" if token else "")


def check_port(ip: str, port: int) -> None:
    """InputError where nothing can listen at this address and port."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            raise InputError(
                f"Port {port} of {ip} cannot be used ({error.strerror or error}): choose another with --port, or --ip."
            ) from error


def is_loopback(ip: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return ipaddress.ip_address(ip).is_loopback
    except ValueError:
        return ip == "localhost"


def address() -> str:
    """This machine as the class sees it; no packet is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: nobody is there
            return probe.getsockname()[0]
        except OSError:  # no network
            return "localhost"
