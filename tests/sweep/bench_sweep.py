"""What a hundred thousand cases ask of a sweep's client and its scheduler, which share a process here.

Run ``python tests/sweep/bench_sweep.py [CASES]``: trivial cases, by two workers. It prints this process's memory as it
goes, and the rate; it ends with code 1 unless every case came back once and the last half of them took little more.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

from yoda_nb.sweep import client_of, done_by

GROWTH = 64.0  # MiB that the second half may add


def trivial(item: int, worker: object) -> int:
    return item % 7


def resident() -> float:
    """MiB of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(cases: int) -> int:
    seen, marks, begun = Counter[str](), [], time.monotonic()
    with client_of(2) as client:
        for n, outcome in enumerate(done_by(trivial, ((f"case-{k}", k) for k in range(cases)), client), 1):
            assert outcome.result == int(outcome.key.removeprefix("case-")) % 7
            seen[outcome.key] += 1
            if n % max(1, cases // 10) == 0:
                marks.append(resident())
                print(f"{n} cases, {n / (time.monotonic() - begun):.0f} a second, {marks[-1]:.0f} MiB", flush=True)
    late = marks[-1] - marks[len(marks) // 2 - 1]
    print(f"the second half added {late:.1f} MiB (at most {GROWTH:g})")
    return 0 if len(seen) == cases == seen.total() and late < GROWTH else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
