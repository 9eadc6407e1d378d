"""The training loop: what a run learns, what a resumed one gives, and what an interrupted one leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from yoda_nb.diffusion.schedules import schedule
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training import loop
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.denoising import diffusion_loss
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import _start, fit, learning_rate, validation_loss

NET = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)


TINY = TrainConfig(net=NET, steps=10, batch_size=3, window=8, warmup=2, margin_mm=(4, 2, 2))


def subject(seed: int = 0, shape=(16, 14, 12), spacing: float = 2.0) -> Volume:
    """Smooth random tissue in a box; the target is a function of the sources."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 2, 2, 2))
    source = torch.from_numpy(np.tanh(4 * smooth)).float()
    mask = torch.zeros((1, *shape), dtype=torch.bool)
    mask[:, 4:13, 3:11, 3:10] = True
    return Volume(
        source=torch.where(mask, source, -1.0),
        target=torch.where(mask, (source[:1] - source[1:]) / 2, -1.0),
        mask=mask,
        affine=np.diag([spacing] * 3 + [1.0]),
        sources=("T1w", "T2w"),
        subject=f"s{seed}",
    )


VOLUMES = [subject(0), subject(1)]


def everything(out: Path) -> dict:
    """A checkpoint without what the clock says."""
    blob = torch.load(out / "checkpoint.pt", weights_only=True)
    return {k: v for k, v in blob.items() if k != "seconds"}


def assert_same(a, b, at: str = "checkpoint") -> None:
    """Bitwise, through dictionaries and lists."""
    assert type(a) is type(b), at
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for k in a:
            assert_same(a[k], b[k], f"{at}.{k}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{at}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    else:
        assert a == b, at


@pytest.mark.parametrize(
    ("volumes", "config", "message"),
    [
        ([], TINY, "list is empty"),
        ([replace(subject(), target=None)], TINY, "s0 has no target image"),
        ([replace(subject(), source=subject().source[:1])], TINY, "s0 has 1 sources, but the net takes 2"),
        ([subject()], replace(TINY, window=9), "window 9 must be a multiple of 2"),
    ],
)
def test_volumes_that_do_not_fit_are_refused(volumes, config, message):
    with pytest.raises(InputError, match=message):
        fit(volumes, config)


def test_learning_rate_rises_then_falls():
    config = replace(TINY, steps=100, warmup=10, lr=1e-3, lr_end=1e-5)
    rates = [learning_rate(config, i) for i in range(101)]
    assert rates[0] == pytest.approx(1e-4) and rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[55] == pytest.approx((1e-3 + 1e-5) / 2) and rates[100] == pytest.approx(1e-5)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert all(type(r) is float for r in rates)  # NumPy's would make the checkpoint unreadable
    assert learning_rate(replace(config, lr_end=1e-3), 77) == pytest.approx(1e-3)


def test_training_learns():
    config = replace(TINY, steps=60, batch_size=8, lr=3e-3, ema=0.9, warmup=5)
    pool = make_pool(VOLUMES[:1], config)
    torch.manual_seed(config.seed)
    before = validation_loss({"net": NET.build()}, pool, config)
    net = fit(VOLUMES[:1], config)
    assert not net.training
    assert validation_loss({"net": net}, pool, config) < 0.6 * before


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    fit(VOLUMES, TINY, out=out, validation=VOLUMES[1:], checkpoint_every=4)
    return out


def test_validation_takes_half_precision_on_a_cpu(monkeypatch):
    """As on processors with bfloat16, where an autocast region refuses to stack the pool's float16."""
    monkeypatch.setattr(loop, "autocast_dtype", lambda device: torch.bfloat16)
    log: list[dict] = []
    fit(VOLUMES, TINY, validation=VOLUMES, checkpoint_every=5, on_log=log.append)
    assert len(log) == 2 and all(np.isfinite(entry["validation"]) for entry in log)


def test_ten_steps_are_five_and_five(unbroken, tmp_path):
    logs = []
    fit(VOLUMES, TINY, out=tmp_path, stop_after=5)
    net = fit(VOLUMES, TINY, out=tmp_path, stop_after=5, on_log=logs.append)
    assert_same(everything(unbroken), everything(tmp_path))
    assert logs[-1]["step"] == 10 and [p.name for p in sorted(tmp_path.iterdir())] == ["checkpoint.pt", "log.jsonl"]
    # a finished run gives its net back without a step
    again = fit(VOLUMES, TINY, out=tmp_path, on_log=lambda entry: pytest.fail("it trained again"))
    assert_same(dict(net.state_dict()), dict(again.state_dict()))


def test_the_log_and_the_random_state(unbroken):
    entries = [json.loads(line) for line in (unbroken / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in entries] == [4, 8, 10]
    assert all(np.isfinite([e["loss"], e["validation"], e["lr"], e["seconds"]]).all() for e in entries)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    fit(VOLUMES, replace(TINY, steps=1))
    assert torch.equal(state, torch.get_rng_state())


def test_time_is_counted_over_all_parts(tmp_path):
    logs = []
    for _ in range(2):
        fit(VOLUMES, TINY, out=tmp_path, stop_after=1, on_log=logs.append)
    assert logs[1]["seconds"] > logs[0]["seconds"]


def test_another_configuration_is_refused_and_nothing_lost(unbroken):
    before = (unbroken / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match="other settings"):
        fit(VOLUMES, replace(TINY, lr=0.5), out=unbroken)
    assert (unbroken / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [
        VOLUMES[:1],
        VOLUMES[::-1],
        [*VOLUMES, subject(2)],
        [VOLUMES[0], replace(VOLUMES[1], target=-VOLUMES[1].target)],
        [VOLUMES[0], replace(VOLUMES[1], mask=VOLUMES[1].mask.roll(1, 1))],
    ],
    ids=["fewer", "another order", "more", "another target", "another mask"],
)
def test_other_data_are_refused_and_nothing_lost(unbroken, data):
    before = (unbroken / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=r"checkpoint.pt belongs to a run on other data: give the same subjects"):
        fit(data, TINY, out=unbroken)
    assert (unbroken / "checkpoint.pt").read_bytes() == before


def test_the_names_of_subjects_are_no_data(unbroken):
    fit([replace(v, subject="renamed") for v in VOLUMES], TINY, out=unbroken)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"\x80\x02K\x01."])
