"""How much memory a report takes at most: its own process, the workers and their kernels together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from threading import Event, Thread
from typing import Self

PROC = Path("/proc")
EVERY_SECONDS = 0.5
GIB = 2**30


class PeakMemory:
    """A context that samples the memory of this process and of all that descend from it.

    ``peak`` is the largest sum so far in bytes; None where the system does not tell (no /proc).
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._over = Event()
        self._thread = Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Take one sample."""
        if (now := tree_bytes(os.getpid())) is not None:
            self.peak = max(now, self.peak or 0)

    def _watch(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.look()


def in_gib(size: int | None) -> str:
    """Bytes for people: "3.1 GiB"."""
    return "not measured here" if size is None else f"{size / GIB:.1f} GiB"


def tree_bytes(root: int) -> int | None:
    """Memory of a process and its descendants, pages that several share counted once."""
    if not (PROC / str(root)).exists():
        return None
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        total += _process_bytes(PROC / str(pid))
        left += children.get(pid, [])
    return total


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):  # it has ended
        return None


def _process_bytes(process: Path) -> int:
    """Its share of the memory it uses (PSS); all of it (RSS) where shares are not told; 0 if it has ended."""
    for name, pattern in (("smaps_rollup", r"^Pss:\s+(\d+) kB"), ("status", r"^VmRSS:\s+(\d+) kB")):
        try:
            found = re.search(pattern, (process / name).read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            return int(found[1]) * 1024
    return 0
