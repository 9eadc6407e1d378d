"""Train the offline feature net on acquired phantom slices: ``yoda-nb rebuild features``.

The net sees a slice that was blurred, acquired with Rician noise and smoothed again, each by a
random amount, and must tell the three amounts and the contrast. What it needs for that, sharpness,
noise, its texture and tissue contrast, is what tells a realistic slice from a smooth one.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.feature_nets import offline_net
from yoda_nb.metrics.features import frechet_distance, slices_for_features
from yoda_nb.metrics.noise import add_rician
from yoda_nb.nets.models import Card, save_net
from yoda_nb.phantoms.phantom import phantom_case

CONTRASTS = ("T1w", "T2w", "PDw", "FLAIR")
SCALES = (2.0, 0.08, 1.0)  # the largest blur before the noise (voxels), noise, blur after it
WIDTH, FEATURES, BATCH = 16, 32, 48


def blur(images: Tensor, widths: Tensor) -> Tensor:
    """Gaussian blur of each slice by its own width in voxels; 0 leaves it as it is.

    (N, 1, H, W), (N,) -> (N, 1, H, W); the kernel is 13 wide, enough for widths up to 2.
    """
    offsets = torch.arange(-6, 7, device=images.device)
    lines = torch.exp(-0.5 * (offsets / widths[:, None].clamp(min=1e-3)) ** 2)
    lines = (lines / lines.sum(dim=1, keepdim=True))[:, None, None]  # (N, 1, 1, 13)
    stack = images.transpose(0, 1)  # slices as channels, so that each has its own kernel
    stack = F.conv2d(stack, lines, padding=(0, 6), groups=len(images))
    stack = F.conv2d(stack, lines.transpose(2, 3), padding=(6, 0), groups=len(images))
    return stack.transpose(0, 1)


def acquire(clean01: Tensor, amounts: Tensor, *, generator: torch.Generator) -> Tensor:
    """Degrade noise-free brain slices: blur, Rician noise, blur, each in its own amount.

    clean01 (N, 1, H, W) in [0, 1], zero outside the brain; amounts (N, 3) = (blur width before
    the noise, sigma, blur width after it) -> (N, 1, H, W) in [0, 1], zero outside the brain.
    """
    sigma = amounts[:, 1].view(-1, 1, 1, 1)
    noisy = add_rician(blur(clean01, amounts[:, 0]), sigma, generator=generator)
    return torch.where(clean01 > 0, blur(noisy, amounts[:, 2]), 0.0).clamp(0, 1)


def draw_amounts(n: int, *, generator: torch.Generator) -> Tensor:
    """(n, 3) random amounts; each blur is absent from half of the slices, noise from a tenth."""
    u = torch.rand((2, n, 3), generator=generator)
    return torch.where(u[0] > torch.tensor([0.5, 0.1, 0.5]), u[1], 0.0) * torch.tensor(SCALES)


def contrast_slices(volumes: Sequence[Volume]) -> tuple[Tensor, Tensor]:
    """Every axial slice of every contrast, (N, 1, H, W) in [0, 1], and the contrast's index."""
    images, labels = [], []
    for v in volumes:
        for name, image in zip((*v.sources, v.contrast), (*v.source, required(v, "target")[0]), strict=True):
            slices = slices_for_features((image[None] + 1) / 2, v.mask)
            images.append(slices)
            labels.append(torch.full((len(slices),), CONTRASTS.index(name)))
    return torch.cat(images), torch.cat(labels)


class _Trainee(nn.Module):
    """The feature net under a head that is thrown away after training."""

    def __init__(self) -> None:
        super().__init__()
        self.features = offline_net(WIDTH, FEATURES)
        outputs = len(SCALES) + len(CONTRASTS)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, outputs))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) -> amounts in units of SCALES (N, 3), contrast logits (N, 4)."""
        return self.head(self.features(x)).split((len(SCALES), len(CONTRASTS)), dim=1)


def _batch(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A degraded batch: slices, amounts, contrast labels; gains vary, half are mirrored."""
    i = torch.randint(len(images), (BATCH,), generator=generator)
    gain, mirror = torch.rand((2, BATCH, 1, 1, 1), generator=generator)
    clean = torch.where(mirror < 0.5, images[i], images[i].flip(-1)) * (0.9 + 0.2 * gain)
    amounts = draw_amounts(BATCH, generator=generator)
    return acquire(clean, amounts, generator=generator), amounts, labels[i]


