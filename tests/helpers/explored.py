"""What tests of explorers share: a box of images that need no net, and what a spec says in a state."""

from __future__ import annotations

import gzip

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

# the first figure of a process asks the running IPython, which one test replaces
plt.switch_backend("agg")

SHAPE = (1, 14, 16, 15)


@pytest.fixture(scope="module")
def small():
    """A box of a mask and images that need no net: name -> (1,14,16,15) in [-1,1]."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[:, 1:13, 2:15, 1:13] = True
    names = ("a", "b", "c")
    images = {n: torch.where(mask, torch.rand(SHAPE, generator=generator) * 2 - 1, -1.0) for n in names}
    return mask, images


def frame(explorer, name: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(explorer.frames[name]), np.uint8).reshape(explorer.spec["shape"])


def shown(value, **state):
    """What a spec says in a state, as the front end reads it."""
    while isinstance(value, dict) and "by" in value:
        value = value["values"][state[value["by"]]]
    return value
