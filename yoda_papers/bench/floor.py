"""The least that an evaluation can take: its operations at the rate of matrix products, its bytes at that of a copy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Traffic(TorchDispatchMode):
    """Counts the bytes that operators read and write while it is on: of all, and of convolutions and products alone.

    Views move nothing. What is in ``matrix`` must move even if all the rest were fused into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all = self.matrix = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket not in flop_registry:  # under inference_mode operators come whole
            with self:
                if (parts := func.decompose(*args, **kwargs)) is not NotImplemented:
                    return parts
        out = func(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(out)
        known = {x.untyped_storage()._cdata for x in given}
        if func._schema.is_mutable or any(x.untyped_storage()._cdata not in known for x in made):
            n = sum(x.numel() * x.element_size() for x in (*given, *made))
            self.all += n
            self.matrix += n if func.overloadpacket in flop_registry else 0
        return out


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """How long a call takes, with what it started on a GPU."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    begun = now()
    run()
    return now() - begun


def matrix_gflops(dtype: torch.dtype, device: torch.device) -> float:
    """GFLOP that a product of two square matrices does a second, at best."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.rand(n, n, device=device).to(dtype)
    return 2 * n**3 / _best(lambda: a @ a, device) / 1e9


def copy_gbytes(device: torch.device) -> float:
    """GB that a copy reads and writes a second, at best."""
    source = torch.rand(2**26, device=device)  # 256 MB, beyond any cache
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / _best(lambda: target.copy_(source), device) / 1e9


def _best(run: Callable[[], Any], device: torch.device, repeats: int = 5) -> float:
    return min(seconds_of(run, device) for _ in range(repeats))


def floors(gflop: float, matrix_gflops: float, gbytes: Mapping[str, float], copied: float) -> dict[str, float]:
    """Seconds of an evaluation by each count alone: none can be faster than the larger of the first two.

    ``gbytes`` "matrix" and "all", see ``Traffic``; the third is what operators take that are not fused.
    """
    return {
        "operations": gflop / matrix_gflops,
        "bytes": gbytes["matrix"] / copied,
        "bytes_unfused": gbytes["all"] / copied,
    }
