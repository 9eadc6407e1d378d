"""The short version of ``make killtest``: the quickest jobs, a few kills each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks, and kills groups of processes")


def test_killed_jobs_go_on_and_leave_nothing_half_written():
    command = [sys.executable, str(HERE / "killtest.py"), "--jobs", "bank,fetch", "--kills", "6"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
    assert re.search(r"^total: 6 kills, .* 4 unwritable folders, 0 faults in \d+ s\s*\Z", done.stdout, re.MULTILINE)


SLOPPY = """
import sys
sys.path.insert(0, {here!r})
import time
from pathlib import Path
from random import Random
import killtest
from jobs import Job

def halves(inputs, out):
    out.mkdir(parents=True, exist_ok=True)
    for k in range(20):
        with open(out / f"{{k}}.txt", "w") as file:
            file.write("one")
            file.flush()
            time.sleep(0.02)
            file.write("two")

def forgets(inputs, out):
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "begun.txt").exists():
        (out / "begun.txt").write_text("x")
        time.sleep(0.2)
        (out / "end.txt").write_text("x")
        time.sleep(0.2)

job = Job("sloppy", 1, lambda inputs: None, {what})
killtest.JOBS["sloppy"] = job
killtest.warm = lambda: None
sys.exit(killtest.main(["--jobs", "sloppy", "--kills", "6"]))
"""


@pytest.mark.parametrize(
    ("what", "says"), [("halves", "is 3 bytes of something else"), ("forgets", "end.txt is missing")]
)
def test_a_sloppy_job_is_noticed(what, says):
    script = SLOPPY.format(here=str(HERE), what=what)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and says in done.stdout, done.stdout + done.stderr
