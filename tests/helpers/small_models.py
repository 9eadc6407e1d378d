"""A model small enough to be made for each test: its configuration, card, net and file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from yoda_nb.nets.models import save_model
from yoda_nb.nets.monai_unet import MonaiUNetConfig

CONFIG = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)


CARD = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 3.0}
CARD |= {"schedule": "linear", "n_train": 1000, "prediction": "v", "training": {"seed": 0}}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return CONFIG.build().eval()


@pytest.fixture
def saved(net, tmp_path) -> Path:
    save_model(net, tmp_path / "tiny.safetensors", config=CONFIG, card=CARD)
    return tmp_path / "tiny.safetensors"
