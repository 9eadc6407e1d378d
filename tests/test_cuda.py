"""On a GPU: what a CPU gives, the same twice, and training by graphs as training without. Skipped where there is none."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import find_model, load_model
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.graphs import Graphed
from yoda_nb.training.loop import fit
from yoda_nb.yoda import PRESETS

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
CONFIG = TrainConfig(net=PRESETS["micro"], steps=6, batch_size=4, window=32, warmup=2, lr=1e-3)
SYSTEMS = {"yoda-regression": {}, "yoda-ddim": {"n_steps": 10}, "yoda-diffusion": {"n_steps": 10}}


@pytest.fixture(scope="module")
def volume():
    return phantom_case(3, spacing=6.0, shape=(32, 32, 32))


@pytest.fixture
def exact(monkeypatch):
    """Convolutions and products in float32, not in what CUDA takes for it."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / (b + 1).norm())


@needs_cuda
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_gpu_gives_what_a_cpu_gives(system, volume, exact):
    how = {"seed": 1, "half": False, **SYSTEMS[system]}
    cpu, gpu = (translate(volume, system, device=device, **how).target for device in ("cpu", "cuda"))
    half = translate(volume, system, device="cuda", **(how | {"half": True})).target
    print(f"{system}: float32 {relative(gpu, cpu):.2g}, half {relative(half, cpu):.2g}")
    assert relative(gpu, cpu) < 1e-4 and relative(half, cpu) < 2e-2


@needs_cuda
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_same_seed_gives_the_same_bytes(system, volume):
    one, two = (translate(volume, system, device="cuda", seed=5, **SYSTEMS[system]).target for _ in range(2))
    assert torch.equal(one, two)


@needs_cuda
def test_training_by_graphs_is_training(volume, exact, monkeypatch):
    config = replace(CONFIG, half=False)
    graphed = fit([volume], config, device="cuda")
    monkeypatch.setattr("yoda_nb.training.loop.Graphed", lambda net: net)
    plain = fit([volume], config, device="cuda")
    for a, b in zip(graphed.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=2e-3)  # six steps of 1e-3, where Adam makes much of rounding
    assert all(p.isfinite().all() for p in graphed.parameters())


@needs_cuda
def test_a_net_is_captured_once_and_gives_its_own_gradients(volume, exact):
    net = PRESETS["micro"].build().cuda()
    wrapped, slabs = Graphed(net), torch.randn(4, 15, 32, 32, device="cuda")
    times = torch.arange(4, device="cuda")
    for _ in range(4):
        net.zero_grad()
        wrapped(slabs, times).square().mean().backward()
    assert wrapped.captured, wrapped.refused
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    net(slabs, times).square().mean().backward()
    for a, p in zip(found, net.parameters(), strict=True):
        assert torch.allclose(a, p.grad, atol=1e-5, rtol=1e-3)
    other = torch.randn(2, 15, 32, 32, device="cuda")
    assert torch.equal(wrapped(other, times[:2]), net(other, times[:2]))  # of another shape: the net as it is


@needs_cuda
def test_players_by_graphs_are_players(volume, exact, monkeypatch):
    row = TRAININGS["syndiff"].config
    config = replace(row, steps=8, batch_size=4, window=32, warmup=2, half=False)
    other = phantom_case(4, spacing=6.0, shape=(32, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # refused to record
        warnings.filterwarnings("ignore", message=".*AccumulateGrad")
        recorded = fit([volume, other], config, device="cuda")
    monkeypatch.setattr("yoda_nb.training.loop._recorded", lambda *given: [])
    plain = fit([volume, other], config, device="cuda")
    for a, b in zip(recorded.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a, b, atol=5e-3)


@needs_cuda
def test_a_recorded_net_gives_what_it_gives(volume):
    how = {"device": "cuda", "seed": 3, "n_steps": 7}
    recorded = translate(volume, "yoda-ddim", **how).target
    net = load_model(find_model(volume.sources, None, 6.0, steps=7)).net
    assert any(net.__dict__["_replay"].recorded.values()), "nothing was recorded"
    watch = net.register_forward_hook(lambda *given: None)  # a net that is watched runs as it is
    try:
        assert torch.equal(translate(volume, "yoda-ddim", **how).target, recorded)
    finally:
        watch.remove()
