"""A step in parts or by two processes is the undivided step, within rounding, for every kind of loss."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from yoda_nb.errors import InputError
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.denoising import REGRESSION
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import _loss, _start, fit
from yoda_nb.training.parts import Divided, average_gradients

HERE = Path(__file__).parent
GRADIENT = 1e-5  # relative: norm of the difference over norm of the gradient, in float32
WEIGHTS = 1e-3  # the same of the weights after a few steps: Adam divides by the size of gradients near zero
VOLUMES = [phantom_case(seed, spacing=10.0, shape=(19, 22, 17)) for seed in range(2)]
BASE = {"steps": 4, "batch_size": 4, "window": 16, "warmup": 2, "half": False}
DIFFUSION = TrainConfig(net=MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3), **BASE)


def small(row: str, **changes) -> TrainConfig:
    """A row's method and kind of net, in a size for tests."""
    config = TRAININGS[row].config
    flat = {"attention": (False, False), "groups": 4} if config.net.kind == "unet" else {}
    return replace(config, net=replace(config.net, channels=(8, 8), **flat), **(BASE | changes))


CONFIGS = {
    "diffusion": DIFFUSION,
    "structure": replace(DIFFUSION, structure=0.5, lesions=2.0),
    "regression": replace(
        DIFFUSION, method=REGRESSION, net=UNetConfig((8, 8), (False, False), groups=4, noisy=False), views=(2,)
    ),
    "syndiff": small("syndiff"),
    "paired": small("syndiff-paired"),
    "unit": small("unit"),
    "munit": small("munit"),
    "sagan": small("sagan"),
    # its critic pays the penalty where the first slab's chance says so: with this seed it does
    "selfrdb": small("selfrdb", seed=3),
}


def gradients(config: TrainConfig, parts: int) -> dict[str, torch.Tensor]:
    """Each player's gradient, all nets one behind the other, by nets that differ a little from their start."""
    state, *_ = _start(config, torch.device("cpu"), None, None, "")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in state["nets"].parameters():  # layers that start at zero would hide those before them
            p += 0.05 * torch.randn(p.shape, generator=generator)
    divided = parts > 1 or dist.is_initialized()
    nets = {k: Divided(net, parts) if divided else net for k, net in state["nets"].items()}
    batch, found = draw_batch(make_pool(VOLUMES, config), config, 0), {}
    for k, player in enumerate(config.method.players):
        state["nets"].zero_grad()
        for name in state["nets"]:
            state["nets"][name].requires_grad_(name in player.nets)
        _loss(player, config, nets, batch).backward()
        weights = [p for name in player.nets for p in state["nets"][name].parameters()]
        if dist.is_initialized():
            average_gradients(weights)
        found[f"player {k}"] = torch.cat([p.grad.flatten() for p in weights])
    return found


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("parts", [3, 9])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_batch_in_parts_gives_the_same_gradient(name, parts):
    """Three parts of four slabs are of unlike sizes, nine are more than there are slabs."""
    whole, divided = gradients(CONFIGS[name], 1), gradients(CONFIGS[name], parts)
    assert all(g.norm() > 1e-3 for g in whole.values())
    far = {player: apart(divided[player], whole[player]) for player in whole}
    print(name, parts, far)
    assert max(far.values()) < GRADIENT, far


def test_the_penalty_of_a_critic_is_among_the_losses_tested():
    batch = draw_batch(make_pool(VOLUMES, CONFIGS["selfrdb"]), CONFIGS["selfrdb"], 0)
    assert batch.fractions[0] < 0.1
    assert TRAININGS["syndiff"].config.option("eta", 1.0) > 0


HELD = """
import torch
from torch import nn
from yoda_papers.bench.memory import _peak_mb
from yoda_nb.training.parts import Divided

layers = (layer for _ in range(24) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()))
net, slabs = Divided(nn.Sequential(*layers), {parts}), torch.randn(128, 8, 64, 64)
before = _peak_mb("cpu")
net(slabs).square().mean().backward()
print(_peak_mb("cpu") - before)
"""


