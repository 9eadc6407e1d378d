"""What every net and its configuration offer: a configuration rebuilds its net from a model card.

Every net takes slabs (N, (1 + C) * S, A, B), the S slices of x_t before those of the C sources,
and times (N,), and returns (N, out_slices, A, B). Some take more by name: ``style`` (N,3,bins),
``latent`` (N,L), ``previous`` (N,out_slices,A,B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn


class Config(Protocol):
    """What every kind's configuration, a frozen dataclass, offers."""

    kind: ClassVar[str]  # its name on a card
    n_sources: int
    thickness: int  # slices of a slab

    @property
    def out_slices(self) -> int: ...  # slices of an output

    @property
    def divisor(self) -> int: ...  # slice sides must be multiples of this

    def build(self) -> nn.Module: ...


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def config_to_dict(config: Config) -> dict[str, Any]:
    """What a model card keeps of a configuration: its kind and its fields."""
    return {"kind": config.kind, **asdict(config)}  # type: ignore[call-overload]


def config_from_dict(values: Mapping[str, Any], kinds: Mapping[str, type]) -> Config:
    """Inverse of ``config_to_dict``; ``kinds`` maps a card's kind to its configuration."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    return kinds[values["kind"]](**given)


class Given(nn.Module):
    """A net with inputs that stay the same for all slabs of a volume: each (1, ..) is repeated."""

    def __init__(self, net: nn.Module, **given: Tensor):
        super().__init__()
        self.net, self.given = net, given

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        rest = {k: v.to(slabs.device).expand(len(slabs), *v.shape[1:]) for k, v in self.given.items()}
        return self.net(slabs, times, **rest)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision that pays on a device, None where only float32 does."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        # without native instructions bf16 is emulated and slower than float32
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return None
