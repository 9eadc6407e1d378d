"""The solvers of second order with a trained net: nearer to the fine-step limit of DDIM at equal evaluations."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from yoda_nb.figures import explorers
from yoda_nb.images.volumes import Volume, crop_volume
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import get_system

MODEL = "systems/yoda"
LIMIT = 200  # steps of DDIM
STEPS = {"yoda-ddim": 32, "yoda-heun": 16, "yoda-dpmpp": 32}  # at most 32 evaluations


@cache
def slab() -> Volume:
    """The middle of two axial slices of a brain, at the model's voxel size."""
    return crop_volume(phantom_case(7), (slice(16, 48), slice(16, 48), slice(31, 33)))


def image(system: str, n_steps: int, **settings) -> torch.Tensor:
    how = {"model": MODEL, "views": (2,), "half": False, "batch_size": 64, "device": "cpu"}
    return translate(slab(), system, n_steps=n_steps, **how, **settings).target


def test_second_order_comes_nearer_to_the_limit_at_equal_evaluations():
    limit = image("yoda-ddim", LIMIT)
    far = {}
    for system, n in STEPS.items():
        assert get_system(system, n_steps=n).evaluations <= 32
        far[system] = float((image(system, n) - limit)[slab().mask].square().mean().sqrt() / 2)
    print({system: round(value, 5) for system, value in far.items()})
    assert far["yoda-heun"] < 0.9 * far["yoda-ddim"]
    assert far["yoda-dpmpp"] < 0.6 * far["yoda-ddim"]


@pytest.mark.parametrize("system", ["yoda-heun", "yoda-dpmpp"])
def test_a_trajectory_can_be_recorded(system):
    steps = explorers.record_trajectory(slab(), system, n_steps=3, model=MODEL, device="cpu")
    assert [step["s"] for step in steps][-1] == -1 and [step["view"] for step in steps] == [0, 1, 2]
    assert all(torch.isfinite(step["x"]).all() and torch.isfinite(step["x0"]).all() for step in steps)
