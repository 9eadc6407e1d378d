"""``make killtest``: jobs killed at random moments, disks that are full, folders that cannot be written to.

After a kill no final name stands for half a file, and the job that is run again gives what an unbroken one gives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random

os.environ |= {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "MPLBACKEND": "agg"}  # before torch is imported

import torch
from children import UNLIMITED, Ended, run
from content import TIMED_PAGES, content, digest, failed, finals, strays
from jobs import JOBS, Job

WARM = (
    "pooch",
    "SimpleITK",
    "matplotlib.pyplot",
    "monai.networks.nets",
    "torch._dynamo",
    "yoda_nb.scans.qc",
    "yoda_nb.sweep",
    "yoda_nb.systems.run",
    "yoda_nb.scans.studies",
    "yoda_nb.systems.train",
)
MOST = 3  # kills of one run before it may end
AGAIN = 4  # draws of a moment that came too late


class Fault(Exception):
    """What must not be."""


class Trials:
    """One job: its inputs, what an unbroken run makes of them, and what was tried so far."""

    def __init__(self, job: Job, folder: Path):
        self.job, self.folder = job, folder
        self.inputs, self.out = folder / "inputs", folder / "out"
        self.inputs.mkdir(parents=True)
        self._done(partial(job.prepare, self.inputs))
        self.seconds = self._whole().seconds
        self.unbroken = content(self.out)
        if not self.unbroken:
            raise Fault("the unbroken run wrote nothing")
        self.left: set[str] = set()

    def begin(self) -> None:
        """A folder as if nothing had been run."""
        shutil.rmtree(self.out, ignore_errors=True)

    def again(self) -> None:
        """A second unbroken run gives the same: else nothing could be told from a broken one."""
        self.begin()
        self._whole()
        self.compare("a second unbroken run")

    def kill(self, after: float) -> bool:
        """Run, kill so many seconds later, and look at what is left; False where it had ended before."""
        ended = self._run(kill_after=after)
        if ended.status not in (None, 0):
            raise Fault(f"the run that goes on ended with {ended.status}: {ended.said[-2000:]}")
        self.look("after a kill")
        return ended.status is None

    def finish(self) -> None:
        """Run to the end: the same content as the unbroken run's."""
        self._whole()
        self.compare("the run after the kills")
        self.left |= set(strays(self.out))

    def fill(self, limit: int) -> Ended:
        """Run where a file may have so many bytes: an error in one sentence, or warnings and all that counts."""
        self.begin()
        ended = self._run(limit=limit)
        _plain(ended)
        self.look("on a full disk")
        self._whole()
        self.compare("the run after the disk was full")
        return ended

    def refuse(self, out: Path) -> None:
        """Run into a folder that cannot be: an error in one sentence."""
        self.begin()
        ended = run(partial(self.job.run, self.inputs, out), self.folder / "log")
        _plain(ended)
        if not self.job.spare and ended.status == 0:
            raise Fault(f"nothing was said of {out}")

    def look(self, when: str) -> None:
        """Every file under a final name is whole."""
        for name, path in finals(self.out).items():
            try:
                found = digest(path, self.out)
            except Exception as error:
                raise Fault(f"{when} {name} is half a file: {type(error).__name__}: {error}") from error
            if name.endswith((*self.job.growing, *TIMED_PAGES)) or failed(path):
                continue
            if found != self.unbroken.get(name):
                raise Fault(f"{when} {name} is {path.stat().st_size} bytes of something else")

    def compare(self, what: str) -> None:
        found = content(self.out)
        differ = [name for name in self.unbroken.keys() | found.keys() if self.unbroken.get(name) != found.get(name)]
        if differ:
            here = {True: "differs", False: "is missing or one too many"}
            told = ", ".join(f"{name} {here[name in found and name in self.unbroken]}" for name in sorted(differ))
            raise Fault(f"{what}: {told}")

    def _whole(self) -> Ended:
        return self._done(partial(self.job.run, self.inputs, self.out))

    def _run(self, *, kill_after: float | None = None, limit: int = UNLIMITED) -> Ended:
        work = partial(self.job.run, self.inputs, self.out)
        return run(work, self.folder / "log", kill_after=kill_after, limit=limit)

    def _done(self, work: Callable[[], None]) -> Ended:
        ended = run(work, self.folder / "log")
        if ended.status:
            raise Fault(f"a run ended with {ended.status}: {ended.said[-2000:]}")
        return ended


def _plain(ended: Ended) -> None:
    """A failure is one sentence for people."""
    lines = [line for line in ended.said.splitlines() if line.startswith("Error: ")]
    if "Traceback" in ended.said or (ended.status and not lines) or ended.status not in (0, 1, 2):
        raise Fault(f"no clear sentence, status {ended.status}: {ended.said[-2000:]}")


