"""Training: one loss, one loop. Resume gives the same bytes as a run that was never interrupted.

The batch of a step is a function of (seed, step, rank), so there is no random state to save.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from yoda_nb.diffusion import Schedule, add_noise, schedule, target
from yoda_nb.nets import NetConfig, autocast_dtype, build
from yoda_nb.slabs import gather_slabs
from yoda_nb.volumes import InputError, Volume, roi_box


@dataclass(frozen=True)
class TrainConfig:
    """Every choice of a training run (seed 000, III-D, where the paper states one)."""

    net: NetConfig = field(default_factory=NetConfig)
    schedule: str = "linear"
    n_train: int = 1000  # T
    target: str = "v"
    views: tuple[int, ...] = (0, 1, 2)
    steps: int = 10_000
    batch_size: int = 24  # for each process; the paper takes 96
    window: int = 48  # side of the random in-slice crop, in voxels
    lr: float = 1e-3  # the paper: 1e-4, constant
    lr_end: float = 1e-5  # cosine from lr to here; equal to lr for a constant rate
    warmup: int = 200
    ema: float = 0.999
    clip: float = 1.0  # largest gradient norm
    outside: float = 0.01  # weight of voxels outside the mask
    augment: float = 0.05  # spread of the random gain and gamma of each source
    margin_mm: tuple[float, float, float] = (20, 10, 5)  # region of interest around the mask
    seed: int = 0
    half: bool = True


@dataclass(frozen=True)
class Batch:
    """Slabs to train on; all tensors (N, .., A, B)."""

    target: Tensor  # (N,S,A,B) in [-1,1], slabs of the acquired target
    source: Tensor  # (N,C*S,A,B)
    weight: Tensor  # (N,1,A,B), 1 inside the mask
    times: Tensor  # (N,)
    eps: Tensor  # (N,S,A,B)

    def to(self, device: torch.device) -> Batch:
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


@dataclass(frozen=True)
class _Item:
    images: Tensor  # (1+C,D,H,W) float16: target, then sources
    mask: Tensor  # (1,D,H,W) bool
    box: tuple[slice, slice, slice]


def make_pool(volumes: Sequence[Volume], config: TrainConfig) -> list[_Item]:
    """Keep what training needs of each volume in memory, as float16, padded to the window."""
    if not volumes:
        raise InputError("Training needs at least one volume with a target: the list is empty.")
    items = []
    for v in volumes:
        if v.target is None:
            raise InputError(f"Subject {v.subject} has no target image: give one or leave it out.")
        lack = [max(0, config.window - n) for n in v.shape]
        pad = [p for n in reversed(lack) for p in (n // 2, n - n // 2)]
        images = F.pad(torch.cat([v.target, v.source]), pad, value=-1.0).half()
        mask = F.pad(v.mask, pad, value=False)
        margin = tuple(m / s for m, s in zip(config.margin_mm, v.spacing, strict=True))
        items.append(_Item(images, mask, roi_box(mask[0].numpy(), margin)))
    return items


def draw_batch(pool: Sequence[_Item], config: TrainConfig, step: int, rank: int = 0) -> Batch:
    """Random volume, plane, slice inside the region of interest and window (seed 000, III-D)."""
    rng = np.random.default_rng([config.seed, step, rank])
    s = config.net.thickness
    targets, sources, masks = [], [], []
    for _ in range(config.batch_size):
        item = pool[rng.integers(len(pool))]
        axis = config.views[rng.integers(len(config.views))]
        cut = [slice(None)] * 3
        for d in range(3):
            lo, hi = item.box[d].start, item.box[d].stop
            if d != axis:
                size = item.mask.shape[1 + d]
                start = rng.integers(lo, max(lo, hi - config.window) + 1)
                start = min(start, size - config.window)
                cut[d] = slice(start, start + config.window)
        centre = torch.tensor([rng.integers(item.box[axis].start, item.box[axis].stop)])
        slab = gather_slabs(item.images[:, *cut], axis, centre, s).float()  # (1,(1+C)*S,A,B)
        inside = gather_slabs(item.mask[:, *cut], axis, centre, 1)  # (1,1,A,B)
        if axis != 0 and rng.random() < 0.5:  # left-right mirror: D is the first in-slice axis
            slab, inside = slab.flip(-2), inside.flip(-2)
        targets.append(slab[:, :s])
        sources.append(_jitter(slab[:, s:], config, rng))
        masks.append(inside)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    x0 = torch.cat(targets)
    return Batch(
        target=x0,
        source=torch.cat(sources),
        weight=torch.where(torch.cat(masks), 1.0, config.outside),
        times=torch.randint(config.n_train, (len(x0),), generator=generator),
        eps=torch.randn(x0.shape, generator=generator),
    )


def _jitter(source: Tensor, config: TrainConfig, rng: np.random.Generator) -> Tensor:
    """Random gain and gamma for each source contrast, for scanners that differ: (1,C*S,A,B)."""
    n = config.net.n_sources
    gain, gamma = np.exp(rng.normal(0, config.augment, (2, n)))
    shape = (1, n, 1, 1, 1)
    magnitude = ((source + 1) / 2).unflatten(1, (n, -1))
    changed = torch.tensor(gain).float().view(shape) * magnitude ** torch.tensor(gamma).float().view(shape)
    return (2 * changed - 1).clamp(-1, 1).flatten(1, 2)


def diffusion_loss(net: nn.Module, batch: Batch, config: TrainConfig, noise: Schedule) -> Tensor:
    """Mask-weighted mean squared error of the predicted target (seed 000, Alg. 1, eq. 7)."""
    ab = noise.alpha_bar.to(batch.target)[batch.times].view(-1, 1, 1, 1)
    x_t = add_noise(batch.target, batch.eps, ab)  # (N,S,A,B)
    m = config.net.thickness // 2
    wanted = target(batch.target[:, m : m + 1], batch.eps[:, m : m + 1], ab, config.target)
    output = net(torch.cat([x_t, batch.source], 1), batch.times).float()
    return (batch.weight * (output - wanted).square()).sum() / batch.weight.sum()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine from lr to lr_end."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (1 + np.cos(np.pi * share))


def fit(
    volumes: Sequence[Volume],
    config: TrainConfig,
    *,
    out: Path | None = None,
    validation: Sequence[Volume] = (),
    device: torch.device | str | None = None,
    checkpoint_every: int = 500,
    stop_after: int | None = None,
    initial: nn.Module | None = None,
    on_log: Callable[[dict], None] | None = None,
) -> nn.Module:
    """Train a net and return its exponential moving average, on ``device``, in eval mode.

    ``out`` holds ``checkpoint.pt`` (replaced atomically) and ``log.jsonl``; a run found there goes
    on where it stopped. ``stop_after`` ends after that many steps of this call (the learning rate
    still follows ``config.steps``). ``initial`` starts from another net's weights. Under torchrun
    every process draws its own batches and gradients are averaged. Raises InputError for volumes
    without target and for a checkpoint of another configuration.
    """
    with _process_group() as rank:
        device = torch.device(device or _default_device())
        torch.manual_seed(config.seed)  # the net's first weights
        net = build(config.net)
        if initial is not None:
            net.load_state_dict(initial.state_dict())
        net = net.to(device)
        ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(config.ema)).to(device)
        optimiser = torch.optim.Adam(net.parameters(), lr=config.lr)
        dtype = autocast_dtype(device) if config.half else None
        scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
        state = {"net": net, "ema": ema, "optimiser": optimiser, "scaler": scaler}
        first = _load_checkpoint(out, state, config)
        wrapped = nn.parallel.DistributedDataParallel(net) if dist.is_initialized() else net
        pool = make_pool(volumes, config)
        held_out = make_pool(validation, config) if validation else None
        noise = schedule(config.schedule, config.n_train)
        last = min(config.steps, first + (stop_after or config.steps))
        ema_from = min(1000, config.steps // 10)  # as the authors: a copy until then

        begun, losses, step = time.time(), [], first
        bar = tqdm(range(first, last), initial=first, total=config.steps, desc="train",
                   mininterval=5, disable=rank != 0)  # fmt: skip
        try:
            for step in bar:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate(config, step)
                batch = draw_batch(pool, config, step, rank).to(device)
                with torch.autocast(device.type, dtype, enabled=dtype is not None):
                    loss = diffusion_loss(wrapped, batch, config, noise)
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(loss).backward()
                scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(net.parameters(), config.clip)
                scaler.step(optimiser)
                scaler.update()
                if step < ema_from:
                    ema.module.load_state_dict(net.state_dict())
                else:
                    ema.update_parameters(net)
                losses.append(loss.detach())
                done = step + 1
                if done % checkpoint_every == 0 or done == last:
                    entry = {"step": done, "loss": float(torch.stack(losses).mean()),
                             "lr": float(learning_rate(config, step)),
                             "seconds": time.time() - begun}  # fmt: skip
                    losses = []
                    if held_out:
                        entry["validation"] = validation_loss(ema.module, held_out, config, noise)
                    bar.set_postfix({k: f"{entry[k]:.4f}" for k in ("loss", "validation") if k in entry})
                    if rank == 0:
                        _save_checkpoint(out, state, config, done, entry)
                        if on_log is not None:
                            on_log(entry)
        except KeyboardInterrupt:
            if rank == 0:  # a step half done changes nothing: it is drawn again on resume
                tqdm.write(f"Interrupted at step {step}: run the same command again to go on.")
            raise
        return ema.module.eval()


@torch.no_grad()
def validation_loss(net: nn.Module, pool: Sequence[_Item], config: TrainConfig, noise: Schedule) -> float:
    """The training loss on fixed batches that training never draws."""
    device = next(net.parameters()).device
    losses = [
        diffusion_loss(net, draw_batch(pool, config, i, rank=10**6).to(device), config, noise)
        for i in range(8)
    ]
    return float(torch.stack(losses).mean())


def _default_device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


@contextmanager
def _process_group() -> Iterator[int]:
    """Join the processes torchrun started, if it did; yields this process's rank."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield dist.get_rank() if dist.is_initialized() else 0
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def _fingerprint(config: TrainConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _save_checkpoint(out: Path | None, state: dict, config: TrainConfig, step: int, entry: dict) -> None:
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    blob = {k: v.state_dict() for k, v in state.items()}
    blob |= {"step": step, "config": _fingerprint(config)}
    temporary = out / f".checkpoint.{os.getpid()}.tmp"
    torch.save(blob, temporary)
    os.replace(temporary, out / "checkpoint.pt")
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps(entry) + "\n")


def _load_checkpoint(out: Path | None, state: dict, config: TrainConfig) -> int:
    """Restore a run; returns the step to go on with, 0 for a new run."""
    if out is None:
        return 0
    for stray in out.glob(".checkpoint.*.tmp"):
        stray.unlink(missing_ok=True)
    path = out / "checkpoint.pt"
    if not path.exists():
        return 0
    blob = torch.load(path, map_location="cpu", weights_only=True)
    if blob["config"] != _fingerprint(config):
        raise InputError(f"{path} belongs to a run with other settings: choose another --out folder.")
    for name, part in state.items():
        part.load_state_dict(blob[name])
    return int(blob["step"])
