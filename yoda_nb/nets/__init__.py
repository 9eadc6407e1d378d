"""Nets by kind: a configuration rebuilds its net from a model card.

Every net takes slabs (N, (1 + C) * S, A, B), the S slices of x_t before those of the C sources,
and times (N,), and returns (N, out_slices, A, B). Some take more by name: ``style`` (N,3,bins),
``latent`` (N,L), ``previous`` (N,out_slices,A,B).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

import torch
from torch import Tensor, nn

from yoda_nb.nets.adversarial import HalfUNetConfig, ResNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.nets.vit import DiTConfig, UViTConfig
from yoda_nb.nets.yoda import PRESETS, NetConfig

__all__ = ["FAMILIES", "PRESETS", "Config", "DiTConfig", "Given", "NetConfig", "UNetConfig", "UViTConfig",
           "autocast_dtype", "build", "config_from_dict", "config_to_dict", "n_parameters"]  # fmt: skip


class Config(Protocol):
    """What every family's configuration, a frozen dataclass, offers."""

    kind: str  # its name in FAMILIES
    n_sources: int
    thickness: int  # slices of a slab
    out_slices: int

    @property
    def divisor(self) -> int: ...  # slice sides must be multiples of this

    def build(self) -> nn.Module: ...


FAMILIES: dict[str, type] = {
    c.kind: c for c in (NetConfig, UNetConfig, UViTConfig, DiTConfig, HalfUNetConfig, ResNetConfig)
}


def build(config: Config) -> nn.Module:
    """The untrained net of a configuration."""
    return config.build()


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def config_to_dict(config: Config) -> dict:
    return {"kind": config.kind, **asdict(config)}


def config_from_dict(values: dict) -> Config:
    """The configuration of a card; cards without a ``kind`` are of YODA's net."""
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    return FAMILIES[values.get("kind", NetConfig.kind)](**given)


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