def kills(trials: Trials, rng: Random, wanted: int, counts: Counter[str], deadline: float) -> None:
    """So many kills, one to three a run before it may end."""
    name = trials.job.name
    while counts[name] < wanted and time.monotonic() < deadline:
        trials.begin()
        late = 0
        for _ in range(rng.randint(1, MOST)):
            if counts[name] >= wanted or late >= AGAIN:
                break
            # a kill of each moment of the whole, and of the first ones, when folders are made
            if trials.kill(rng.random() ** 1.3 * trials.seconds):
                counts[name] += 1
            else:
                late += 1
        trials.finish()
        counts[f"{name} resumed"] += 1


def tried(job: Job, rng: Random, wanted: int, folder: Path, counts: Counter[str], deadline: float) -> None:
    """All trials of a job; the first fault ends them."""
    trials = Trials(job, folder)
    trials.again()
    print(f"{job.name}: {trials.seconds:.1f} s unbroken, {len(trials.unbroken)} files", flush=True)
    biggest = max(path.stat().st_size for path in finals(trials.out).values())
    kills(trials, rng, wanted, counts, deadline)
    for _ in range(2 if wanted > 2 else 1):
        limit = rng.randrange(200, biggest)
        status = trials.fill(limit).status
        counts[f"{job.name} full"] += 1
        print(f"{job.name}: files of {limit} bytes at most, ended with {status}", flush=True)
    (folder / "file").write_text("no folder")
    for out in (folder / "file" / "out", Path("/proc/no such folder/out")):
        trials.refuse(out)
        counts[f"{job.name} unwritable"] += 1
    if trials.left:
        print(f"{job.name}: {len(trials.left)} unfinished files stayed until they are old", flush=True)


def main(words: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description="Kill jobs at random moments; what is left is whole and goes on.")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kills", type=int, default=56, help="of all jobs together")
    options.add_argument("--jobs", default=",".join(JOBS), help="these alone, comma between")
    options.add_argument("--seconds", type=float, default=840.0, help="kill nothing more after that long")
    given = options.parse_args(words)
    begun = time.monotonic()
    warm()
    jobs = [JOBS[name] for name in given.jobs.split(",")]
    print(f"seed {given.seed}, {given.kills} kills", flush=True)
    counts: Counter[str] = Counter()
    for place, job in enumerate(jobs):
        wanted = _share(given.kills, [each.share for each in jobs], place)
        left = given.seconds - (time.monotonic() - begun)
        deadline = time.monotonic() + left * job.share / sum(each.share for each in jobs[place:])
        with tempfile.TemporaryDirectory(prefix="yoda-nb-kill-") as folder:
            try:
                tried(job, Random(f"{given.seed} {job.name}"), wanted, Path(folder), counts, deadline)
            except Fault as fault:
                counts[f"{job.name} faults"] += 1
                print(f"FAULT {job.name}: {fault}\n  again: --seed {given.seed} --jobs {job.name}", flush=True)
    return tell(jobs, counts, given.kills, time.monotonic() - begun)


def _share(kills: int, shares: list[int], place: int) -> int:
    """How many of the kills belong to a job: the shares of all add up to the whole."""
    before, after = sum(shares[:place]), sum(shares[: place + 1])
    return round(kills * after / sum(shares)) - round(kills * before / sum(shares))


def warm() -> None:
    """Import what the children need, so that each of them does not; start no thread."""
    for name in WARM:
        import_module(name)
    from yoda_nb.phantoms.phantom import phantom_case

    torch.set_num_threads(1)
    phantom_case(1, spacing=6.0, shape=(30, 36, 30))  # reads the template once for all


def tell(jobs: list[Job], counts: Counter[str], wanted: int, seconds: float) -> int:
    """The counts, a line a job and one of all; 1 where something is wrong or was not done."""
    kinds = ("", " resumed", " full", " unwritable", " faults")
    print(f"{'job':14} {'kills':>6} {'resumed':>8} {'full':>5} {'unwritable':>11} {'faults':>7}")
    for job in jobs:
        kills, resumed, full, unwritable, faults = (counts[job.name + kind] for kind in kinds)
        print(f"{job.name:14} {kills:6} {resumed:8} {full:5} {unwritable:11} {faults:7}")
    kills, resumed, full, unwritable, faults = (sum(counts[job.name + kind] for job in jobs) for kind in kinds)
    if kills < wanted and not faults:
        print(f"NOT DONE: {wanted - kills} kills were not reached in time")
    print(
        f"total: {kills} kills, {resumed} resumed runs with the same content, {full} full disks, "
        f"{unwritable} unwritable folders, {faults} faults in {seconds:.0f} s"
    )
    return 1 if faults or kills < wanted else 0


if __name__ == "__main__":
    sys.exit(main())
