"""Weights in eight bits: one scale for each output channel, half the bytes of float16."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"  # ends the name of the scales that belong to a weight
LEVELS = 127


def narrowed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each weight of two or more dimensions (O, ...) as int8 beside its scales (O, 1, ...); the rest as it is.

    A value is off by half a level at most: 1/254 of the largest magnitude in its output channel.
    """
    found: dict[str, Tensor] = {}
    for name, weight in state.items():
        if weight.ndim < 2:
            found[name] = weight
            continue
        w = weight.float()
        scale = w.abs().amax(tuple(range(1, w.ndim)), keepdim=True).clamp_min(1e-12) / LEVELS
        found[name] = (w / scale).round().to(torch.int8)
        found[name + SCALE] = scale
    return found


def widened(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``narrowed`` kept, as float32; any other state as it is."""
    return {
        name: state[name].float() * state[name + SCALE] if name + SCALE in state else tensor
        for name, tensor in state.items()
        if not (name.endswith(SCALE) and name.removesuffix(SCALE) in state)
    }
