"""The notebooks for a class of thirty, served by Voilà: a page each, whose controls are alive.

Each visitor gets a kernel of his own, which runs the notebook when its page is opened. What was
sampled before is read from the bank that all share, so a report beforehand saves the class time.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError

PORT = 8866
SETTINGS = (
    "--no-browser",
    "--Voila.ip=0.0.0.0",  # the class comes from other machines
    "--strip_sources=True",
    "--show_tracebacks=False",
    "--theme=light",
    # Preheating would run every notebook at the start and keep a kernel of each in memory.
    "--preheat_kernel=False",
    # Leaving a page ends its kernel; this is for the laptops that are just shut.
    "--MappingKernelManager.cull_idle_timeout=1800",
    "--MappingKernelManager.cull_interval=120",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def class_command(folder: Path = NOTEBOOKS, port: int = PORT) -> list[str]:
    """The command that serves a folder; InputError where it holds no notebook."""
    if not any(folder.glob("*.ipynb")):
        raise InputError(
            f"{folder} holds no notebook: name a folder that does, such as one of 'yoda-nb notebooks DIR'."
        )
    return [sys.executable, "-m", "voila", str(folder), f"--port={port}", *SETTINGS]


def class_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment with one thread a kernel, where it does not say otherwise: students share the cores."""
    return {**dict.fromkeys(THREADS, "1"), **(os.environ if environment is None else environment)}


def address() -> str:
    """This machine as the class sees it; no packet is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: nobody is there
            return probe.getsockname()[0]
        except OSError:  # no network
            return "localhost"
