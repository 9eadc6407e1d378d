"""Work in several processes: after threads have worked here, with workers that die or say nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.training.processes import in_workers, workers_context
from yoda_nb.training.recipes import each_trained, kept_phantoms

AFTER_THREADS = """
import sys, torch
from pathlib import Path
from torch.nn import functional as F
from yoda_nb.training.recipes import kept_phantoms

if __name__ == "__main__":
    torch.set_num_threads(4)
    for _ in range(3):  # OpenMP's threads are there and have worked
        F.interpolate(torch.rand(1, 1, 64, 64, 64), scale_factor=2.0, mode="trilinear")
    for v in kept_phantoms([(1, None), (2, None)], Path(sys.argv[1]), spacing=6.0, workers=2):
        print(v.subject)
"""


def test_workers_make_phantoms_after_threads_of_this_process_have_worked(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(AFTER_THREADS)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "kept")], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == [f"phantom-any-{seed}" for seed in (1, 2)], done.stderr
    here = kept_phantoms([(2, None)], tmp_path / "here", spacing=6.0)
    there = kept_phantoms([(2, None)], tmp_path / "kept", spacing=6.0)
    assert torch.equal(here[0].source, there[0].source), "the same bytes, whoever makes them"


def about(item):
    return item, torch.get_num_threads(), os.getpid()


def test_workers_share_the_threads_and_keep_the_order():
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    try:
        found = list(in_workers(about, range(6), 2))
    finally:
        torch.set_num_threads(before)
    assert [item for item, *_ in found] == list(range(6)) and {threads for _, threads, _ in found} == {2}
    assert os.getpid() not in {process for *_, process in found}
    assert workers_context().get_start_method() == "spawn"


def behave(item):
    if item == "die":
        os._exit(9)
    if item == "sleep":
        time.sleep(100)
    if item == "refuse":
        raise InputError("the image is empty.")
    return item


@pytest.mark.parametrize(
    ("items", "silent", "says"),
    [
        (["die", "fine"], None, "A worker process could not start or died, probably out of memory"),
        (["sleep", "fine"], 8, "No worker process gave a result for 8 s"),
        (["refuse", "sleep"], None, "the image is empty"),
    ],
)
def test_a_worker_that_fails_ends_them_all_with_one_sentence(items, silent, says):
    begun, threads = time.monotonic(), threading.active_count()
    with pytest.raises(InputError, match=says):
        list(in_workers(behave, items, 2, silent=silent))
    assert time.monotonic() - begun < 90 and threading.active_count() <= threads + 2


INTERRUPTED = """
import sys, time
from pathlib import Path
from yoda_nb.training.processes import in_workers, stop_requests

def train(k):
    with stop_requests() as requests:
        Path(sys.argv[1], f"begun-{k}").touch()
        while not requests:
            time.sleep(0.05)
        Path(sys.argv[1], f"kept-{k}").touch()
        raise KeyboardInterrupt

if __name__ == "__main__":
    list(in_workers(train, range(6), 2))
"""


def test_who_is_interrupted_lets_workers_write_what_they_have_and_begins_no_more(tmp_path):
    (tmp_path / "script.py").write_text(INTERRUPTED)
    run = subprocess.Popen([sys.executable, tmp_path / "script.py", tmp_path], stderr=subprocess.DEVNULL)
    begun = time.monotonic()
    while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < begun + 90:
        time.sleep(0.1)
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=120) != 0
    assert {"kept-0", "kept-1"} <= {path.name for path in tmp_path.glob("kept-*")}
    assert not list(tmp_path.glob("begun-[45]")), "what was not in hand is not begun"


def test_workers_that_cannot_start_are_one_sentence(monkeypatch):
    def full(*_):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", full)
    with pytest.raises(InputError, match="could not start or died"):
        list(in_workers(about, range(2), 2))
    with pytest.raises(InputError, match="--workers 0 is not a number of processes"):
        list(in_workers(about, range(2), 0))


def test_trainings_side_by_side_give_their_cards_in_order():
    assert each_trained(card, [("a", 1), ("b", 2)], jobs=2) == each_trained(card, [("a", 1), ("b", 2)])


def card(name, seed):
    return {name: seed}
