"""A net that takes its own previous estimate, iterated until it agrees with itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfConsistent(nn.Module):
    """Estimates of x0 from estimates of x0, from zero on (Arslan et al. 2024, arXiv 2405.06789).

    net(slabs, times, previous=(N,out_slices,A,B)) -> (N,out_slices,A,B), the next estimate. A
    slice stops where its mean absolute change falls below ``threshold`` ([-1,1] scale), at the
    latest after ``recursions`` estimates; those already there stay, so that the result of a slice
    does not depend on which others are in its batch. ``counts`` holds how many each slice took in
    the last call.
    """

    def __init__(self, net: nn.Module, recursions: int, threshold: float = 0.01):
        super().__init__()
        self.net, self.recursions, self.threshold = net, recursions, threshold
        self.counts = torch.zeros(0, dtype=torch.long)

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        found = self.net(slabs, times)
        self.counts = torch.ones(len(slabs), dtype=torch.long, device=slabs.device)
        open_ = found.float().abs().mean((1, 2, 3)) >= self.threshold  # of these slices
        for _ in range(self.recursions - 1):
            if not open_.any():
                break
            at = open_.nonzero()[:, 0]
            following = self.net(slabs[at], times[at], previous=found[at])
            change = (following - found[at]).float().abs().mean((1, 2, 3))
            found[at], self.counts[at] = following, self.counts[at] + 1
            open_[at] = change >= self.threshold
        return found
