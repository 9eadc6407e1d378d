"""``make fuzz``: mutated inputs of every kind, each refused in one clear sentence or read right, and nothing else.

Input n of a seed is always the same. What found a fault is kept below ``regressions/``, which the suite replays.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}  # before torch is imported

import torch
import trial
from cases import CASES
from pool import run
from trial import OUTCOMES, Result, Work

REGRESSIONS = Path(__file__).parent / "regressions"


def kept(result: Result, bases: dict[str, Any], folder: Path) -> str:
    """Write the input of a fault as a regression file; its name."""
    kind, hostile = trial.made(result.work, bases)
    path = folder / hostile.name(kind)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(hostile.text(kind, f"{result.detail[:200]} ({result.place})"), encoding="utf-8")
    return path.name


def report(result: Result, bases: dict[str, Any], folder: Path | None, seen: Counter[str]) -> None:
    """Tell of a fault and how to have it again; the first of each place is kept."""
    signature = f"{result.kind} {result.place} {result.detail.partition(':')[0]}"
    seen[signature] += 1
    if seen[signature] > 3:
        return
    seed, n = result.work
    again = f"--replay {n}" if isinstance(n, str) else f"--seed {seed} --only {n}"
    print(f"FAULT {result.kind} at {result.place}: {result.detail}\n  again: make fuzz ARGS='{again}'", flush=True)
    if folder is not None and seen[signature] == 1 and not isinstance(n, str):
        print(f"  kept as {folder / kept(result, bases, folder)}", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Read mutated inputs; each is refused clearly or read right.")
    options.add_argument("--seed", default="0")
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--only", type=int, help="this one input of the seed alone")
    options.add_argument("--replay", nargs="*", help="these regression files alone; without names all of them")
    options.add_argument("--keep", type=Path, default=REGRESSIONS, help="folder for inputs that found a fault")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--seconds", type=float, default=900.0, help="begin nothing new after that long")
    given = options.parse_args(words)
    begun = time.monotonic()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):
        bases = {kind: case.bases() for kind, case in CASES.items()}
    regressions: list[Work] = [("", str(path)) for path in given.replay or sorted(REGRESSIONS.glob("*.json"))]
    numbers = range(given.count) if given.only is None else [given.only]
    fresh: list[Work] = [] if given.replay is not None else [(given.seed, n) for n in numbers]
    good: list[Work] = [(trial.GOOD, kind) for kind in CASES]
    works = fresh if given.only is not None else good + regressions + fresh
    print(f"seed {given.seed}, count {len(fresh)}, regressions {len(regressions)}, and a good one of each", flush=True)
    counts: Counter[tuple[str, str]] = Counter()
    seen: Counter[str] = Counter()
    slowest = Result(("", 0), "", "")
    for result in run(works, given.jobs, bases, begun + given.seconds):
        kind = result.kind or trial.made(result.work, bases)[0]
        counts[kind, result.outcome] += 1
        slowest = max(slowest, result, key=lambda one: one.seconds)
        if result.outcome == "fault":
            report(result, bases, given.keep, seen)
        elif given.only is not None:
            print(f"{kind} {result.outcome}: {result.detail[:2000]}")
    tell(counts, seen, slowest, time.monotonic() - begun)
    lacking = len(works) - sum(counts.values())
    if lacking:
        print(f"NOT DONE: {lacking} inputs were not tried within {given.seconds:g} s")
    return 1 if lacking or any(counts[kind, "fault"] for kind in CASES) else 0


def tell(counts: Counter[tuple[str, str]], seen: Counter[str], slowest: Result, seconds: float) -> None:
    """The counts, a line a kind and one of all."""
    for signature, n in seen.items():
        print(f"{n} x {signature}")
    print(f"slowest: {slowest.kind} {slowest.work[1]}, {slowest.seconds:.1f} s")
    print(f"{'kind':12} {'tried':>7} {'refused':>8} {'right':>7} {'faults':>7}")
    for kind in CASES:
        refused, right, faults = (counts[kind, outcome] for outcome in OUTCOMES)
        print(f"{kind:12} {refused + right + faults:7} {refused:8} {right:7} {faults:7}")
    refused, right, faults = (sum(counts[kind, outcome] for kind in CASES) for outcome in OUTCOMES)
    total = refused + right + faults
    print(
        f"total: {total} tried, {refused} refused with a clear sentence, {right} read right, {faults} faults "
        f"in {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
