"""Running notebooks: resumable, nothing half-written, no process left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from reports import PARAMETERS, alive, code, wait_for, write

from yoda_nb.report import provenance, run_report
from yoda_nb.volumes import InputError


@pytest.fixture
def declared(tmp_path) -> Path:
    return write(tmp_path, "declared", code(PARAMETERS, "parameters"))


def test_a_fingerprint_covers_what_decides_a_result(declared, tmp_path, monkeypatch):
    data = tmp_path / "t1.nii.gz"
    data.write_bytes(b"one")
    values = {"seed": 0, "path": str(data)}
    marks = {provenance.fingerprint(declared, values)}
    assert provenance.fingerprint(declared, dict(reversed(values.items()))) in marks
    marks.add(provenance.fingerprint(declared, {**values, "seed": 1}))
    data.write_bytes(b"other")
    marks.add(provenance.fingerprint(declared, values))
    declared.write_bytes(declared.read_bytes() + b"\n")
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "0"})
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "package_hash", lambda: "changed")
    marks.add(provenance.fingerprint(declared, values))
    assert len(marks) == 6


def test_a_killed_report_resumes_and_leaves_no_kernel(tmp_path, monkeypatch):
    """R10, R11: after SIGKILL nothing is partial, no process stays, finished work is kept."""
    quick = write(tmp_path, "01_quick", code(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"))
    slow = write(
        tmp_path,
        "02_slow",
        code(
            "import os, pathlib, time\n"
            f"flag = pathlib.Path({str(tmp_path / 'pid')!r})\n"
            "if not flag.exists():\n"
            "    flag.write_text(str(os.getpid()))\n"
            "    time.sleep(120)"
        ),
    )
    out = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path; from yoda_nb.report import provenance, run_report\n"
        "provenance.package_hash = lambda: 'fixed'\n"
        "run_report([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]))"
    )
    monkeypatch.setattr(provenance, "package_hash", lambda: "fixed")
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(out), str(quick), str(slow)], stderr=subprocess.DEVNULL
    )
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 90)
    (out / f".{'0' * 32}-index.html").write_bytes(b"half")
    with pytest.raises(InputError, match="another report is being written"):
        run_report([quick], out)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    kernel = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(kernel), 30)
    assert not (out / "index.html").exists()

    result = run_report([quick, slow], out)
    assert [run.status for run in result.runs] == ["reused", "done"]
    assert (tmp_path / "ran").read_text() == "x"
    assert {path.name for path in out.iterdir()} - {".lock"} == {
        "01_quick.html",
        "02_slow.html",
        "index.html",
        "notebooks",
    }


def test_a_dead_kernel_is_a_failure_with_a_reason(tmp_path):
    notebook = write(
        tmp_path, "dies", code("1"), code("import os, signal\nos.kill(os.getpid(), 9)")
    )
    (run,) = run_report([notebook], tmp_path / "out").runs
    assert run.status == "failed" and re.match("cell [12]: the kernel died", run.error)


def test_a_folder_that_cannot_hold_a_report(tmp_path):
    notebook = write(tmp_path, "one", code("1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written there"):
        run_report([notebook], tmp_path / "file")
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another report"):
        run_report([notebook], tmp_path)
    with pytest.raises(InputError, match="rename one"):
        run_report([notebook, notebook], tmp_path / "out")
