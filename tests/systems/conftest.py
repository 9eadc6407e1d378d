"""A system's model for each module of tests: an untrained net that answers with something other than zero."""

from __future__ import annotations

import pytest
import torch
from small_models import CARD, CONFIG

from yoda_nb.nets.models import save_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """An untrained net that answers with something other than zero."""
    torch.manual_seed(0)
    net = CONFIG.build().eval()
    with torch.no_grad():
        net.out[-1].conv.weight.normal_(std=0.2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(net, path, config=CONFIG, card=CARD | {"spacing_mm": 10.0})
    return str(path)
