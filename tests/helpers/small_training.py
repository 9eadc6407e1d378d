"""What tests of a trained row need: two small subjects, numbers of a seed, a net away from its start, its file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from yoda_nb.data.phantom import phantom_case
from yoda_nb.nets.base import Config
from yoda_nb.nets.models import save_model

VOLUMES = [phantom_case(seed, spacing=8.0, shape=(24, 28, 22)) for seed in range(2)]
CARD = {
    "sources": ["T1w", "T2w"],
    "target": "FLAIR",
    "spacing_mm": 8.0,
    "schedule": "linear",
    "n_train": 1,
    "prediction": "x0",
    "training": {},
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(net: nn.Module, by: float = 0.1, seed: int = 0) -> nn.Module:
    """``net`` away from its start, where residual branches are zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in net.parameters():
            values += by * torch.randn(values.shape, generator=generator)
    return net


def saved(net: nn.Module, folder: Path, config: Config, **card: object) -> Path:
    """The file of a net that was trained for ``CARD``, but for what is named."""
    save_model(net, folder / "net.safetensors", config=config, card=CARD | card)
    return folder / "net.safetensors"
