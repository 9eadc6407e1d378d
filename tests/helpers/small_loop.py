"""What tests of training share: a small net and its run, two subjects, and checkpoints that are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.batches import TrainConfig

NET = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)
TINY = TrainConfig(net=NET, steps=10, batch_size=3, window=8, warmup=2, margin_mm=(4, 2, 2))


def subject(seed: int = 0, shape=(16, 14, 12), spacing: float = 2.0) -> Volume:
    """Smooth random tissue in a box; the target is a function of the sources."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal((2, *shape)), (0, 2, 2, 2))
    source = torch.from_numpy(np.tanh(4 * smooth)).float()
    mask = torch.zeros((1, *shape), dtype=torch.bool)
    mask[:, 4:13, 3:11, 3:10] = True
    return Volume(
        source=torch.where(mask, source, -1.0),
        target=torch.where(mask, (source[:1] - source[1:]) / 2, -1.0),
        mask=mask,
        affine=np.diag([spacing] * 3 + [1.0]),
        sources=("T1w", "T2w"),
        subject=f"s{seed}",
    )


VOLUMES = [subject(0), subject(1)]


def everything(out: Path) -> dict:
    """A checkpoint without what the clock says."""
    blob = torch.load(out / "checkpoint.pt", weights_only=True)
    return {k: v for k, v in blob.items() if k != "seconds"}


def assert_same(a, b, at: str = "checkpoint") -> None:
    """Bitwise, through dictionaries and lists."""
    assert type(a) is type(b), at
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for k in a:
            assert_same(a[k], b[k], f"{at}.{k}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{at}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), at
    else:
        assert a == b, at