def test_one_part_at_a_time_is_held():
    """MB by which a step raises the peak of a new process: 24 layers that hold 16 MiB each."""

    def grown(parts: int) -> float:
        run = [sys.executable, "-c", HELD.format(parts=parts)]
        return float(subprocess.run(run, capture_output=True, text=True, check=True, cwd=HERE.parents[1]).stdout)

    whole, divided = grown(1), grown(8)
    print(whole, divided)
    assert whole > 24 * 16, "each layer holds its output"
    assert divided < 0.6 * whole


def test_a_run_in_parts_is_the_run_undivided():
    whole, divided = (fit(VOLUMES, DIFFUSION, accumulate=k) for k in (1, 2))
    far = apart(*(nn.utils.parameters_to_vector(net.parameters()) for net in (divided, whole)))
    print(far)
    assert 0 < far < WEIGHTS / 100, "no adversary, whose gradients come near zero"


@pytest.mark.parametrize("parts", [0, -1])
def test_no_parts_are_refused(parts):
    with pytest.raises(InputError, match="give accumulate a number from 1"):
        fit(VOLUMES, DIFFUSION, accumulate=parts)


TWO = """
import os, sys
sys.path[:0] = {path}
from pathlib import Path
import torch
from test_parts import CONFIGS, VOLUMES, InputError, fit, gradients, replace
from yoda_nb.training.processes import process_group

out = Path({out!r})
with process_group() as rank:
    for name, config in CONFIGS.items():
        torch.save(gradients(config, 1), out / f"{{name}}-gradients-{{rank}}.pt")
    for name, parts in (("diffusion", 1), ("diffusion", 2), ("selfrdb", 1)):
        torch.save(dict(fit(VOLUMES, CONFIGS[name], accumulate=parts).state_dict()), out / f"{{name}}-{{parts}}-{{rank}}.pt")
    try:
        fit(VOLUMES, replace(CONFIGS["diffusion"], batch_size=3))
    except InputError as error:
        (out / f"said{{rank}}").write_text(str(error))
"""


def by_two(script: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The weights that two processes train, each as it holds them, for every method."""
    out = tmp_path_factory.mktemp("two")
    (out / "train.py").write_text(TWO.format(path=[str(HERE), str(HERE.parent)], out=str(out)))
    run = by_two(out / "train.py")
    assert run.returncode == 0, run.stderr
    return out


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_give_the_gradient_of_one(together, name):
    alone = gradients(CONFIGS[name], 1)
    first, second = (torch.load(together / f"{name}-gradients-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[k], second[k]) for k in alone), "both processes take the same step"
    far = {player: apart(first[player], alone[player]) for player in alone}
    print(name, far)
    assert max(far.values()) < GRADIENT, far


@pytest.mark.parametrize(("name", "parts", "limit"), [("diffusion", 1, WEIGHTS / 100), ("selfrdb", 1, WEIGHTS)])
def test_two_processes_give_the_weights_of_one(together, name, parts, limit):
    alone = fit(VOLUMES, CONFIGS[name]).state_dict()
    first, second = (torch.load(together / f"{name}-{parts}-{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[k], second[k]) for k in alone), "both processes hold the same net"
    far = apart(*(torch.cat([x.flatten() for x in state.values()]) for state in (first, alone)))
    print(name, far)
    assert 0 < far < limit
    if name == "diffusion":
        parted = torch.load(together / "diffusion-2-1.pt", weights_only=True)
        assert apart(*(torch.cat([x.flatten() for x in state.values()]) for state in (parted, alone))) < limit


def test_a_batch_that_processes_cannot_share_is_refused(together):
    said = [(together / f"said{rank}").read_text() for rank in range(2)]
    assert (
        said
        == ["A batch of 3 slabs cannot be shared alike among 2 processes: choose a batch size that is a multiple of 2."]
        * 2
    )
