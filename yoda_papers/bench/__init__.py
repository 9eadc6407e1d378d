"""``yoda-nb bench``: speed against plain baselines and memory, as ratios measured in one run.

The baseline runs a net as the authors' code does: every slice of a zero-padded cube, float32,
batches of 8 slabs from a Python list. From there to ``volume_denoiser`` one thing changes at a
time, so that the single ratios multiply to ``speedup_denoiser``, and with a ``margin``, which is
off by default, to ``speedup_close``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from copy import deepcopy
from math import ceil
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from yoda_nb.diffusion.process import gaussian
from yoda_nb.nets.base import autocast_dtype, config_to_dict, n_parameters, placed
from yoda_nb.nets.devices import find_device
from yoda_nb.nets.models import describe_machine
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.systems.models import load_model
from yoda_papers.bench.baseline import baseline_denoiser, contenders, ellipsoid, random_net
from yoda_papers.bench.batches import batch_speed
from yoda_papers.bench.floor import Traffic, copy_gbytes, floors, matrix_gflops, seconds_of
from yoda_papers.bench.growth import growth as growth_of
from yoda_papers.bench.memory import memory_use
from yoda_papers.bench.table import format_bench

__all__ = ["baseline_denoiser", "format_bench", "memory_use", "run_bench"]

STEPS = {  # ratio -> what it compares, seconds of the first over seconds of the second
    "speedup_denoiser": ("baseline", "ours"),
    "speedup_batching": ("baseline", "batched"),
    "speedup_roi": ("batched", "roi"),
    "speedup_mask": ("roi", "masked"),
    "speedup_order": ("masked", "placed"),
    "speedup_half_precision": ("placed", "ours"),
    "speedup_margin": ("ours", "close"),
    "speedup_close": ("baseline", "close"),
}


def run_bench(
    *,
    net_config: MonaiUNetConfig = MonaiUNetConfig(),  # noqa: B008 - frozen
    model: str | Path | None = None,
    roi: tuple[int, int, int] = (61, 54, 51),
    n_steps: int = 3,
    repeats: int = 3,
    threads: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    batch_size: int = 16,
    memory: bool = True,
    training: bool = True,
    growth: bool = False,
    progress: bool = True,
) -> dict:
    """Compare baseline and ours at equal function evaluations; returns what JSON can hold.

    Both sample ``n_steps`` of DDIM from the same noise with one net, untrained unless ``model``
    names one, on a region of ``roi`` voxels around an ellipsoidal brain. Repeats alternate and
    medians are compared. Seconds and gflop are for one function evaluation: the net over the whole
    volume, in one view. ``same_image``: on the baseline's own cube ours gives its image, rms over
    the brain within ``tolerance``: float32 rounding, and in half precision 1.5 times what that
    does to the baseline itself. ``differences["roi"]`` and ``["margin"]`` are no rounding
    but what the net makes of seeing less background, and say little of an untrained one.
    ``share_of_matrix_rate`` is of the best of a few square matrix products in the same precision.
    Memory: see ``memory_use``; batches of a training: ``batch_speed``; with ``growth`` exponents:
    ``growth.growth``. ``floor_seconds`` of ours: ``floor.floors``.
    """
    device, threads_before = find_device(device), torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        loaded = None if model is None else load_model(model)
        config = loaded.config if loaded else net_config
        net = deepcopy(loaded.net) if loaded else random_net(config, seed)
        net = placed(net, device, torch.contiguous_format)  # whatever sampled with it before
        source, mask = (v.to(device) for v in ellipsoid(roi, config.n_sources, seed))
        side = ceil(max(roi) / config.divisor) * config.divisor
        noise = gaussian((1, side, side, side), torch.Generator().manual_seed(seed)).to(device)
        runs = contenders(net, config, source, mask, noise, n_steps=n_steps, batch_size=batch_size)
        timed = {name: runs[name] for name in dict.fromkeys(sum(STEPS.values(), ()))}
        bar = tqdm(total=len(runs) + repeats * len(timed), desc="bench", disable=not progress)
        with bar:
            images, gflop, gbytes = _warm_up(runs, n_steps, bar)
            seconds = _time(timed, repeats, n_steps, device, bar)
        half = autocast_dtype(device)
        return {
            "machine": describe_machine(),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "precision": str(half or torch.float32).removeprefix("torch."),
            "net": config_to_dict(config) | {"parameters": n_parameters(net)},
            "roi": list(roi),
            "cube": [side] * 3,
            "n_steps": n_steps,
            "repeats": repeats,
            "batch_size": batch_size,
            "seed": seed,
            "seconds_per_evaluation": seconds,
            **{name: seconds[a] / seconds[b] for name, (a, b) in STEPS.items()},
            **_compare(images, mask, device),
            **_shares(gflop, gbytes, seconds, half or torch.float32, device),
            **(batch_speed(config, roi, seed=seed, repeats=repeats) if training else {}),
            **(growth_of(config, seed=seed, memory=memory) if growth else {}),
            **(memory_use(config, roi, seed=seed, device=str(device)) if memory else {}),
        }
    finally:
        torch.set_num_threads(threads_before)


def _warm_up(runs: dict[str, Callable], n_steps: int, bar) -> tuple[dict, dict, dict]:
    """Run each once: its image, and the gflop and GB of one function evaluation."""
    images, gflop, gbytes = {}, {}, {}
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter, Traffic() as traffic:
            images[name] = run()
        gflop[name] = counter.get_total_flops() / n_steps / 1e9
        gbytes[name] = {kind: getattr(traffic, kind) / n_steps / 1e9 for kind in ("matrix", "all")}
        bar.update()
    return images, gflop, gbytes


def _time(runs: dict[str, Callable], repeats: int, n_steps: int, device, bar) -> dict[str, float]:
    """Median seconds of one function evaluation; repeats alternate, so drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(seconds_of(run, device) / n_steps)
            bar.update()
    return {name: statistics.median(values) for name, values in seconds.items()}


