"""The devices of a machine by name, and one sentence for any other, whatever the command."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.errors import InputError
from yoda_nb.nets.devices import find_device

MACHINES = {0: "cpu.", 1: "cpu or cuda or cuda:0.", 2: "cpu or cuda or cuda:0 or cuda:1."}


@pytest.fixture(params=MACHINES)
def gpus(request, monkeypatch):
    """How many GPUs this machine is said to have."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


def test_without_a_name_the_gpu_is_taken_if_there_is_one(gpus):
    for name in (None, ""):
        assert find_device(name) == torch.device("cuda" if gpus else "cpu")


def test_devices_that_are_here(gpus):
    assert find_device("cpu").type == find_device(torch.device("cpu")).type == "cpu"
    assert find_device("cpu:0").type == "cpu"
    for name in ["cuda", *(f"cuda:{k}" for k in range(gpus))] if gpus else []:
        assert find_device(name) == torch.device(name) == find_device(torch.device(name))


@pytest.mark.parametrize(
    "name", ["gpu", "mps", "cuda:9", "cpu:1", "xpu", "meta", "GPU", "0", "cuda:-1", "cuda:x", "\u00e9"]
)
def test_others_are_named_with_what_there_is(gpus, name):
    with pytest.raises(InputError) as said:
        find_device(name)
    assert str(said.value) == f"There is no device {name!r} here: choose {MACHINES[gpus]}"


@pytest.mark.parametrize(
    "words",
    [
        ("translate", "--t1", "nowhere.nii", "--t2", "nowhere.nii", "-o", "made.nii.gz"),
        ("translate-all", "nowhere", "-o", "out"),
        ("train", "--save", "mine.safetensors", "--out", "run"),
        ("train", "--manifest", "nowhere.csv", "--dataset", "d", "--save", "mine.safetensors", "--out", "run"),
        ("sweep", "--study", "nowhere.csv", "--system", "unet", "-o", "out"),
        ("claims", "Y02"),
        ("report", "--set", "device=gpu", "-o", "out"),
        ("bench",),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_asks_for_its_device_before_it_reads_a_file(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words] if "report" in words else [*words, "--device", "gpu"])
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("Error: There is no device 'gpu' here: choose cpu") and done.stderr.count("\n") == 1
    assert not done.stdout and not list(tmp_path.iterdir())
