"""Samples that come with the package."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.errors import InputError
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.study import shipping as shipped
from yoda_nb.systems.table import get_system


@pytest.fixture(scope="module")
def small():
    return phantom_case(3, spacing=6.0, shape=(32, 32, 32))


def test_samples_come_back_as_they_were_shipped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "SAMPLES", [tmp_path])
    x = torch.where(small.mask, torch.rand(2, *small.mask.shape) * 2 - 1, -1.0)
    spec = get_system("yoda-diffusion", n_ex=2)
    path = shipped.ship(small, spec, 0, "sha", x)
    assert torch.allclose(shipped.find_shipped(small, spec, 0, "sha"), x, atol=0.51 / shipped.SCALE)
    assert shipped.find_shipped(small, spec, 1, "sha") is None
    assert shipped.find_shipped(small, replace(spec, n_steps=9), 0, "sha") is None
    other = replace(small, source=small.source * 0.9)  # the same name, another image
    assert shipped.find_shipped(other, spec, 0, "sha") is None
    monkeypatch.setenv("YODA_NB_SHIPPED", "0")
    assert shipped.find_shipped(small, spec, 0, "sha") is None
    monkeypatch.delenv("YODA_NB_SHIPPED")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="not the file"):
        shipped.find_shipped(small, spec, 0, "sha")
