"""Training: one loop for every method. Resume gives the same bytes as a run that was never interrupted.

The batch of a step is a function of (seed, step), whatever the number of processes: there is no random state to save.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import cos, isfinite, pi
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from yoda_nb.data.mapped import MappedPack
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import autocast_dtype
from yoda_nb.nets.devices import find_device
from yoda_nb.training.batches import Batch, Item, TrainConfig, data_hash, make_pool
from yoda_nb.training.checkpoints import load_checkpoint, save_checkpoint
from yoda_nb.training.draws import batches, draw_batch
from yoda_nb.training.graphs import Graphed, Recorded
from yoda_nb.training.method import Player
from yoda_nb.training.parts import Divided, average_gradients, check_parts
from yoda_nb.training.processes import any_process, process_group, stop_requests


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then a cosine from lr to lr_end."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    share = (step - config.warmup) / max(1, config.steps - config.warmup)
    # a plain float: a NumPy one would end in the checkpoint, which then cannot be read back safely
    return config.lr_end + (config.lr - config.lr_end) * 0.5 * (1 + cos(pi * share))


def fit(
    volumes: Sequence[Volume | MappedPack],
    config: TrainConfig,
    *,
    out: str | Path | None = None,
    validation: Sequence[Volume | MappedPack] = (),
    device: torch.device | str | None = None,
    checkpoint_every: int = 500,
    stop_after: int | None = None,
    initial: nn.Module | None = None,
    weights: Sequence[float] = (),
    loaders: int = 0,
    accumulate: int = 1,
    on_log: Callable[[dict], None] | None = None,
) -> nn.Module:
    """Train a net and return its exponential moving average, on ``device``, in eval mode.

    ``out`` holds ``checkpoint.pt`` (replaced atomically) and ``log.jsonl``; a run found there goes
    on where it stopped. ``stop_after`` ends after that many steps of this call (the learning rate
    still follows ``config.steps``). ``initial`` starts from another net's weights; ``weights`` say
    how often each volume is drawn, by default all alike; ``loaders`` processes draw batches ahead, the
    same ones. ``accumulate`` passes a batch through the nets in that many parts, in less memory and more
    time (``Divided``). Under torchrun processes share each batch, so their number changes rounding alone.
    On CUDA a net that one loss trains is replayed as a graph (``Graphed``).

    Ctrl-C and SIGTERM end the step in hand, write the checkpoint and raise KeyboardInterrupt with
    what to do next; a second Ctrl-C does not wait. Raises InputError for volumes that do not fit
    the net, for a device that is not here, for a checkpoint that is damaged, of another configuration
    or of other data, for a loss that is not finite (the last checkpoint is kept), and for a batch that
    cannot be divided so.
    """
    with process_group() as rank, stop_requests() as requests:
        check_parts(config.batch_size, accumulate)
        device = find_device(device or _default_device())
        out = None if out is None else Path(out)
        pool = make_pool(volumes, config, weights)
        held_out = make_pool(validation, config) if validation else None
        data = data_hash(pool) if out else ""
        state, first, seconds = _start(config, device, initial, out, data)
        ema = state["ema"]
        wrapped = {k: _wrapped(net, device, config, accumulate) for k, net in state["nets"].items()}
        recorded = _recorded(state, config, device, accumulate)
        last = config.steps if stop_after is None else min(config.steps, first + stop_after)

        begun, losses, done, stopped = time.monotonic() - seconds, [], first, False
        bar = tqdm(
            range(first, last), initial=first, total=config.steps, desc="train", mininterval=5, disable=rank != 0
        )
        drawn = batches(pool, config, range(first, last), device=device, loaders=loaders)
        for step, batch in zip(bar, drawn, strict=True):
            losses.append(_step(wrapped, state, batch, config, step, recorded))
            done, stopped = step + 1, any_process(bool(requests))
            if done % checkpoint_every and done != last and not stopped:
                continue
            entry = {
                "step": done,
                "loss": float(torch.stack(losses).mean()),
                "lr": learning_rate(config, step),
                "seconds": time.monotonic() - begun,
            }
            losses = []
            if not isfinite(entry["loss"]):
                raise InputError(f"The loss is {entry['loss']} by step {done}: lower lr or look at the images.")
            if held_out and not stopped:  # who asks to stop is not kept waiting
                entry["validation"] = validation_loss({**state["nets"], "net": ema.module}, held_out, config)
            bar.set_postfix({k: f"{entry[k]:.4f}" for k in ("loss", "validation") if k in entry})
            if rank == 0:
                save_checkpoint(out, state, config, entry, data)
                if on_log is not None:
                    on_log(entry)
            if stopped:
                break
        bar.close()
        if dist.is_initialized():
            dist.barrier()  # what the first process writes is there for all of them
        if stopped or requests:  # also where the request came during the last validation
            raise KeyboardInterrupt(_advice(done, out))
        return ema.module.eval()


@torch.no_grad()
def validation_loss(nets: Mapping[str, nn.Module], pool: Sequence[Item], config: TrainConfig) -> float:
    """The method's validation on fixed batches that training never draws."""
    device = next(nets["net"].parameters()).device
    measure = config.method.validation
    # drawn before: a CPU's autocast to bfloat16 refuses to stack the pool's float16
    drawn = [draw_batch(pool, config, i, 10**6, device) for i in range(8)]
    with _autocast(device, config):
        losses = [measure(nets, batch, config) for batch in drawn]
    return float(torch.stack(losses).mean())


