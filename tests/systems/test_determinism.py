"""Same seed, same bytes: across runs and orders of subjects; across batch sizes and threads within rounding."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.loop import fit

CONFIG = UNetConfig(thickness=3, channels=(8, 16), attention=(False, True), heads=2, groups=4)

CARD = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 6.0}
CARD |= {"schedule": "linear", "n_train": 1000, "prediction": "v", "training": {}}
ROWS = {
    "yoda-regression": {},
    "yoda-diffusion": {"n_steps": 3},
    "yoda-expa": {"n_steps": 3, "n_ex": 2},
    "yoda-heun": {"n_steps": 3},
    "yoda-dpmpp": {"n_steps": 3},
}
TRAINING = TrainConfig(net=CONFIG, steps=3, batch_size=4, window=16, warmup=2, half=False)
IMAGE = 1e-5  # largest difference on [-1,1], in float32
WEIGHTS = 5e-5  # relative: norm of the difference over norm of the weights, after the steps of TRAINING


@cache
def case(seed: int) -> Volume:
    return phantom_case(seed, spacing=6.0, shape=(32, 32, 32))


def save(path: Path) -> str:
    torch.manual_seed(0)
    save_model(CONFIG.build().eval(), path, config=CONFIG, card=CARD)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return save(tmp_path_factory.mktemp("model") / "small.safetensors")


def digest(x: torch.Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()


def everything(model: str, seeds: tuple[int, ...] = (0, 1)) -> dict[str, str]:
    """Digests of phantoms, of images by each row, and of weights after a training, subjects in this order."""
    found = {f"phantom {seed}": digest(case(seed).target) for seed in seeds}
    for name, settings in ROWS.items():
        for seed in seeds:
            found[f"{name} {seed}"] = digest(translate(case(seed), name, model=model, half=False, **settings).target)
    weights = fit([case(seed) for seed in sorted(seeds)], TRAINING).parameters()
    return found | {"training": digest(nn.utils.parameters_to_vector(weights).detach())}


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


CHILD = """
import json, sys
sys.path.insert(0, {folder!r})
import torch
from test_determinism import everything
torch.set_num_threads(1)
torch.manual_seed(12345)  # no state of others has a say
print(json.dumps(everything({model!r}, (1, 0))))
"""


def test_another_process_gives_the_same_bytes_in_another_order(model):
    with threads(1):
        here = everything(model)
    assert len(set(here.values())) == len(here)
    done = subprocess.run(
        [sys.executable, "-c", CHILD.format(folder=str(Path(__file__).parent), model=model)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert json.loads(done.stdout) == here


@pytest.mark.parametrize("name", ROWS)
def test_batch_sizes_and_threads_change_an_image_by_rounding_alone(model, name):
    def image(batch_size: int = 16, n: int = 1) -> torch.Tensor:
        with threads(n):
            return translate(case(0), name, model=model, half=False, batch_size=batch_size, **ROWS[name]).target

    first = image()
    far = {how: float((image(*how) - first).abs().max()) for how in ((1, 1), (5, 1), (64, 1), (16, 2))}
    print(name, far)
    assert max(far.values()) < IMAGE, far
    assert first[case(0).mask].std() > 0.05, "an image, so that this says something"


def test_channels_last_on_a_cpu_change_what_a_net_gives_by_rounding_alone(model):
    loaded = load_model(model)
    x, t = torch.rand(3, loaded.config.in_channels, 16, 24), torch.zeros(3)
    with torch.inference_mode():
        plain = loaded.net.to(memory_format=torch.contiguous_format)(x, t)
        translate(case(0), model=model, device="cpu")
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in loaded.net.parameters() if p.ndim == 4)
        torch.testing.assert_close(loaded.net(x, t), plain, atol=1e-5, rtol=0)
    assert plain.std() > 1e-3


def test_threads_change_a_training_by_rounding_alone():
    weights = []
    for n in (1, 2):
        with threads(n):
            weights.append(nn.utils.parameters_to_vector(fit([case(0)], TRAINING).parameters()).detach())
    far = float((weights[0] - weights[1]).norm() / weights[0].norm())
    print(far)
    assert far < WEIGHTS


def test_batches_drawn_ahead_train_to_the_same_bytes():
    here, ahead = (fit([case(0), case(1)], TRAINING, loaders=n).state_dict() for n in (0, 2))
    assert all(torch.equal(here[name], ahead[name]) for name in here)
