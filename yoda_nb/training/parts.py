"""A step in parts: a batch shared among processes, or passed in turn where memory is short.

Losses stay whole, so means over a batch (their weights, their penalties) are those of the undivided step; only what
a net does to each slab is divided. Nets treat slabs apart, so their outputs differ by rounding alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from yoda_nb.errors import InputError


class Divided(nn.Module):
    """A net called as ``net(slabs, ..., **given)``, tensors (N, ..), None or words: (N, ..), the output of all N slabs.

    Each process passes its share of the slabs where their number allows, and gathers the others'. A share goes
    through the net in ``parts``, whose inner values are computed again on the way back: memory for one part at a time.
    """

    def __init__(self, net: nn.Module, parts: int = 1):
        super().__init__()
        self.net, self.parts = net, parts

    def forward(self, *inputs: Tensor | None, **given: Tensor | str | None) -> Tensor:
        n, (rank, world) = _length(inputs), _here()
        if world == 1 or n % world:
            return self._passed(n, inputs, given)
        own = slice(rank * n // world, (rank + 1) * n // world)
        return _Gathered.apply(self._passed(n // world, *_rows(own, inputs, given)))

    def _passed(self, n: int, inputs: tuple, given: dict) -> Tensor:
        if self.parts == 1 or n == 1:
            return self.net(*inputs, **given)
        ends = [k * n // self.parts for k in range(self.parts + 1)]
        outputs = []
        for rows in (slice(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True) if a < b):
            some, more = _rows(rows, inputs, given)
            if torch.is_grad_enabled():  # nets draw nothing, so there is no random state to keep
                made = checkpoint(self.net, *some, use_reentrant=False, preserve_rng_state=False, **more)
            else:
                made = self.net(*some, **more)
            outputs.append(made)
        return torch.cat(outputs)


def average_gradients(weights: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over processes, in one exchange."""
    gradients = [p.grad for p in weights if p.grad is not None]
    mean = everywhere(torch.cat([g.reshape(-1) for g in gradients])).split([g.numel() for g in gradients])
    for gradient, found in zip(gradients, mean, strict=True):
        gradient.copy_(found.view_as(gradient))


def everywhere(x: Tensor) -> Tensor:
    """The mean of a tensor over processes, itself where there is one; differentiable.

    The derivative of a loss by what is divided lies in pieces, one a process, each of them as often as there are
    processes with that loss: their mean is the derivative of the undivided step.
    """
    return x if _here()[1] == 1 else _Mean.apply(x)


def check_parts(batch_size: int, parts: int) -> None:
    """InputError where a batch cannot be divided so."""
    world = _here()[1]
    if parts < 1:
        raise InputError(f"A batch cannot go through a net in {parts} parts: give accumulate a number from 1.")
    if batch_size % world:
        raise InputError(
            f"A batch of {batch_size} slabs cannot be shared alike among {world} processes: "
            f"choose a batch size that is a multiple of {world}."
        )


class _Gathered(torch.autograd.Function):
    """The slabs (n, ..) of every process, one behind the other; a gradient goes back to whose slab it is."""

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        ctx.n = len(own)
        pieces = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(_here()[1])]
        dist.all_gather(pieces, own.contiguous())
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        (gradient,), (rank, world) = gradients, _here()
        return everywhere(gradient).narrow(0, rank * ctx.n, ctx.n) * world


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total / _here()[1]

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        return everywhere(gradients[0])


def _here() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _length(inputs: tuple) -> int:
    return len(next(x for x in inputs if x is not None))


def _rows(rows: slice, inputs: tuple, given: dict) -> tuple[tuple, dict]:
    def cut(x):
        return x[rows] if isinstance(x, Tensor) else x

    return tuple(cut(x) for x in inputs), {name: cut(x) for name, x in given.items()}
