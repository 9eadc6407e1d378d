"""Training of the lesion segmenter on acquired phantom images; never on synthetic ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from yoda_nb.diffusion.slabs import gather_slabs
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.downstream import dice
from yoda_nb.metrics.segmentation.inference import lesion_probability
from yoda_nb.metrics.segmentation.net import CHANNELS, THICKNESS, Segmenter, build_segmenter, save_segmenter
from yoda_nb.nets.base import autocast_dtype, n_parameters
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import Card, describe_machine
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.training.recipes import TRAIN_SEEDS, VALIDATION_SEEDS

SIGMAS = (0.02, 0.06)  # acquisition noise of the training images, [0,1] scale
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(2, 19))
TEST_SEEDS = range(1001, 1013)  # the manifest's test subjects
IN_WORDS = ("channels", "thickness", "phantoms", "spacing")  # of a configuration, which a card tells elsewhere


@dataclass(frozen=True)
class SegmenterConfig:
    """Every choice of a training run."""

    phantoms: int = 96
    validation: int = 8
    steps: int = 1500
    batch_size: int = 16
    lr: float = 3e-3  # the peak of a one-cycle schedule
    seed: int = 0
    spacing: float = 3.0  # mm; a grid of 64 voxels a side, so finer ones hold the middle of the head
    channels: tuple[int, ...] = CHANNELS
    thickness: int = THICKNESS


def acquired_phantom(seed: int, spacing: float = 3.0) -> Volume:
    """One training subject: an acquisition of either protocol, at a noise level of its own; ``spacing`` in mm.

    A segmenter in use meets many scanners; one that knew a single noise level would rate images
    by their noise. Only target, mask and lesions are kept.
    """
    sigma = float(np.random.default_rng(seed).uniform(*SIGMAS))
    v = phantom_case(seed, spacing=spacing, sigma=sigma, protocol="ab"[seed % 2], sources=("T1w",))
    return replace(v, clean=None, labels=None)


def draw_slabs(volumes: Sequence[Volume], config: SegmenterConfig, step: int) -> tuple[Tensor, Tensor]:
    """Slabs of one view and their middle slices' lesions: (N, S, A, B) in [-1,1], (N, 1, A, B).

    Every other slab is centred on a lesion voxel's slice, for few slices hold any; the rest fall
    anywhere in the brain. A function of (seed, step), with random left-right mirrors.
    """
    rng = np.random.default_rng([config.seed, step])
    axis = step % 3
    slabs, lesions = [], []
    for n in range(config.batch_size):
        v = volumes[int(rng.integers(len(volumes)))]
        image, true = required(v, "target"), required(v, "lesions")
        wanted = true if n % 2 and true.any() else v.mask
        slices = wanted.movedim(1 + axis, 0).flatten(1).any(1).nonzero()[:, 0]
        centre = slices[rng.integers(len(slices))][None]
        slab, inside = gather_slabs(image, axis, centre, config.thickness), gather_slabs(true, axis, centre, 1)
        if axis != 0 and rng.random() < 0.5:  # D, left to right, is the first in-slice axis
            slab, inside = slab.flip(-2), inside.flip(-2)
        slabs.append(slab)
        lesions.append(inside)
    return torch.cat(slabs), torch.cat(lesions).float()


def fit_segmenter(volumes: Sequence[Volume], config: SegmenterConfig, *, device: str | None = None) -> nn.Module:
    """Train on acquired images and their true lesions; Dice plus cross-entropy. Returns the net.

    All volumes must share one shape. Raises InputError for volumes without target or lesions.
    """
    if not volumes or any(v.target is None or v.lesions is None for v in volumes):
        raise InputError("A segmenter learns from volumes with target and lesions: give some, and phantoms have both.")
    place = find_device(device)
    torch.manual_seed(config.seed)
    net = build_segmenter(config.channels, config.thickness).to(place).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.lr, total_steps=config.steps)
    from monai.losses import DiceCELoss  # seconds: only where it is used

    loss_of = DiceCELoss(sigmoid=True, batch=True)
    dtype = autocast_dtype(place)
    for step in (bar := tqdm(range(config.steps), desc="segmenter", mininterval=5)):
        slabs, lesions = (x.to(place) for x in draw_slabs(volumes, config, step))
        with torch.autocast(place.type, dtype, enabled=dtype is not None):
            logits = net(slabs)
        loss = loss_of(logits.float(), lesions)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return net.cpu().eval().requires_grad_(False)


def choose_threshold(segmenter: Segmenter, volumes: Sequence[Volume]) -> tuple[float, float]:
    """The threshold of best mean Dice on the acquired images of ``volumes``, and that Dice."""
    found = [lesion_probability(v, segmenter=segmenter) for v in volumes]
    scores = {
        t: float(np.mean([dice(p > t, required(v, "lesions")) for p, v in zip(found, volumes, strict=True)]))
        for t in THRESHOLDS
    }
    return max(scores.items(), key=lambda item: item[1])


def train_segmenter(path: Path, config: SegmenterConfig, *, device: str | None = None, command: str = "") -> dict:
    """Train, choose the threshold on validation phantoms, test; write weights and card to ``path``.

    Returns the card. The test images are those of the manifest's test phantoms, as acquired. Raises InputError for a
    device that is not here.
    """
    find_device(device)
    first, last = TRAIN_SEEDS, TRAIN_SEEDS + config.phantoms - 1
    seeds = tqdm(range(first, last + 1), desc="phantoms", mininterval=5)
    volumes = [acquired_phantom(seed, config.spacing) for seed in seeds]
    start = time.perf_counter()
    net = fit_segmenter(volumes, config, device=device)
    seconds = time.perf_counter() - start
    card: Card = {
        "title": f"Lesion segmenter, FLAIR, {config.spacing:g} mm",
        "task": "white-matter lesions of phantoms on a FLAIR image of any origin",
        "contrast": "FLAIR",
        "spacing_mm": round(volumes[0].spacing[0], 4),
        "net": {"channels": list(config.channels), "thickness": config.thickness, "parameters": n_parameters(net)},
        "intended_use": "Research and teaching: comparing images by a downstream task; not for diagnosis.",
        "limits": "Knows phantom lesions only; real lesions differ in shape, contrast and place.",
        "licence": "Apache-2.0",
        "training": {
            "data": f"{config.phantoms} acquired phantoms, seeds {first} to {last}, from MNI152, protocols a and b, "
            f"Rician noise {SIGMAS[0]:g} to {SIGMAS[1]:g}; no synthetic image",
            "command": command,
            **{k: v for k, v in asdict(config).items() if k not in IN_WORDS},
            "seconds": round(seconds),
            "machine": describe_machine(),
            "torch": torch.__version__,
        },
    }
    trial = Segmenter("trial", net, card, "")
    held_out = [acquired_phantom(VALIDATION_SEEDS + k, config.spacing) for k in range(config.validation)]
    card["threshold"], best = choose_threshold(trial, held_out)
    test = [phantom_case(seed, spacing=config.spacing) for seed in TEST_SEEDS]
    scores = [dice(lesion_probability(v, segmenter=trial) > card["threshold"], required(v, "lesions")) for v in test]
    card["metrics"] = {
        "validation": f"Dice {best:.4f}, mean of {len(held_out)} acquired phantoms; the threshold was chosen on them",
        "test": f"Dice {np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f}, {len(test)} acquired phantoms",
    }
    save_segmenter(net, path, card=card)
    return card