def _compare(images: dict[str, Tensor], mask: Tensor, device: torch.device) -> dict:
    """Differences in the brain on the [-1,1] scale, and whether they are rounding alone."""

    def difference(a: str, b: str) -> dict[str, float]:
        d = (images[a] - images[b])[mask].double()
        return {"max": float(d.abs().max()), "rms": float(d.square().mean().sqrt())}

    differences = {
        "float32": difference("batched", "baseline"),
        "half": difference("ours_on_cube", "baseline"),
        "roi": difference("masked", "baseline"),
        "margin": difference("close", "ours"),
    }
    single = 1e-5 if device.type == "cpu" else 2**-10  # convolutions on CUDA round to TF32
    rounding = difference("baseline_half", "baseline")["rms"]
    tolerance = {"float32": single, "half": max(single, 1.5 * rounding)}
    same = all(differences[name]["rms"] <= limit for name, limit in tolerance.items())
    return {"same_image": same, "tolerance": tolerance, "differences": differences}


def _shares(gflop: dict, gbytes: dict, seconds: dict, dtype: torch.dtype, device: torch.device) -> dict:
    """What the baseline (float32) and ours reach of the rate of plain matrix products, and the floor of ours."""
    precisions = {"baseline": torch.float32, "ours": dtype}
    rate = {name: matrix_gflops(kind, device) for name, kind in precisions.items()}
    reached = {name: gflop[name] / seconds[name] for name in rate}
    copied = copy_gbytes(device)
    return {
        "gflop_per_evaluation": {name: gflop[name] for name in rate},
        "achieved_gflops": reached,
        "matrix_gflops": rate,
        "share_of_matrix_rate": {name: reached[name] / rate[name] for name in rate},
        "gbytes_per_evaluation": gbytes["ours"],
        "copy_gbytes_per_second": copied,
        "floor_seconds": floors(gflop["ours"], rate["ours"], gbytes["ours"], copied),
    }
