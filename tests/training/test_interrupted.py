"""What a run leaves that is interrupted, and what several processes make together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_loop import TINY, VOLUMES, assert_same, everything

from yoda_nb.diffusion.schedules import schedule
from yoda_nb.training.batches import make_pool
from yoda_nb.training.denoising import diffusion_loss
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import _start, fit

HELPERS = Path(__file__).parents[1] / "helpers"

INTERRUPTED = """
import sys
sys.path[:0] = {path}
from dataclasses import replace
from pathlib import Path
import torch
from small_loop import TINY, VOLUMES
from yoda_nb.training.loop import fit
torch.set_num_threads(1)

def run(every):
    fit(VOLUMES, replace(TINY, steps=100_000), out=Path({out!r}), checkpoint_every=every,
        on_log=lambda entry: print(entry["step"], flush=True))

try:
    print("begin", flush=True)
    run(every=100_000)
except KeyboardInterrupt as stop:
    print(stop, flush=True)
run(every=1)
"""


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(tmp_path):
    """Ctrl-C keeps every step, a kill all up to the last checkpoint; both end as an unbroken run."""
    script = INTERRUPTED.format(path=[str(HELPERS)], out=str(tmp_path))
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.stdout.readline() == "begin\n"
    seen = ""
    while "train:" not in seen:  # the bar appears when the handlers are there
        seen += run.stderr.read(1) or pytest.fail(seen)
    run.send_signal(signal.SIGINT)
    stopped = int(run.stdout.readline())  # the step it logged, then the advice
    advice = run.stdout.readline()
    assert f"stopped after step {stopped}, kept in {tmp_path}: run the same command" in advice
    assert int(run.stdout.readline()) == stopped + 1
    run.kill()
    run.communicate(timeout=300)
    done = everything(tmp_path)["step"]
    assert stopped < done < 100_000

    (tmp_path / ".0123-checkpoint.pt").write_bytes(b"cut short")  # what a kill while writing leaves
    config = replace(TINY, steps=100_000)
    fit(VOLUMES, config, out=tmp_path, stop_after=2)
    assert not list(tmp_path.glob(".*"))
    fit(VOLUMES, config, out=tmp_path / "whole", stop_after=done + 2)
    assert_same(everything(tmp_path), everything(tmp_path / "whole"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_in_hand(number, tmp_path, monkeypatch):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    sent = []

    def rate(config, step):
        if step == 3 and not sent:
            sent.append(os.kill(os.getpid(), number))  # the handler runs in this very step
        return 1e-3

    monkeypatch.setattr("yoda_nb.training.loop.learning_rate", rate)
    with pytest.raises(KeyboardInterrupt, match=r"after step 4, kept in .*: run the same command"):
        fit(VOLUMES, TINY, out=tmp_path)
    assert everything(tmp_path)["step"] == 4
    assert {n: signal.getsignal(n) for n in before} == before


def test_without_a_folder_the_advice_is_another(monkeypatch):
    monkeypatch.setattr("yoda_nb.training.loop.learning_rate", lambda c, s: os.kill(os.getpid(), signal.SIGTERM) or 0.0)
    with pytest.raises(KeyboardInterrupt, match="after step 1 and is lost: give an out folder"):
        fit(VOLUMES, TINY)


def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "yoda_nb.training.loop.learning_rate",
        lambda c, s: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)] and 0.0,
    )
    with pytest.raises(KeyboardInterrupt, match="at once"):
        fit(VOLUMES, TINY, out=tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_training_in_a_thread_sets_no_handler():
    before, failed = signal.getsignal(signal.SIGINT), []

    def work():
        try:
            fit(VOLUMES, replace(TINY, steps=1))
            assert signal.getsignal(signal.SIGINT) is before
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


TWO = """
import os, shutil, signal, sys
sys.path[:0] = {path}
from dataclasses import replace
from pathlib import Path
from small_loop import TINY, VOLUMES
from yoda_nb.training.loop import fit
out = Path({out!r})

def after(entry):  # only rank 0 logs: the other must stop with it
    if entry["step"] == 1:
        shutil.copy(out / "checkpoint.pt", out / "first.pt")
        os.kill(os.getpid(), signal.SIGTERM)

try:
    fit(VOLUMES, replace(TINY, batch_size=4, clip=1e9, half=False), out=out, checkpoint_every=1, on_log=after)
except KeyboardInterrupt as stop:
    (out / ("said" + os.environ["RANK"])).write_text(str(stop))
"""


def test_two_processes_share_a_batch_and_stop_together(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TWO.format(path=[str(HELPERS)], out=str(tmp_path)))
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    said = [(tmp_path / f"said{rank}").read_text() for rank in range(2)]
    assert said[0] == said[1] and "stopped after step 2" in said[0]

    # after one step Adam's first moment is a tenth of the gradient, that of the whole batch
    config = replace(TINY, batch_size=4, clip=1e9, half=False)
    state, *_ = _start(config, torch.device("cpu"), None, None, "")
    batch = draw_batch(make_pool(VOLUMES, config), config, 0)
    diffusion_loss(state["nets"]["net"], batch, config, schedule()).backward()
    moments = torch.load(tmp_path / "first.pt", weights_only=True)["optimiser0"]["state"]
    for i, p in enumerate(state["nets"]["net"].parameters()):
        assert torch.allclose(moments[i]["exp_avg"], 0.1 * p.grad, atol=1e-6)
    assert sum(float(p.grad.abs().sum()) for p in state["nets"]["net"].parameters()) > 0.1
