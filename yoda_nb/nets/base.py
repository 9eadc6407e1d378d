"""What every net and its configuration offer: a configuration rebuilds its net from a model card.

Every net takes slabs (N, (1 + C) * S, A, B), the S slices of x_t before those of the C sources,
and times (N,), and returns (N, out_slices, A, B). Some take more by name: ``style`` (N,3,bins),
``latent`` (N,L), ``previous`` (N,out_slices,A,B).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Config:
    """What every kind's configuration holds and offers; ``kind`` is its name on a card."""

    n_sources: int = 2
    thickness: int = 1  # slices of a slab
    out_slices: int = 1  # of an output
    kind: ClassVar[str]

    @property
    def divisor(self) -> int:
        """Slice sides must be multiples of this."""
        raise NotImplementedError

    @property
    def counted(self) -> int:
        """Slabs of a budget of training that one of its slabs is worth: of a 3D net as many as it has slices."""
        return 1

    def build(self) -> nn.Module:
        """The untrained net."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class PatchConfig(Config):
    """A 3D net's: its slabs are patches of a volume, of which it makes every slice."""

    thickness: int = 15
    out_slices: int = 15

    @property
    def counted(self) -> int:
        return self.thickness


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def config_to_dict(config: Config) -> dict[str, Any]:
    """What a model card keeps of a configuration: its kind and its fields."""
    return {"kind": config.kind, **asdict(config)}


def config_from_dict(values: Mapping[str, Any], kinds: Mapping[str, type[Config]]) -> Config:
    """Inverse of ``config_to_dict``; ``kinds`` maps a card's kind to its configuration.

    Raises ValueError for a value of another type than its field's.
    """
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    kind = kinds[values["kind"]]
    try:
        TypeAdapter(kind).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"net.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return kind(**given)


class Given(nn.Module):
    """A net with inputs that stay the same for all slabs of a volume: each (1, ..) is repeated."""

    def __init__(self, net: nn.Module, **given: Tensor):
        super().__init__()
        self.net, self.given = net, given

    def forward(self, slabs: Tensor, times: Tensor) -> Tensor:
        rest = {k: v.to(slabs.device).expand(len(slabs), *v.shape[1:]) for k, v in self.given.items()}
        return self.net(slabs, times, **rest)


def placed(net: nn.Module, device: torch.device, order: torch.memory_format | None = None) -> nn.Module:
    """A net moved to its device, its kernels in an order: by default what is faster there, channels last on a CPU."""
    if order is None:
        order = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    return nn.utils.convert_conv2d_weight_memory_format(net.to(device), order)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision that pays on a device, None where only float32 does."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        # without native instructions bf16 is emulated and slower than float32
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return None
