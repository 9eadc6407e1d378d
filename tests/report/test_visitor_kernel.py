"""What a visitor reads of an error, and what a kernel may write to; test_class_server.py asks kernels that run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from yoda_nb.errors import InputError
from yoda_nb.report import visitor_kernel
from yoda_nb.report.visitor_kernel import TOO_LARGE, sentence, without_paths


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/srv/class/t1.nii does not exist", "t1.nii does not exist"),
        ("No such file: '/srv/my class/t1.nii'", "No such file: 't1.nii'"),
        ('"/srv/class/" is a folder', '"" is a folder'),
        ("C:\\Users\\me\\t1.nii is broken", "t1.nii is broken"),
        ("see file:///srv/class/t1.nii", "see t1.nii"),
        ("(/srv/class/a.py:12)", "(a.py:12)"),
        ("psnr 1/2 of 3/4 dB", "psnr 1/2 of 3/4 dB"),
        ("https://doi.org/10.1109/TMI", "https://doi.org/10.1109/TMI"),
        ("a relative/file.nii", "a relative/file.nii"),
    ],
)
def test_paths_are_cut_to_the_name_of_the_file(text, left):
    assert without_paths(text) == left


def test_errors_for_users_stand_alone_and_others_with_their_kind():
    assert (
        sentence(InputError, InputError("/srv/x/a.nii is empty: choose another.")) == "a.nii is empty: choose another."
    )
    assert sentence(KeyError, KeyError("T1w")) == "KeyError: 'T1w'"
    assert sentence(AssertionError, AssertionError()) == "AssertionError"
    assert sentence(RuntimeError, "first\n  at /srv/x.cpp:3") == "RuntimeError: first"


@pytest.mark.parametrize(
    ("kind", "said"),
    [(MemoryError, ""), (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")],
)
def test_want_of_memory_says_what_to_do(kind, said):
    assert sentence(kind, kind(said)) == TOO_LARGE


@pytest.mark.skipif(sys.platform != "linux", reason="the system holds to no such limit")
def test_an_allocation_beyond_the_limit_fails_and_the_process_goes_on():
    program = """
import runpy, sys
runpy.run_path(sys.argv[1])["limit_memory"](2**29)
x = bytearray(2**26)
try:
    bytearray(2**30)
except MemoryError:
    print("refused", len(x))
"""
    command = [sys.executable, "-c", program, visitor_kernel.__file__]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == f"refused {2**26}\n"
