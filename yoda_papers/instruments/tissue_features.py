"""Train the feature net that knows tissue and nothing else: ``yoda-nb rebuild features --only tissue``.

It learns to tell grey matter, white matter and water apart in slices that are drawn from tissue maps at
1 mm with random brightness: no scanner, no noise and no blur but that of the map's voxels. What noise
does to its features nobody told it, so a distance that it measures is no judgement by design.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoda_nb.metrics.feature_nets import TISSUE_WEIGHTS, offline_net
from yoda_nb.nets.models import Card, describe_machine, save_net
from yoda_nb.phantoms.anatomy import BRAIN
from yoda_nb.phantoms.scanner import shares_of
from yoda_papers.instruments.noise_features import FEATURES, WIDTH

SHAPE = (176, 208, 176)  # voxels of 1 mm, of a map
SEEDS = 70_000  # of the maps and up
BATCH, WINDOW = 32, 96  # slices of a step, and their side in voxels
COARSE = 8  # voxels: the net's last layer sees tissue at this size


def tissue_map(seed: int, shape: tuple[int, int, int] = SHAPE, spacing: float = 1.0) -> Tensor:
    """Shares of CSF, GM and WM (3,D,H,W) in [0,1] of one brain: MNI152, deformed at random."""
    shares = shares_of(None, shape, spacing, np.random.default_rng(seed))
    return torch.from_numpy(np.stack([shares.of[name] for name in BRAIN]).astype(np.float32)).half()


def draw_slices(maps: list[Tensor], n: int, window: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random slices of every plane: images (n,1,W,W) in [0,1] and shares (n,3,W,W).

    Each tissue has one brightness a slice; voxels of 1, 2 or 3 mm are means of the map's.
    """

    def whole(high: int) -> int:
        return int(torch.randint(max(high, 1), (), generator=generator))

    found = []
    for _ in range(n):
        volume, axis, factor = maps[whole(len(maps))], 1 + whole(3), 1 + whole(3)
        size = volume.shape[axis]
        at = size // 5 + whole(3 * size // 5)  # where there is a brain
        cut = F.avg_pool2d(volume.select(axis, at).float(), factor)
        lack = [max(0, window - side) for side in cut.shape[1:]]
        cut = F.pad(cut, (lack[1] // 2, lack[1] - lack[1] // 2, lack[0] // 2, lack[0] - lack[0] // 2))
        a, b = (whole(side - window + 1) for side in cut.shape[1:])
        found.append(cut[:, a : a + window, b : b + window])
    shares = torch.stack(found)
    brightness = torch.rand((n, 3, 1, 1), generator=generator)
    return (brightness * shares).sum(1, keepdim=True), shares


class _Trainee(nn.Module):
    """The feature net's layers before their mean, under a head that tells tissue and is thrown away."""

    def __init__(self) -> None:
        super().__init__()
        self.features = offline_net(WIDTH, FEATURES)
        self.head = nn.Conv2d(FEATURES, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N,1,H,W) -> logits of CSF, GM and WM (N,3,H/8,W/8)."""
        linear = self.features[-1]
        assert isinstance(linear, nn.Linear)  # of ``offline_net``
        local = self.features[:-3](x)  # without mean, flattening and the linear layer
        return self.head(F.relu(F.conv2d(local, linear.weight[..., None, None], linear.bias)))


def train_tissue(maps: list[Tensor], *, steps: int, seed: int, window: int = WINDOW) -> tuple[nn.Module, float]:
    """``offline_net`` in eval mode, and its last cross entropy; the same maps, steps and seed give the same net."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # PyTorch's layer initialisation takes no generator
        net = _Trainee()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps + 1)
    last = float("nan")
    for _ in range(steps):
        images, shares = draw_slices(maps, BATCH, window, generator)
        wanted = F.avg_pool2d(shares, COARSE)
        logits = F.log_softmax(torch.cat([net(images), torch.zeros_like(wanted[:, :1])], 1), 1)
        background = (1 - wanted.sum(1, keepdim=True)).clamp(min=0)
        loss = -(torch.cat([wanted, background], 1) * logits).sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        last = float(loss.detach())
    return net.features.eval().requires_grad_(False), last


def train_tissue_net(
    path: Path = TISSUE_WEIGHTS, *, n_maps: int = 12, steps: int = 1500, seed: int = 0, command: str = ""
) -> Card:
    """Train on ``n_maps`` brains, and write weights and card to ``path``; returns the card."""
    start = time.perf_counter()
    net, last = train_tissue([tissue_map(SEEDS + i) for i in range(n_maps)], steps=steps, seed=seed)
    card = {
        "name": "yoda-nb feature extractor of tissue maps",
        "net": {"width": WIDTH, "features": FEATURES, "input": "(N, 1, H, W) in [0, 1], brain only"},
        "task": "tell CSF, grey and white matter in blocks of 8 voxels; no noise, no blur, no contrast is named",
        "training_data": f"{n_maps} deformed MNI152 tissue maps at 1 mm, pooled to 1, 2 or 3 mm, brightness at random",
        "command": command,
        "seed": seed,
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 1),
        "machine": describe_machine(),
        "metrics": {"cross_entropy": round(last, 4)},
        "licence": "Apache-2.0",
        "intended_use": "research: comparing sampling methods on brain slices; not for diagnosis",
    }
    save_net(net, path, card=card)
    return card
