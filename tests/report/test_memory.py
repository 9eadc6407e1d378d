"""How much memory a report takes: all its processes at one moment, at their highest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reports import code, write

from yoda_nb.report import ReportResult, memory

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
MIB = 2**20
HOLD = "x = bytearray(b'1') * (200 * 2**20); print(flush=True); input()"  # a grandchild that fills 200 MiB
NEST = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {HOLD!r}]).returncode)"


@needs_proc
def test_the_memory_of_all_descendants_is_summed_while_they_live():
    alone = memory.tree_bytes(os.getpid())
    with subprocess.Popen([sys.executable, "-c", NEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        grown = memory.tree_bytes(os.getpid()) - alone
        child.communicate(b"\n")
    assert 195 * MIB < grown < 300 * MIB
    assert memory.tree_bytes(os.getpid()) - alone < 50 * MIB


@needs_proc
def test_the_peak_is_kept_after_it_has_passed(monkeypatch):
    monkeypatch.setattr(memory, "EVERY_SECONDS", 0.05)
    with memory.PeakMemory() as watched:
        before = watched.peak
        with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            watched.look()
            child.communicate(b"\n")
    assert watched.peak - before > 190 * MIB


@needs_proc
def test_without_shared_sizes_whole_ones_are_summed(tmp_path, monkeypatch):
    """As in kernels without smaps_rollup; a process that ends meanwhile counts nothing."""
    for pid, parent, size in ((1, 0, 7), (20, 1, 100), (30, 20, 50), (40, 1, 1000)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1")
        (folder / "status").write_text(f"Name:\tx\nVmRSS:\t  {size} kB\n")
    (tmp_path / "50").mkdir()
    (tmp_path / "30" / "smaps_rollup").write_text("0-1 ---p\nRss:  50 kB\nPss:  20 kB\nPss_Dirty: 1 kB\n")
    monkeypatch.setattr(memory, "PROC", tmp_path)
    assert memory.tree_bytes(20) == 120 * 1024
    assert memory.tree_bytes(1) == 1127 * 1024


def test_where_nothing_tells_the_memory_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "PROC", tmp_path / "none")
    with memory.PeakMemory() as watched:
        pass
    assert watched.peak is None and memory.in_gib(None) == "not measured here"
    assert ReportResult(tmp_path, (), 2.0).peak_bytes is None


@needs_proc
def test_a_report_tells_its_peak(tmp_path):
    """The kernel's memory is part of it; in the last line that the shell prints, and on the pages."""
    held = "x = bytearray(b'1') * (300 * 2**20)\nimport time; time.sleep(1.5)"
    notebook = write(tmp_path, "one", code(held))
    report = [sys.executable, "-m", "yoda_nb", "report", "--notebooks", str(notebook), "-o", str(tmp_path / "out")]
    shown = subprocess.run(report, capture_output=True, text=True)  # this process may hold gigabytes of other tests
    assert shown.returncode == 0, shown.stderr
    told = re.search(r"peak memory ((\d+\.\d) GiB)$", shown.stdout.strip().splitlines()[-1])
    assert 0.4 < float(told[2]) < 2
    for page in ("index.html", "made.html"):
        assert told[1] in (tmp_path / "out" / page).read_text()