def _wrapped(net: nn.Module, device: torch.device, config: TrainConfig, accumulate: int = 1) -> nn.Module:
    if dist.is_initialized() or accumulate > 1:
        return Divided(net, accumulate)
    return Graphed(net) if _graphs(device, config) else net


def _graphs(device: torch.device, config: TrainConfig) -> bool:
    """Whether a GPU trains one net alone, of one loss."""
    return device.type == "cuda" and len(config.method.players) == 1 == len(config.method.players[0].nets)


def _start(config: TrainConfig, device, initial, out, data: str) -> tuple[dict, int, float]:
    """All that a checkpoint holds, new or restored; the steps and the seconds done before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # the nets' first weights
        nets = nn.ModuleDict(config.method.build(config))
    if initial is not None:
        nets["net"].load_state_dict(initial.state_dict())
    nets = nets.to(device)
    ema = AveragedModel(nets["net"], multi_avg_fn=get_ema_multi_avg_fn(config.ema)).to(device)
    fp16 = config.half and autocast_dtype(device) is torch.float16
    state: dict[str, Any] = {"nets": nets, "ema": ema}
    for k, player in enumerate(config.method.players):
        weights = [p for name in player.nets for p in nets[name].parameters()]
        state[f"optimiser{k}"] = torch.optim.Adam(
            weights, lr=config.lr, betas=config.betas, fused=device.type == "cuda" or None
        )
        state[f"scaler{k}"] = torch.amp.GradScaler(device.type, enabled=fp16)
    return state, *load_checkpoint(out, state, config, data)


def _step(
    nets: Mapping[str, nn.Module],
    state: dict,
    batch: Batch,
    config: TrainConfig,
    step: int,
    recorded: Sequence[Recorded] = (),
) -> Tensor:
    """One update of each player and of the average; returns the last player's loss."""
    resting = config.method.resting(config, step)
    for k, player in enumerate(config.method.players):
        optimiser, scaler = state[f"optimiser{k}"], state[f"scaler{k}"]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        for name, net in nets.items():  # gradients of the other players' nets are not needed
            net.requires_grad_(name in player.nets and name not in resting)
        if recorded:
            loss = recorded[k](nets, batch)
        else:
            loss = _loss(player, config, nets, batch)
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            if dist.is_initialized():
                average_gradients(p for group in optimiser.param_groups for p in group["params"])
            scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], config.clip)
        scaler.step(optimiser)
        scaler.update()
    net, ema = state["nets"]["net"], state["ema"]
    if step < min(1000, config.steps // 10):  # as the authors: a copy until then
        ema.module.load_state_dict(net.state_dict())
    else:
        ema.update_parameters(net)
    return loss.detach()


def _loss(player: Player, config: TrainConfig, nets: Mapping[str, nn.Module], batch: Batch) -> Tensor:
    with _autocast(batch.target.device, config):
        return player.loss(nets, batch, config)


def _recorded(state: dict, config: TrainConfig, device: torch.device, accumulate: int) -> list[Recorded]:
    """Of each player, where a GPU trains several nets in a precision that needs no scaler."""
    if device.type != "cuda" or dist.is_initialized() or accumulate > 1 or _graphs(device, config):
        return []
    if state["scaler0"].is_enabled() or any(config.method.resting(config, step) for step in range(config.steps)):
        return []
    nets = state["nets"]
    return [
        Recorded(partial(_loss, player, config), [p for name in player.nets for p in nets[name].parameters()])
        for player in config.method.players
    ]


def _autocast(device: torch.device, config: TrainConfig) -> torch.autocast:
    dtype = autocast_dtype(device) if config.half else None
    cached = device.type != "cuda"  # a graph casts its weights itself
    return torch.autocast(device.type, dtype, enabled=dtype is not None, cache_enabled=cached)


def _default_device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"


def _advice(done: int, out: Path | None) -> str:
    if out is None:
        return f"Training was stopped after step {done} and is lost: give an out folder to keep it."
    return f"Training was stopped after step {done}, kept in {out}: run the same command to go on."
