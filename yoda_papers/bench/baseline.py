"""What the benchmark runs: a plain baseline, ours, and the single changes from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import Denoiser, time_pairs, vp_step
from yoda_nb.diffusion.samplers import noise_from, stepwise
from yoda_nb.diffusion.schedules import Schedule, schedule
from yoda_nb.nets.base import Config, autocast_dtype, placed

# the paper's margins around the brain, 20/10/5 mm (III-C), as shares of its example at 3 mm
MARGINS = (20 / 3 / 61, 10 / 3 / 54, 5 / 3 / 51)
MARGIN = 4  # voxels around the brain, as in packs of training


def baseline_denoiser(
    net: nn.Module,
    source: Tensor,
    noise_schedule: Schedule,
    *,
    thickness: int = 5,
    mask: Tensor | None = None,
    batch_size: int = 8,
) -> Denoiser:
    """The plain way from a net to (x, t, i) -> x0, written apart from ours so that it checks it.

    source (C,D,H,W) in [-1,1], x (1,D,H,W), sides multiples of the net's divisor. Every slice
    runs; its slab and the batch are assembled in Python lists. The net predicts v.
    """
    reach = thickness // 2

    @torch.no_grad()
    def denoise(x: Tensor, t: int, i: int) -> Tensor:
        axis = i % 3
        volumes, n = [*x, *source], x.shape[1 + axis]
        outputs = []
        for first in range(0, n, batch_size):
            slabs = []
            for k in range(first, min(first + batch_size, n)):
                near = [min(max(j, 0), n - 1) for j in range(k - reach, k + reach + 1)]
                slabs.append(torch.stack([v.select(axis, j) for v in volumes for j in near]))
            times = torch.full((len(slabs),), t, device=x.device)
            outputs += list(net(torch.stack(slabs), times)[:, 0].float())
        v, signal = torch.stack(outputs, axis)[None], noise_schedule.at(t)
        x0 = signal**0.5 * x - (1 - signal) ** 0.5 * v
        return x0 if mask is None else torch.where(mask, x0, -1.0)

    return denoise


def random_net(config: Config, seed: int) -> nn.Module:
    """An untrained net that answers to its input: MONAI starts the last layer of blocks at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = config.build().eval().requires_grad_(False)
        for p in net.parameters():
            if p.ndim > 1 and not p.any():
                nn.init.kaiming_uniform_(p, a=5**0.5)  # as torch starts every other layer
    return net


def ellipsoid(roi: Sequence[int], n_sources: int, seed: int) -> tuple[Tensor, Tensor]:
    """A textured brain in its region of interest: source (C,D,H,W) in [-1,1], mask (1,D,H,W)."""
    axes = [torch.linspace(-1, 1, n) / (1 - 2 * share) for n, share in zip(roi, MARGINS, strict=True)]
    mask = sum((a.square() for a in torch.meshgrid(*axes, indexing="ij")), torch.zeros(()))[None] <= 1
    texture = torch.rand((n_sources, *roi), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.where(mask, F.avg_pool3d(texture, 3, 1, 1), -1.0), mask


def contenders(
    net: nn.Module, config: Config, source: Tensor, mask: Tensor, noise: Tensor, *, n_steps: int, batch_size: int
) -> dict[str, Callable[[], Tensor]]:
    """Name -> run, from the baseline to ours in single changes, and ours with ``MARGIN``; each gives x0 of the ROI.

    source (C,D,H,W), mask (1,D,H,W); noise (1,S,S,S) is x_T on the padded cube. Two runs stand
    apart: "ours_on_cube" sees what the baseline sees and so must give its image, but for what half
    precision does to it, which "baseline_half" tells.
    """
    roi = source.shape[1:]
    grow = [n for size, side in zip(reversed(roi), noise.shape[1:], strict=True) for n in (0, side - size)]
    cube, cube_mask = F.pad(source, grow, value=-1.0), F.pad(mask, grow)  # -1 is zero intensity
    plan = schedule()
    pairs = time_pairs(len(plan), n_steps)
    sampler = stepwise(partial(vp_step, schedule=plan, sigma="zero"))  # cube and ROI could not share new noise
    on_cube, on_roi = noise, _cut(noise, roi).contiguous()

    def run(denoise: Denoiser, x: Tensor) -> Tensor:
        return _cut(sampler(denoise, x, pairs, noise=noise_from(torch.Generator())), roi)

    def run_half(denoise: Denoiser, x: Tensor) -> Tensor:
        dtype = autocast_dtype(x.device)
        with torch.autocast(x.device.type, dtype, enabled=dtype is not None):
            return run(denoise, x)

    def masked_after(denoise: Denoiser, inside: Tensor) -> Denoiser:
        return lambda x, t, i: torch.where(inside, denoise(x, t, i), -1.0)

    def ours(source: Tensor, net: nn.Module = net, **settings) -> Denoiser:
        settings |= {"batch_size": batch_size, "thickness": config.thickness, "divisor": config.divisor}
        return volume_denoiser(net, source, plan, **settings)

    fast = placed(deepcopy(net), noise.device)
    baseline = baseline_denoiser(net, cube, plan, thickness=config.thickness, mask=cube_mask)
    batched = masked_after(ours(cube, half=False), cube_mask)
    cropped = masked_after(ours(source, half=False), mask)
    return {
        "baseline": partial(run, baseline, on_cube),
        "batched": partial(run, batched, on_cube),
        "roi": partial(run, cropped, on_roi),
        "masked": partial(run, ours(source, mask=mask, half=False), on_roi),
        "placed": partial(run, ours(source, fast, mask=mask, half=False), on_roi),
        "ours": partial(run, ours(source, fast, mask=mask), on_roi),
        "close": partial(run, ours(source, fast, mask=mask, margin=MARGIN), on_roi),
        "ours_on_cube": partial(run, ours(cube, fast, mask=cube_mask), on_cube),
        "baseline_half": partial(run_half, baseline, on_cube),
    }


def _cut(volume: Tensor, roi: Sequence[int]) -> Tensor:
    return volume[:, : roi[0], : roi[1], : roi[2]]
