"""Serve the notebooks with Voilà to a class of thirty: `make class`.

Each visitor gets a kernel of his own, which runs the notebook when its page is opened. What was
sampled before is read from the bank that all share, so run `make report` first.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

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


def address() -> str:
    """This machine as the class sees it; no packet is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation: nobody is there
            return probe.getsockname()[0]
        except OSError:  # no network
            return "localhost"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default=Path(__file__).parents[1] / "notebooks", help="the notebooks to serve")
    parser.add_argument("--port", type=int, default=8866)
    given = parser.parse_args()
    for name in THREADS:  # one each: the students share the cores
        os.environ.setdefault(name, "1")
    print(f"Tell the class: http://{address()}:{given.port} (Ctrl-C ends it for all)", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "voila", str(given.folder), f"--port={given.port}", *SETTINGS])
