"""Recorded nets: when a shape is recorded, and how many are remembered."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import nn

from yoda_nb.nets import replay
from yoda_nb.nets.replay import Replay


class Graph:
    """What a recording holds."""


def test_shapes_are_recorded_at_their_second_use_and_few_are_kept(monkeypatch):
    """Without a GPU: recordings are made up."""
    monkeypatch.setattr(replay, "KEPT", 3)
    made: list[weakref.ref] = []

    def record(self, inputs):
        graph = Graph()
        made.append(weakref.ref(graph))
        return graph, inputs, None

    monkeypatch.setattr(Replay, "_record", record)
    net = Replay(nn.Identity())
    use = lambda key: net._found(key, {"slabs": torch.zeros(1)}) is not None  # noqa: E731
    assert [use("a"), use("a"), use("a")] == [False, True, True] and len(made) == 1
    for key in ("b", "c"):
        assert [use(key), use(key)] == [False, True]
    assert use("a"), "used again, so it is not the oldest"
    use("d")
    gc.collect()
    assert list(net.recorded) == ["c", "a", "d"]
    assert [graph() is None for graph in made] == [False, True, False], "b is forgotten, and what it held"
    for k in range(20):  # a box of its own for each batch, time and again: nothing is recorded that is not used
        use(k % 5)
    assert len(made) == 3 and len(net.recorded) == 3