def test_a_damaged_checkpoint_is_refused(unbroken, tmp_path, damage):
    (tmp_path / "checkpoint.pt").write_bytes(damage((unbroken / "checkpoint.pt").read_bytes()))
    with pytest.raises(InputError, match=r"checkpoint.pt is damaged"):
        fit(VOLUMES, TINY, out=tmp_path)


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("yoda_nb.training.loop.data_hash", lambda pool: "the same, by its word")
    fit(VOLUMES, TINY, out=tmp_path, stop_after=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    sick = [replace(v, target=v.target * torch.nan) for v in VOLUMES]
    with pytest.raises(InputError, match="loss is nan by step 4"):
        fit(sick, TINY, out=tmp_path, stop_after=2)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_another_net_to_start_from():
    torch.manual_seed(3)
    other = NET.build()
    net = fit(VOLUMES, replace(TINY, steps=1, lr=0.0, lr_end=0.0), initial=other)
    assert_same(dict(net.state_dict()), dict(other.state_dict()))


HERE = Path(__file__).parent


INTERRUPTED = """
import sys
sys.path[:0] = {path}
from dataclasses import replace
from pathlib import Path
import torch
from test_loop import TINY, VOLUMES, fit
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
    script = INTERRUPTED.format(path=[str(HERE), str(HERE.parent)], out=str(tmp_path))
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
from test_loop import TINY, VOLUMES, fit
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
    script.write_text(TWO.format(path=[str(HERE), str(HERE.parent)], out=str(tmp_path)))
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
