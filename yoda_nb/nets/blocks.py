"""The blocks that nets of several papers share."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def sinusoids(values: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """(N,) -> (N, width): sines and cosines of geometrically spaced frequencies."""
    half = width // 2
    frequencies = torch.exp(-log(longest) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class TimeEmbedding(nn.Module):
    """Times, or log-SNRs, (N,) -> (N, width): sinusoids through two layers."""

    def __init__(self, width: int, scale: float = 1.0):
        super().__init__()
        self.width, self.scale = width, scale
        self.layers = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: Tensor) -> Tensor:
        dtype = next(self.layers.parameters()).dtype
        return self.layers(sinusoids(times * self.scale, self.width).to(dtype))


class RMSNorm(nn.Module):
    """Root-mean-square norm over channels of (N,C,A,B) or (N,L,C), as Koch uses (3.2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        axis, shape = (1, (-1, 1, 1)) if x.ndim == 4 else (-1, (-1,))
        scale = torch.rsqrt(x.float().square().mean(axis, keepdim=True) + 1e-6)
        return (x * scale.to(x.dtype)) * self.gain.view(shape).to(x.dtype)


class SwiGLU(nn.Module):
    """Gated linear unit with Swish (Shazeer 2020): (.., width) -> (.., width)."""

    def __init__(self, width: int, ratio: float = 8 / 3):
        super().__init__()
        hidden = max(8, int(width * ratio) // 8 * 8)
        self.gate, self.out = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.gate(x).chunk(2, -1)
        return self.out(value * F.silu(gate))


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with weights and biases of zero: what it is part of starts as the identity, or as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def norm_layer(kind: str, channels: int, groups: int) -> nn.Module:
    """ "group" or "rms"."""
    return nn.GroupNorm(groups, channels) if kind == "group" else RMSNorm(channels)


class ResBlock(nn.Module):
    """Two convolutions with a shortcut; an embedding (N,E), where there is one, scales and shifts."""

    def __init__(self, channels: int, out: int, embedding: int = 0, norm: str = "group", groups: int = 8):
        super().__init__()
        convolution = nn.Conv2d(channels, out, 3, padding=1)
        self.first = nn.Sequential(norm_layer(norm, channels, groups), nn.SiLU(), convolution)
        self.norm = norm_layer(norm, out, groups)
        self.second = nn.Sequential(nn.SiLU(), zeroed(nn.Conv2d(out, out, 3, padding=1)))
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out)) if embedding else None
        self.shortcut = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        h = self.norm(self.first(x))
        if self.modulate is not None:
            scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return self.shortcut(x) + self.second(h)


def run_blocks(blocks: nn.Module, h: Tensor, embedding: Tensor | None) -> Tensor:
    """Residual or transformer blocks, one after another."""
    for block in blocks.children():
        h = block(h, embedding)
    return h


class SelfAttention(nn.Module):
    """Attention among tokens (N,L,width)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (N,heads,L,w)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention, then SwiGLU, each after an RMSNorm and with a shortcut: (N,L,width) -> the same.

    With an ``embedding`` (N,E) the norms are scaled and shifted and the branches gated by it,
    starting as the identity (adaLN-zero of DiT).
    """

    def __init__(self, width: int, heads: int, embedding: int = 0):
        super().__init__()
        self.norms = nn.ModuleList([RMSNorm(width), RMSNorm(width)])
        self.branches = nn.ModuleList([SelfAttention(width, heads), SwiGLU(width)])
        self.modulate = nn.Sequential(nn.SiLU(), zeroed(nn.Linear(embedding, 6 * width))) if embedding else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        if self.modulate is None:
            for norm, branch in zip(self.norms, self.branches, strict=True):
                x = x + branch(norm(x))
            return x
        parts = self.modulate(embedding)[:, None].chunk(6, -1)  # 6 of (N,1,width)
        for norm, branch, (scale, shift, gate) in zip(self.norms, self.branches, (parts[:3], parts[3:]), strict=True):
            x = x + gate * branch(norm(x) * (1 + scale) + shift)
        return x


class PixelAttention(nn.Module):
    """Attention among the pixels of (N,C,A,B), with a shortcut."""

    def __init__(self, channels: int, heads: int, norm: str = "group", groups: int = 8):
        super().__init__()
        self.norm, self.attention = norm_layer(norm, channels, groups), SelfAttention(channels, heads)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(tokens).transpose(1, 2).unflatten(2, x.shape[2:])


class Down(nn.Sequential):
    """Halve the sides by pixel unshuffling (Shi et al. 2016), then mix channels."""

    def __init__(self, channels: int, out: int):
        super().__init__(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, out, 1))


class Up(nn.Sequential):
    """Double the sides by pixel shuffling (Shi et al. 2016)."""

    def __init__(self, channels: int, out: int):
        super().__init__(nn.Conv2d(channels, 4 * out, 1), nn.PixelShuffle(2))
