"""Workers of a sweep: one bad item stops no other, a killed worker costs nothing, and few items are under way."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from yoda_nb.errors import InputError
from yoda_nb.sweep.workers import HERE, TRIES, client_of, done_by


def square(item: int, worker: str) -> int:
    return item * item


def wrong(item: int, worker: str, log: Path) -> int:
    with log.open("a") as lines:
        lines.write(f"{item}\n")
    if item == 3:
        raise InputError("three is refused.")
    if item == 4:
        raise ZeroDivisionError("four")
    return item


def deadly(item: int, worker: str, flag: Path) -> int:
    """Kill the worker that has item 5, the first time."""
    if item == 5 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.fixture(scope="module")
def two():
    with client_of(2) as client:
        yield client


@pytest.mark.parametrize("here", [True, False])
def test_one_bad_item_stops_no_other_here_and_by_workers(two, tmp_path, here):
    work = partial(wrong, log=tmp_path / "log")
    found = {o.key: o for o in done_by(work, ((str(k), k) for k in range(6)), None if here else two)}
    assert [found[k].result for k in "012345"] == [0, 1, 2, None, None, 5] and (found["0"].worker == HERE) == here
    assert found["3"].error == "three is refused." and found["4"].error == "ZeroDivisionError: four"
    assert sorted((tmp_path / "log").read_text().split()) == sorted("0123445") and TRIES == 2


def test_a_killed_worker_costs_nothing(two, tmp_path):
    items = ((str(k), k) for k in range(20))
    found = {o.key: o.result for o in done_by(partial(deadly, flag=tmp_path / "flag"), items, two)}
    assert found == {str(k): k for k in range(20)} and (tmp_path / "flag").exists()


def test_few_items_are_under_way_however_many_there_are(two):
    given = []

    def items():
        for k in range(600):
            given.append(k)
            yield str(k), k

    for n, outcome in enumerate(done_by(square, items(), two), 1):
        assert outcome.result == int(outcome.key) ** 2
        assert len(given) - n < 20
    assert n == 600


@pytest.mark.parametrize(
    "options, says",
    [
        ({"workers": -1}, "-1"),
        ({"scheduler": "tcp://127.0.0.1:9", "queue": "slurm"}, "choose one"),
        ({"queue": "post"}, "^The queue 'post' is unknown"),
        ({"queue": "slurm"}, "dask-jobqueue|sbatch"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "No workers at the scheduler tcp://127.0.0.1:9 .*give the address"),
        ({"scheduler": "nonsense://x"}, "No workers at the scheduler nonsense://x"),
    ],
)
def test_workers_that_cannot_start_are_told_in_a_sentence(options, says, monkeypatch):
    monkeypatch.setattr("yoda_nb.sweep.workers.CONNECT", 1)
    with pytest.raises(InputError, match=says), client_of(**options):
        pass


def test_an_error_of_the_work_is_not_one_of_its_workers():
    with pytest.raises(ZeroDivisionError), client_of(1):
        raise ZeroDivisionError
