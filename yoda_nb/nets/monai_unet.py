"""MONAI's diffusion U-Net over slabs [YODA III-D]."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from yoda_nb.nets.base import Config


@dataclass(frozen=True)
class MonaiUNetConfig(Config):
    """What rebuilds a net from its card."""

    channels: tuple[int, ...] = (32, 48, 96, 96)
    attention: tuple[bool, ...] = (False, False, False, True)
    res_blocks: int = 1
    head_channels: int = 32
    norm_groups: int = 16
    thickness: int = field(default=5, kw_only=True)
    kind: ClassVar[str] = "monai-unet"

    @property
    def in_channels(self) -> int:
        return (1 + self.n_sources) * self.thickness

    @property
    def divisor(self) -> int:
        """Slice sides must be multiples of this: one halving a level."""
        return 2 ** (len(self.channels) - 1)

    def build(self) -> nn.Module:
        """(N, (1 + n_sources) * thickness, A, B), times (N,) -> (N, 1, A, B)."""
        from monai.networks.nets import DiffusionModelUNet  # seconds: only where it is built

        return DiffusionModelUNet(
            spatial_dims=2,
            in_channels=self.in_channels,
            out_channels=1,
            channels=self.channels,
            attention_levels=self.attention,
            num_res_blocks=self.res_blocks,
            num_head_channels=self.head_channels,
            norm_num_groups=self.norm_groups,
        )
