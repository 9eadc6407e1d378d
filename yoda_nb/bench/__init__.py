"""``yoda-nb bench``: speed against a plain baseline and memory, as ratios measured in one run.

The baseline runs a net as the authors' code does: every slice of a zero-padded cube, float32,
batches of 8 slabs from a Python list. From there to ``volume_denoiser`` one thing changes at a
time, so that the single ratios multiply to ``speedup_denoiser``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from yoda_nb.bench.baseline import baseline_denoiser, contenders, ellipsoid, random_net
from yoda_nb.bench.memory import memory_use
from yoda_nb.diffusion import gaussian
from yoda_nb.models import describe_machine
from yoda_nb.nets import NetConfig, autocast_dtype, config_to_dict, n_parameters

__all__ = ["baseline_denoiser", "format_bench", "memory_use", "run_bench"]

STEPS = {  # ratio -> what it compares, seconds of the first over seconds of the second
    "speedup_denoiser": ("baseline", "ours"),
    "speedup_batching": ("baseline", "batched"),
    "speedup_roi": ("batched", "roi"),
    "speedup_mask": ("roi", "masked"),
    "speedup_half_precision": ("masked", "ours"),
}
MEANING = {
    "speedup_denoiser": "all of it",
    "speedup_batching": "slabs cut once, large batches",
    "speedup_roi": "region of interest, not a cube",
    "speedup_mask": "slices without brain skipped",
    "speedup_half_precision": "half precision",
}


def run_bench(
    *,
    net_config: NetConfig = NetConfig(),  # noqa: B008 - frozen
    roi: tuple[int, int, int] = (61, 54, 51),
    n_steps: int = 3,
    repeats: int = 3,
    threads: int | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    batch_size: int = 32,
    memory: bool = True,
    progress: bool = True,
) -> dict:
    """Compare baseline and ours at equal function evaluations; returns what JSON can hold.

    Both sample ``n_steps`` of DDIM from the same noise with one untrained net, on a region of
    ``roi`` voxels around an ellipsoidal brain. Repeats alternate and medians are compared. Seconds
    and gflop are for one function evaluation: the net over the whole volume, in one view.
    ``same_image``: on the baseline's own cube ours gives its image, rms over the brain within
    ``tolerance``, in float32 and in half precision; ``differences["roi"]`` is what the net makes
    of seeing less background, no rounding. ``share_of_matrix_rate`` is against the best of a few
    square matrix products of the same precision. For memory see ``memory_use``.
    """
    device, threads_before = torch.device(device), torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        net = random_net(net_config, seed).to(device)
        source, mask = (v.to(device) for v in ellipsoid(roi, net_config.n_sources, seed))
        side = ceil(max(roi) / net_config.divisor) * net_config.divisor
        noise = gaussian((1, side, side, side), torch.Generator().manual_seed(seed)).to(device)
        runs = contenders(
            net, net_config, source, mask, noise, n_steps=n_steps, batch_size=batch_size
        )
        timed = {name: run for name, run in runs.items() if name != "ours_on_cube"}
        bar = tqdm(total=len(runs) + repeats * len(timed), desc="bench", disable=not progress)
        with bar:
            images, gflop = _warm_up(runs, n_steps, bar)
            seconds = _time(timed, repeats, n_steps, device, bar)
        half = autocast_dtype(device)
        return {
            "machine": describe_machine(),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "precision": str(half or torch.float32).removeprefix("torch."),
            "net": config_to_dict(net_config) | {"parameters": n_parameters(net)},
            "roi": list(roi),
            "cube": [side] * 3,
            "n_steps": n_steps,
            "repeats": repeats,
            "batch_size": batch_size,
            "seed": seed,
            "seconds_per_evaluation": seconds,
            **{name: seconds[a] / seconds[b] for name, (a, b) in STEPS.items()},
            **_compare(images, mask, half, device),
            **_shares(gflop, seconds, half or torch.float32, device),
            **(memory_use(net_config, roi, seed=seed, device=str(device)) if memory else {}),
        }
    finally:
        torch.set_num_threads(threads_before)


def _warm_up(runs: dict[str, Callable], n_steps: int, bar) -> tuple[dict, dict]:
    """Run each once: its image, and the gflop of one function evaluation."""
    images, gflop = {}, {}
    for name, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            images[name] = run()
        gflop[name] = counter.get_total_flops() / n_steps / 1e9
        bar.update()
    return images, gflop


def _time(runs: dict[str, Callable], repeats: int, n_steps: int, device, bar) -> dict[str, float]:
    """Median seconds of one function evaluation; repeats alternate, so that drift hits all alike."""
    seconds = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(_seconds(run, device) / n_steps)
            bar.update()
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(run: Callable, device: torch.device) -> float:
    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    begun = now()
    run()
    return now() - begun


def _compare(images: dict[str, Tensor], mask: Tensor, half, device: torch.device) -> dict:
    """Differences in the brain on the [-1,1] scale, and whether they are rounding alone."""

    def difference(a: str, b: str) -> dict[str, float]:
        d = (images[a] - images[b])[mask].double()
        return {"max": float(d.abs().max()), "rms": float(d.square().mean().sqrt())}

    differences = {
        "float32": difference("batched", "baseline"),
        "half": difference("ours_on_cube", "baseline"),
        "roi": difference("masked", "baseline"),
    }
    # convolutions on CUDA round to TF32; a half precision's eps is its spacing of values at 1
    single = 1e-5 if device.type == "cpu" else 2**-10
    tolerance = {"float32": single, "half": torch.finfo(half).eps if half else single}
    same = all(differences[name]["rms"] <= limit for name, limit in tolerance.items())
    return {"same_image": same, "tolerance": tolerance, "differences": differences}


def _shares(gflop: dict, seconds: dict, dtype: torch.dtype, device: torch.device) -> dict:
    """What the baseline (float32) and ours reach of the rate of plain matrix products."""
    rate = {"baseline": _matrix_gflops(torch.float32, device), "ours": _matrix_gflops(dtype, device)}
    reached = {name: gflop[name] / seconds[name] for name in rate}
    return {
        "gflop_per_evaluation": {name: gflop[name] for name in rate},
        "achieved_gflops": reached,
        "matrix_gflops": rate,
        "share_of_matrix_rate": {name: reached[name] / rate[name] for name in rate},
    }


def _matrix_gflops(dtype: torch.dtype, device: torch.device, repeats: int = 5) -> float:
    n = 8192 if device.type == "cuda" else 2048
    a = torch.ones(n, n, dtype=dtype, device=device)
    best = min(_seconds(lambda: a @ a, device) for _ in range(repeats))
    return 2 * n**3 / best / 1e9


def format_bench(result: dict) -> str:
    """The result of ``run_bench`` as aligned text with units."""
    net, seconds = result["net"], result["seconds_per_evaluation"]
    lines = [
        result["machine"],
        f"{net['parameters'] / 1e6:.2f} M parameters, region {_by(result['roi'])}, "
        f"cube {_by(result['cube'])}, {result['n_steps']} steps, "
        f"median of {result['repeats']}, {result['threads']} threads",
        "",
        f"{'':<10}{'s/evaluation':>14}{'GFLOP':>10}{'GFLOP/s':>10}{'share of matrix rate':>40}",
    ]
    for name, precision in (("baseline", "float32"), ("ours", result["precision"])):
        rate = f"{result['matrix_gflops'][name]:.0f} GFLOP/s, {precision}"
        lines.append(
            f"{name:<10}{seconds[name]:>14.3f}{result['gflop_per_evaluation'][name]:>10.1f}"
            f"{result['achieved_gflops'][name]:>10.1f}"
            f"{result['share_of_matrix_rate'][name]:>13.0%} of {rate:<23}".rstrip()
        )
    lines += ["", *(f"{name:<24}{result[name]:>6.2f} x  {MEANING[name]}" for name in STEPS), ""]
    lines.append(f"{'same image':<24}{'yes' if result['same_image'] else 'NO':>6}")
    for name, d in result["differences"].items():
        limit = result["tolerance"].get(name)
        against = f"rms at most {limit:.1e}" if limit else "sees less background: no rounding"
        lines.append(f"  {name:<10}rms {d['rms']:.1e}, max {d['max']:.1e}  ({against})")
    if "memory" in result:
        lines += ["", f"{'n_ex':>6}{'n_steps':>9}{'batch':>7}{'peak growth':>16}"]
        lines += [
            f"{m['n_ex']:>6}{m['n_steps']:>9}{m['batch_size']:>7}{m['peak_growth_mb']:>13.1f} MB"
            for m in result["memory"]
        ]
        lines.append(
            f"more samples x {result['memory_ratio_n_ex']:.2f}, "
            f"more steps x {result['memory_ratio_n_steps']:.2f}"
        )
    return "\n".join(lines)


def _by(shape: list[int]) -> str:
    return "x".join(map(str, shape))