def train_extractor(volumes: Sequence[Volume], *, steps: int, seed: int) -> nn.Module:
    """The feature net trained on noise-free phantoms, which it acquires itself on the fly.

    volumes: phantoms made with ``sigma=0``, all contrasts used. Returns ``offline_net`` in eval
    mode, each feature scaled to unit variance over degraded slices, so that a distance counts in
    their standard deviations. Same volumes, steps and seed give the same net on one machine.
    Raises InputError for an empty list or phantoms that already carry noise.
    """
    if not volumes or any(v.sigma != 0 or v.target is None for v in volumes):
        raise InputError("Training the extractor takes noise-free phantoms; make them with sigma=0.")
    images, labels = contrast_slices(volumes)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # PyTorch's layer initialisation takes no generator
        net = _Trainee()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps + 1)
    for _ in range(steps):
        x, amounts, contrast = _batch(images, labels, generator)
        guess, logits = net(x)
        # Noise is the point: it weighs most. A contrast is easy and needs little weight.
        error = (guess - amounts / torch.tensor(SCALES)).square().mean(dim=0)
        loss = (error * torch.tensor([1.0, 3.0, 1.0])).sum() + 0.1 * F.cross_entropy(logits, contrast)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return _standardised(net.features.eval(), images, labels, generator)


@torch.no_grad()
def _standardised(net: nn.Sequential, images: Tensor, labels: Tensor, generator: torch.Generator) -> nn.Module:
    features = torch.cat([net(_batch(images, labels, generator)[0]) for _ in range(10)])
    std, mean = torch.std_mean(features, dim=0)
    last = net[-1]
    assert isinstance(last, nn.Linear)  # of ``offline_net``
    last.weight.div_(std[:, None])
    last.bias.sub_(mean).div_(std)
    return net.requires_grad_(False)


@torch.no_grad()
def ladder(net: nn.Module, volumes: Sequence[Volume], *, seed: int, sigma: float = 0.04) -> dict[str, float]:
    """Fréchet distances of degraded FLAIR slices to acquired ones of other subjects.

    volumes: noise-free phantoms, the first half acquired, the second half degraded. Keys name the
    degradation; "acquired" is the distance between two acquisitions.
    """
    generator = torch.Generator().manual_seed(seed)
    half = len(volumes) // 2
    real, other = (
        torch.cat([slices_for_features((required(v, "target") + 1) / 2, v.mask) for v in part])
        for part in (volumes[:half], volumes[half:])
    )

    def features(images: Tensor, *amounts: float) -> Tensor:
        return net(acquire(images, torch.tensor([amounts]).expand(len(images), 3), generator=generator))

    reference = features(real, 0, sigma, 0)
    rungs: dict[str, tuple[float, float, float]] = {"acquired": (0, sigma, 0)}
    rungs |= {f"noise {s:.3f}": (0, s, 0) for s in (0.75 * sigma, 0.5 * sigma, 0.25 * sigma, 0.0)}
    rungs |= {f"blur {w:.1f}": (w, sigma, 0) for w in (0.5, 1.0, 1.5, 2.0)}
    rungs |= {f"smoothing {w:.1f}": (0, sigma, w) for w in (0.4, 0.6, 0.8, 1.0)}
    return {name: frechet_distance(reference, features(other, *amounts)) for name, amounts in rungs.items()}


def phantoms(n: int, *, seed: int, sigma: float = 0.0) -> list[Volume]:
    """``n`` phantoms with all four contrasts, from both protocols in turn."""
    return [
        phantom_case(seed + i, sigma=sigma, protocol="ab"[i % 2], sources=CONTRASTS[:3], target=CONTRASTS[3])
        for i in range(n)
    ]


def train_offline(path: Path, *, n_phantoms: int = 20, steps: int = 1500, seed: int = 0, command: str = "") -> Card:
    """Train the offline extractor, measure its ladder, and write weights and card to ``path``; returns the card."""
    start = time.perf_counter()
    net = train_extractor(phantoms(n_phantoms, seed=50_000 + seed), steps=steps, seed=seed)
    seconds = time.perf_counter() - start
    rungs = ladder(net, phantoms(8, seed=60_000 + seed), seed=seed)
    card = {
        "name": "yoda-nb offline feature extractor",
        "net": {"width": WIDTH, "features": FEATURES, "input": "(N, 1, H, W) in [0, 1], axial, brain only"},
        "task": "tell blur before and after the noise, noise and contrast of a degraded slice",
        "training_data": f"{n_phantoms} MNI152 phantoms at 3 mm, protocols a and b, {', '.join(CONTRASTS)}",
        "command": command,
        "seed": seed,
        "steps": steps,
        "seconds": round(seconds, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}",
        "metrics": {"frechet_distance_on_held_out_phantoms": {k: round(v, 4) for k, v in rungs.items()}},
        "licence": "Apache-2.0",
        "intended_use": "research: comparing sampling methods on brain slices of about 3 mm; not for diagnosis",
    }
    save_net(net, path, card=card)
    return card
