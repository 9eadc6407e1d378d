"""The short version of ``make fuzz``: some hundred mutated inputs, and all that ever found a fault."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROW = re.compile(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+)$", re.MULTILINE)  # kind, tried, refused, right, faults


def fuzz(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "fuzz.py"), "--jobs", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_mutated_inputs_are_refused_clearly_or_read_right(tmp_path):
    done = fuzz("--seed", "1", "--count", "150", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert re.search(r"^total: \d+ tried, .* 0 faults in \d+ s\s*\Z", done.stdout, re.MULTILINE), "the counts come last"
    counts = {kind: tuple(map(int, numbers)) for kind, *numbers in ROW.findall(done.stdout)}
    regressions = list((HERE / "regressions").glob("*.json"))
    assert sum(tried for tried, *_ in counts.values()) == 150 + len(regressions) + len(counts)
    for kind, (tried, refused, right, _) in counts.items():
        assert tried > 1 and right, kind
        assert refused or kind == "bank", f"no bad {kind} among them"  # which heals itself
    assert not list(tmp_path.iterdir())


BROKEN = """
import sys
sys.path.insert(0, {here!r})
import os
from pathlib import Path
import fuzz, guard, pool, trial
from inputs import Case, Input
from yoda_nb.errors import InputError

def read(folder, bases, same):
    what = (folder / "what").read_text()
    if what == "write":
        (folder.parent / "outside").write_text("x")
    elif what == "open":
        open(folder / "../secret/secret.nii.gz").close()
    elif what == "hang":
        while True:
            pass
    elif what == "die":
        os._exit(1)
    elif what == "words":
        raise InputError("no end")
    elif what == "raise":
        raise KeyError("k")
    assert what != "nonsense"

words = ["write", "open", "hang", "die", "words", "raise", "nonsense", "fine"]
fuzz.CASES.clear()
fuzz.CASES["broken"] = Case("broken", 1, lambda: None, None, None, read)
fuzz.REGRESSIONS = Path({none!r})
pool.WAITED, guard.SECONDS = 5.0, 0.5
trial.made = lambda work, bases: ("broken", Input({{"what": (work[1] if work[0] == "good" else words[work[1]]).encode()}}))
sys.exit(fuzz.main(["--count", "8", "--jobs", "1", "--keep", {keep!r}]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_each_kind_of_fault_is_noticed_told_and_kept(tmp_path):
    script = BROKEN.format(here=str(HERE), keep=str(tmp_path / "kept"), none=str(tmp_path / "none"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout + done.stderr[-3000:]
    said = done.stdout
    for words in ("outside", "is opened", "Hang", "Crash", "does not end as a sentence", "KeyError", "AssertionError"):
        assert words in said, said + done.stderr[-3000:]
    assert said.count("again: make fuzz ARGS='--seed 0 --only ") == 7
    assert "total: 9 tried, 0 refused with a clear sentence, 2 read right, 7 faults" in said
    assert len(list((tmp_path / "kept").iterdir())) == 7
