"""The training loop: what a run learns, and what a resumed one gives."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_loop import NET, TINY, VOLUMES, assert_same, everything, subject

from yoda_nb.errors import InputError
from yoda_nb.training import loop
from yoda_nb.training.batches import make_pool
from yoda_nb.training.loop import fit, learning_rate, validation_loss


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
