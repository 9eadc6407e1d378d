"""A small net on a large GPU waits for its launches: forward and backward as CUDA graphs, replayed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Graphed(nn.Module):
    """A net called as ``net(slabs, times)``: from the second call with gradients on, of shapes that stay.

    Anything else (no gradients, other shapes, further inputs, a net that cannot be captured) runs the net as
    it is. ``captured`` says which. Autocast must not cache its casts.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.shapes: tuple[torch.Size, torch.Size] | None = None
        self.replay: Any = None  # (slabs, times) -> output
        self.refused = ""

    @property
    def captured(self) -> bool:
        return self.replay is not None

    def forward(self, slabs: Tensor, times: Tensor, **given: Tensor) -> Tensor:
        if given or not torch.is_grad_enabled() or not slabs.is_cuda or self.refused:
            return self.net(slabs, times, **given)
        shapes = slabs.shape, times.shape
        if self.shapes is None:
            self.shapes, first = shapes, self.net(slabs, times)
            return first
        if shapes != self.shapes:
            return self.net(slabs, times)
        if self.replay is None:
            try:
                # a twin that shares the weights: capturing changes the forward of what it is given
                self.replay = torch.cuda.make_graphed_callables(_Twin(self.net), (slabs.detach(), times))
            except RuntimeError as error:
                self.refused = str(error)
                return self.net(slabs, times)
        return self.replay(slabs, times)


class _Twin(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        self.train(net.training)

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        return self.net(slabs, times)
