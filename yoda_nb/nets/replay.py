"""A small net on a large GPU waits for its launches: recorded once for each shape, then replayed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SMALL = 10_000_000  # parameters; larger nets keep a GPU busy as they are
KEPT = 64  # shapes that are remembered: each graph holds memory


class Replay(nn.Module):
    """A net without gradients as CUDA graphs: from the second call with inputs of some shapes on.

    On a CPU, with gradients, of a large net, of one that is watched (hooks), and where a net cannot be recorded
    it runs as it is. Autocast must not cache its casts. Graphs share their memory: outputs are copies. Of more than
    ``KEPT`` shapes those that were used least recently are forgotten.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        # shapes -> graph, inputs, output; None: seen once; False: refused; the last used at the end
        self.recorded: dict[Any, Any] = {}
        self.pool: Any = None

    def __deepcopy__(self, memo: dict) -> None:
        return None  # a copy of a net records its own

    def forward(self, slabs: Tensor, times: Tensor, **given: Tensor) -> Tensor:
        if not slabs.is_cuda or torch.is_grad_enabled() or self.net._forward_hooks:
            return self.net(slabs, times, **given)
        weights = list(self.net.parameters())
        if sum(p.numel() for p in weights) > SMALL:
            return self.net(slabs, times, **given)
        inputs = {"slabs": slabs, "times": times, **given}
        where = tuple(p.data_ptr() for p in weights)  # a net that was moved lies elsewhere
        key = (where, torch.is_autocast_enabled("cuda"), *((k, x.shape, x.dtype) for k, x in inputs.items()))
        found = self._found(key, inputs)
        if not found:
            return self.net(slabs, times, **given)
        graph, mine, out = found
        for name, x in inputs.items():
            mine[name].copy_(x)
        graph.replay()
        return out.clone()

    def _found(self, key: Any, inputs: dict[str, Tensor]) -> Any:
        """What is recorded under a key, from its second use on; nothing at its first."""
        seen = key in self.recorded
        found = self.recorded.pop(key, None)
        if seen and found is None:
            found = self._record(inputs)
        self.recorded[key] = found
        if len(self.recorded) > KEPT:
            del self.recorded[next(iter(self.recorded))]
        return found

    def _record(self, inputs: dict[str, Tensor]) -> Any:
        mine = {name: x.clone() for name, x in inputs.items()}
        given = {name: x for name, x in mine.items() if name not in ("slabs", "times")}
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # as PyTorch asks for
            self.net(mine["slabs"], mine["times"], **given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self.pool):
                out = self.net(mine["slabs"], mine["times"], **given)
        except RuntimeError:
            return False
        return graph, mine, out


def replayed(net: nn.Module) -> nn.Module:
    """The one ``Replay`` of a net."""
    known = net.__dict__.get("_replay")
    if known is None:
        known = net.__dict__["_replay"] = Replay(net)  # no part of the net: neither saved nor moved with it
    return known
