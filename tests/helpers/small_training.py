"""What tests of a trained row need: two small subjects, numbers of a seed, a net away from its start, its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import small_models
import torch
from torch import Tensor, nn

from yoda_nb.nets.base import Config
from yoda_nb.nets.models import save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.method import Method

VOLUMES = [phantom_case(seed, spacing=8.0, shape=(24, 28, 22)) for seed in range(2)]
CARD = small_models.CARD | {"spacing_mm": 8.0, "n_train": 1, "prediction": "x0", "training": {}}


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


def one_shot(net: Config, method: Method, **changes: object) -> TrainConfig:
    """A short training of a net that makes its image in one step, but for ``changes``."""
    config = TrainConfig(net, method=method, n_train=1, prediction="x0", views=(2,), steps=2, batch_size=2, window=16)
    return replace(config, half=False, **changes)
