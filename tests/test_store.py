"""The bank: the same bits read as computed, and no damage goes unnoticed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic
from yoda_nb.store import VERSIONS, Bank, canonical_json, clear, entries, key_of, recall

DESCRIPTION = {"system": "yoda-expa", "n_ex": 10, "seed": 0, "source": torch.arange(6.0)}


class Sampler:
    """Counts its calls, and gives every dtype a system may keep."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        noise = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(3))
        return {
            "x0": noise,
            "half": noise.half(),
            "brain": noise > 0,
            "turned": noise.transpose(1, 3),  # not contiguous
            "again": noise,  # shares memory with x0
            "bf16": noise.bfloat16(),
            "count": torch.tensor(7),
            "none": torch.zeros(0, 3),
        }


class Floats(Sampler):
    """Without the booleans: a byte of 3 reads as True, so some flips in them change nothing."""

    def __call__(self):
        return {name: x for name, x in super().__call__().items() if x.dtype != torch.bool}


def only_file(bank: Bank) -> Path:
    (path,) = bank.root.glob("*.safetensors")
    return path


def files_of(bank: Bank) -> list[Path]:
    return [path for path in bank.root.rglob("*") if path.is_file()]


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]), name


@pytest.fixture
def bank(tmp_path) -> Bank:
    return Bank(tmp_path / "bank")


def test_the_second_recall_reads_the_same_bits(bank):
    sampler = Sampler()
    computed, read = (recall(bank, DESCRIPTION, sampler) for _ in range(2))
    assert sampler.calls == 1
    assert_same(computed, read)
    assert_same(computed, Sampler()())
    assert all(tensor.is_contiguous() for tensor in computed.values())
    assert only_file(bank).suffix == ".safetensors"


def test_what_a_caller_does_to_a_result_stays_with_the_caller(bank):
    first = recall(bank, DESCRIPTION, Sampler())
    first["x0"].zero_()
    assert torch.equal(first["again"], Sampler()()["x0"])
    second = recall(bank, DESCRIPTION, Sampler())
    second["x0"].zero_()
    assert_same(recall(bank, DESCRIPTION, Sampler()), recall(bank, {"seed": 1}, Sampler()))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"system": "yoda-ddim"},
        {"source": torch.arange(6.0).half()},
        {"source": torch.arange(6.0).reshape(2, 3)},
        {"source": torch.arange(6.0) + 1e-6},
        {"extra": None},
    ],
)
def test_whatever_determines_a_sample_is_in_its_key(change):
    assert key_of(DESCRIPTION) != key_of({**DESCRIPTION, **change})


def test_a_key_depends_on_content_alone():
    @dataclass(frozen=True)
    class Setting:
        steps: int

    strided = torch.arange(12.0).reshape(6, 2)[:, 0] / 2
    assert key_of({"b": 1, "a": (1, 2)}) == key_of({"a": [1, 2], "b": np.int64(1)})
    assert key_of({"x": strided}) == key_of({"x": torch.arange(6.0)})
    assert key_of({"x": np.arange(6, dtype=np.float32)}) == key_of({"x": torch.arange(6.0)})
    assert key_of({"x": Setting(1)}) == key_of({"x": Setting(1)}) != key_of({"x": Setting(2)})


@pytest.mark.parametrize("value", [Path("a.nii"), print, object(), {1, 2}, {1: "a"}])
def test_a_value_that_hides_its_content_is_refused(value):
    with pytest.raises(TypeError, match="description"):
        key_of({"value": value})


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(), items, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_equal_keys_mean_equal_descriptions(description):
    reordered = dict(reversed(description.items()))
    assert canonical_json(description) == canonical_json(reordered)
    assert key_of({"outer": description}) != key_of(description)


