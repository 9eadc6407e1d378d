"""A small net on a large GPU waits for its launches: what a step does, recorded as CUDA graphs and replayed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from yoda_nb.training.batches import Batch

WARM = 3  # calls before recording, in which constants settle on the device


class Graphed(nn.Module):
    """A net called as ``net(slabs, times, **given)``: from the second call with gradients on, of shapes that stay.

    Anything else (no gradients, other shapes, a net that cannot be captured) runs the net as it is.
    ``captured`` says which. Autocast must not cache its casts.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.shapes: Any = None
        self.replay: Any = None  # (slabs, times, ...) -> output
        self.refused = ""

    @property
    def captured(self) -> bool:
        return self.replay is not None

    def forward(self, slabs: Tensor, times: Tensor, **given: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not slabs.is_cuda or self.refused:
            return self.net(slabs, times, **given)
        inputs = (slabs.detach(), times, *given.values())
        shapes = (tuple(given), *(x.shape for x in inputs))
        if self.shapes is None:
            self.shapes = shapes
        elif shapes == self.shapes and self.replay is None:
            try:
                # a twin that shares the weights: capturing changes the forward of what it is given
                self.replay = torch.cuda.make_graphed_callables(_Twin(self.net, tuple(given)), inputs)
            except RuntimeError as error:
                self.refused = str(error)
        if self.replay is None or shapes != self.shapes:
            return self.net(slabs, times, **given)
        return self.replay(*inputs)


class _Twin(nn.Module):
    def __init__(self, net: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.net, self.names = net, names
        self.train(net.training)

    def forward(self, slabs: Tensor, times: Tensor, *rest: Tensor) -> Tensor:
        return self.net(slabs, times, **dict(zip(self.names, rest, strict=True)))


class Recorded:
    """One player's loss and gradients: ``loss(nets, batch)`` and its backward, recorded after WARM calls.

    For losses of many nets, which draw nothing, ask the GPU nothing and see batches of one shape. Returns the loss;
    gradients are in the weights. What cannot be recorded is computed as it is, with a warning.
    """

    def __init__(self, loss: Callable[[Mapping[str, nn.Module], Batch], Tensor], weights: Sequence[nn.Parameter]):
        self.loss, self.weights = loss, list(weights)
        self.calls, self.refused = 0, ""
        self.graph: Any = None
        self.batch: Batch | None = None
        self.found = torch.zeros(())

    def __call__(self, nets: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        self.calls += 1
        if self.graph is None and self.calls > WARM and not self.refused and batch.target.is_cuda:
            self._record(nets, batch)
        if self.graph is None:
            return self._eager(nets, batch)
        assert self.batch is not None
        for mine, given in zip(vars(self.batch).values(), vars(batch).values(), strict=True):
            mine.copy_(given)
        self.graph.replay()
        return self.found.clone()

    def _eager(self, nets: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        for p in self.weights:
            p.grad = None
        loss = self.loss(nets, batch)
        loss.backward()
        return loss.detach()

    def _record(self, nets: Mapping[str, nn.Module], batch: Batch) -> None:
        self.batch = Batch(**{k: v.clone() for k, v in vars(batch).items()})
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # as PyTorch asks for
            for _ in range(WARM):
                self._eager(nets, self.batch)
        torch.cuda.current_stream().wait_stream(aside)
        for p in self.weights:
            p.grad = None
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                loss = self.loss(nets, self.batch)
                loss.backward()
        except RuntimeError as error:
            self.refused = str(error)
            warnings.warn(
                f"A step is not recorded as a CUDA graph and runs normally: {self.refused.splitlines()[0]}",
                stacklevel=2,
            )
            return
        self.graph, self.found = graph, loss.detach()
