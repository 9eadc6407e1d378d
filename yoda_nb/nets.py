"""Nets by name. Each takes (N, channels, A, B) and times (N,), and returns (N, 1, A, B)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class NetConfig:
    """What rebuilds a net from its card."""

    channels: tuple[int, ...] = (32, 48, 96, 96)
    attention: tuple[bool, ...] = (False, False, False, True)
    res_blocks: int = 1
    head_channels: int = 32
    norm_groups: int = 16
    n_sources: int = 2
    thickness: int = 5

    @property
    def in_channels(self) -> int:
        return (1 + self.n_sources) * self.thickness

    @property
    def divisor(self) -> int:
        """Slice sides must be multiples of this: one halving a level."""
        return 2 ** (len(self.channels) - 1)


PRESETS = {
    # ablations: many trainings at equal budget, 1.4 MB each as fp16
    "micro": NetConfig((16, 32, 48, 48), (False, False, False, True), 1, 16, 16),
    # two CPU cores, 3 mm
    "tiny": NetConfig(),
    # one GPU, 1 mm
    "small": NetConfig((48, 96, 128, 192), (False, False, False, True), 1, 32, 16),
    # seed 000, III-D: 128/128/256/256/512 channels, 0/0/1/1/2 heads
    "paper": NetConfig((128, 128, 256, 256, 512), (False, False, True, True, True), 2, 256, 32),
}


def build(config: NetConfig) -> nn.Module:
    """YODA's denoiser: MONAI's diffusion U-Net over slabs (seed 000, III-D).

    (N, (1 + n_sources) * thickness, A, B), times (N,) -> (N, 1, A, B); A and B multiples of
    ``config.divisor``.
    """
    from monai.networks.nets import DiffusionModelUNet

    return DiffusionModelUNet(
        spatial_dims=2,
        in_channels=config.in_channels,
        out_channels=1,
        channels=config.channels,
        attention_levels=config.attention,
        num_res_blocks=config.res_blocks,
        num_head_channels=config.head_channels,
        norm_num_groups=config.norm_groups,
    )


def n_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def config_to_dict(config: NetConfig) -> dict:
    return asdict(config)


def config_from_dict(values: dict) -> NetConfig:
    return NetConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """The half precision that pays on a device, None where only float32 does."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu":
        # without native instructions bf16 is emulated and slower than float32
        return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None
    return None