def damages(data: bytes):
    header = 8 + int.from_bytes(data[:8], "little")
    yield "empty", b""
    for share in (0.1, 0.5, 0.99):
        yield f"cut at {share}", data[: int(len(data) * share)]
    rng = np.random.default_rng(0)
    for position in [0, 7, 9, header - 3, header, len(data) - 1, *rng.integers(0, len(data), 25)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(rng.integers(8))
        yield f"bit flipped in byte {position} of header {header}", bytes(flipped)
    yield "other content", b"\x80\x04\x95" + data


def test_any_damage_is_noticed_and_healed(bank):
    truth = recall(bank, DESCRIPTION, Floats())
    path = only_file(bank)
    whole = path.read_bytes()
    for name, data in damages(whole):
        path.write_bytes(data)
        sampler = Floats()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert_same(truth, recall(bank, DESCRIPTION, sampler))
        assert sampler.calls == 1, name
        assert "damaged" in str(caught[0].message), name
        assert_same(truth, recall(bank, DESCRIPTION, sampler))
        assert sampler.calls == 1, name


def test_an_entry_under_a_wrong_name_is_not_used(bank):
    recall(bank, {"seed": 1}, Sampler())
    stored = only_file(bank)
    recall(bank, {"seed": 2}, lambda: {"x": torch.ones(1)})
    (other,) = set(bank.root.glob("*.safetensors")) - {stored}
    os.replace(stored, other)
    with pytest.warns(UserWarning, match="description does not match"):
        assert recall(bank, {"seed": 2}, lambda: {"x": torch.ones(1)})["x"] == 1


def test_changed_sampling_code_is_not_answered_from_the_bank(bank, monkeypatch):
    recall(bank, DESCRIPTION, Sampler())
    monkeypatch.setitem(VERSIONS, "sampling", 0)
    sampler = Sampler()
    recall(bank, DESCRIPTION, sampler)
    assert sampler.calls == 1


def test_a_bank_that_cannot_be_written_still_gives_the_result(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(UserWarning, match="could not be stored"):
        result = recall(Bank(tmp_path / "file"), DESCRIPTION, Sampler())
    assert_same(result, Sampler()())


def test_a_failed_computation_leaves_nothing(bank):
    with pytest.raises(ZeroDivisionError):
        recall(bank, DESCRIPTION, lambda: 1 / 0)
    assert not files_of(bank)


def test_strays_of_killed_writers_are_removed(bank):
    bank.root.mkdir()
    with atomic(bank.root / "a.safetensors") as one, atomic(bank.root / "b.safetensors") as two:
        old, fresh = one.name, two.name  # as `atomic` names them
        for part in (one, two):
            part.write_bytes(b"half")
    clear(bank)
    for name in (old, fresh):
        (bank.root / name).write_bytes(b"half")
    os.utime(bank.root / old, (time.time() - 1e5,) * 2)
    recall(bank, DESCRIPTION, Sampler())
    assert not (bank.root / old).exists()
    assert (bank.root / fresh).exists()  # it may still have its writer
    clear(bank)
    assert not files_of(bank)


def test_entries_and_clear(bank):
    assert entries(bank) == [] and clear(bank) == 0
    for seed in range(3):
        recall(bank, {"seed": seed}, Sampler())
    newest = sorted(bank.root.glob("*.safetensors"))[1]
    for path in bank.root.glob("*.safetensors"):
        os.utime(path, (time.time() - 1000,) * 2)
    os.utime(newest)
    newest_first = entries(bank)
    assert newest_first[0].path == newest
    assert {entry.description["seed"] for entry in newest_first} == {0, 1, 2}
    newest_first[2].path.write_bytes(b"")
    assert [entry.description is None for entry in entries(bank)].count(True) == 1
    assert clear(bank, older_than=500) in (1, 2)  # the emptied one is new again
    assert clear(bank) in (1, 2) and entries(bank) == []
    with pytest.raises(InputError):
        clear(bank, older_than=-1)


def test_one_entry_is_computed_by_one_process_and_read_by_the_other(bank, tmp_path):
    program = (
        "import sys, time, torch; from pathlib import Path; from yoda_nb.store import Bank, recall\n"
        "def compute():\n"
        "    open(sys.argv[2], 'a').write('computed\\n'); time.sleep(1)\n"
        "    return {'x': torch.arange(9)}\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "assert (recall(Bank(Path(sys.argv[1])), {'i': 1}, compute)['x'] == torch.arange(9)).all()\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(bank.root), str(tmp_path / "log")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    askers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for asker in askers:
        assert asker.stdout.readline() == "ready\n"
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    for asker in askers:
        asker.communicate(timeout=120)
    assert [asker.returncode for asker in askers] == [0, 0]
    assert (tmp_path / "log").read_text() == "computed\n" and len(files_of(bank)) == 1
