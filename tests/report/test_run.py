"""Running notebooks: resumable, nothing half-written, no process left behind; `make killtest` kills whole reports."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from reports import OWN_PAGES, PARAMETERS, alive, code, wait_for, write

from yoda_nb.errors import InputError
from yoda_nb.report import provenance, run_report


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
    told = data.stat()
    data.write_bytes(b"two")
    os.utime(data, ns=(told.st_atime_ns, told.st_mtime_ns))
    marks.add(provenance.fingerprint(declared, values))
    values = {"seed": 0, "own_files": f"FLAIR={data}, T1w={data}", "sweep": str(tmp_path)}
    for path in (data, tmp_path / "table.parquet"):
        for content in (b"one", b"two"):
            path.write_bytes(content)
            marks.add(provenance.fingerprint(declared, values))
    declared.write_bytes(declared.read_bytes() + b"\n")
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "versions", lambda: {"torch": "0"})
    marks.add(provenance.fingerprint(declared, values))
    monkeypatch.setattr(provenance, "package_hash", lambda: "changed")
    marks.add(provenance.fingerprint(declared, values))
    assert len(marks) == 6 + 4, "content alone tells files apart, of a list and of a folder of a sweep too"


def test_workers_of_a_sweep_run_a_report(tmp_path):
    """A cohort's pages by two workers: each where it belongs, a failure stops no other, and nothing is run twice."""
    body = code(PARAMETERS, "parameters")
    good = write(tmp_path, "01_good", body, code("import os\nprint('made by', os.getpid())"))
    bad = write(tmp_path, "02_bad", code("raise KeyError('broken')"))
    lines: list[str] = []
    place = {"workers": 2}
    first = run_report([good, bad], tmp_path / "out", place=place, progress=lines.append)
    assert [run.status for run in first.runs] == ["done", "failed"] and "cell 1: KeyError" in first.runs[1].error
    page = (tmp_path / "out" / "01_good.html").read_text()
    assert "made by" in page and f"made by {os.getpid()}" not in page
    assert sum(", by " in line for line in lines) == 2 and any("0 left" in line for line in lines)
    assert [run.status for run in run_report([good], tmp_path / "out", place=place).runs] == ["reused"]
    assert run_report([good], tmp_path / "out").runs[0].status == "reused", "the same, by this process"


def test_a_killed_report_resumes_and_leaves_no_kernel(tmp_path, monkeypatch):
    """R10, R11: after SIGKILL nothing is partial, no process stays, finished work is kept, and the
    whole is what an unbroken run would have made."""
    quick = write(tmp_path, "01_quick", code(f"open({str(tmp_path / 'ran')!r}, 'a').write('x')"))
    waits = (
        f"import os, pathlib, time\nflag = pathlib.Path({str(tmp_path / 'pid')!r})\n"
        "if not flag.exists():\n    flag.write_text(str(os.getpid()))\n    time.sleep(120)"
    )
    slow = write(tmp_path, "02_slow", code(waits))
    out = tmp_path / "out"
    program = (
        "import sys; from pathlib import Path; from yoda_nb.report import provenance, run_report\n"
        "provenance.package_hash = lambda: 'fixed'\n"
        "run_report([Path(p) for p in sys.argv[2:]], Path(sys.argv[1]), jobs=1)"
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
    pages = {f"{name}.html" for name in ("01_quick", "02_slow", *OWN_PAGES)}
    assert {path.name for path in out.iterdir()} - {".lock"} == pages | {"claims.json", "notebooks"}
    unbroken = tmp_path / "unbroken"
    run_report([quick, slow], unbroken)
    for name in ("01_quick.html", "02_slow.html", "claims.html", "claims.json"):
        assert timeless(out / name) == timeless(unbroken / name)


def timeless(page: Path) -> str:
    return re.sub(r"Executed in .*? The executed", "", page.read_text(encoding="utf-8"))


def test_a_disk_that_fills_up_while_the_pages_are_written(tmp_path, monkeypatch):
    notebook = write(tmp_path, "one", code("1"))
    out = tmp_path / "out"
    run_report([notebook], out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    really = Path.write_bytes

    def full(path: Path, data: bytes):
        really(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left on device.*free space"):
        run_report([notebook], out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_dead_kernel_is_a_failure_with_a_reason(tmp_path):
    notebook = write(tmp_path, "dies", code("1"), code("import os, signal\nos.kill(os.getpid(), 9)"))
    (run,) = run_report([notebook], tmp_path / "out").runs
    assert run.status == "failed" and re.match("cell [12]: the kernel died", run.error)


def test_an_error_of_running_is_not_told_as_one_of_writing(tmp_path, monkeypatch):
    """Space is to be freed where writing fails, and nowhere else."""
    notebook = write(tmp_path, "one", code("1"))

    def failing(*_, **__):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    with monkeypatch.context() as patched:
        patched.setattr("yoda_nb.report.run_notebooks", failing)
        with pytest.raises(ConnectionRefusedError):
            run_report([notebook], tmp_path / "out")
    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", failing)
        (run,) = run_report([notebook], tmp_path / "out").runs
        assert run.status == "failed" and run.error == "start: the notebook's process cannot start (Connection refused)"
    with monkeypatch.context() as patched:
        patched.setattr("yoda_nb.sweep.workers._processes", failing)
        with pytest.raises(InputError, match=r"worker processes could not start .*Connection refused"):
            run_report([notebook], tmp_path / "out", place={"workers": 2})
    assert not run_report([notebook], tmp_path / "out").failed, "and the folder is free again"


def test_a_report_does_not_write_over_what_it_reads(tmp_path):
    (tmp_path / "notebooks").mkdir()
    notebook = write(tmp_path / "notebooks", "one", code('file = ""  # a file', "parameters"))
    before = notebook.read_bytes()
    with pytest.raises(InputError, match=r"only read: choose another folder"):
        run_report([notebook], tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="would be lost"):
        run_report([notebook], tmp_path / "out", parameters={"file": str(tmp_path / "out" / "index.html")})
    assert notebook.read_bytes() == before and (tmp_path / "out" / "index.html").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebooks", "out"]


def test_names_that_are_no_utf8(tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    assert not run_report([write(odd, "one", code("1"))], odd / "out").failed
    bad = (odd / "one.ipynb").rename(odd / os.fsdecode(b"\xe9.ipynb"))
    with pytest.raises(InputError, match="rename it"):
        run_report([bad], tmp_path / "out")


def test_a_folder_that_cannot_hold_a_report(tmp_path):
    notebook = write(tmp_path, "one", code("1"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written there"):
        run_report([notebook], tmp_path / "file")
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another report"):
        run_report([notebook], tmp_path)
    with pytest.raises(InputError, match="rename one"):
        run_report([notebook, notebook], tmp_path / "out")
