"""The one edge where a net of slabs becomes a denoiser of whole volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion.process import Denoiser, to_x0
from yoda_nb.diffusion.schedules import Schedule
from yoda_nb.diffusion.slabs import average_slabs, from_slices, gather_slabs
from yoda_nb.images.space import roi_box, uncrop
from yoda_nb.nets.base import autocast_dtype

Convert = Callable[[Tensor, Tensor, int], Tensor]  # (x_t, the net's output, t) -> x0


class Batch(NamedTuple):
    """Slices of a view that run together: which, their box in the slice, their sources' slabs in it."""

    centres: Tensor  # (K,)
    box: tuple[slice, slice]
    sources: Tensor  # (K,C*S,a,b)


def volume_denoiser(
    net: nn.Module,
    source: Tensor,
    schedule: Schedule | None,
    *,
    thickness: int = 5,
    views: Sequence[int] = (0, 1, 2),
    mask: Tensor | None = None,
    batch_size: int = 16,
    margin: int | None = None,
    prediction: str = "v",
    divisor: int = 8,
    half: bool = True,
    net_time: Callable[[int], float] | None = None,
    convert: Convert | None = None,
    out_slices: int = 1,
    co_predict: bool = True,
) -> Denoiser:
    """Wrap a net as (x, t, i) -> x0 over whole volumes; the net's device is where it runs.

    net: (N, (1 + C) * thickness, A, B), times (N,) -> (N, 1, A, B), predicting ``prediction``.
    source (C,D,H,W) in [-1,1]; x (1,D,H,W) at noise level t -> x0 (1,D,H,W). Step i looks through
    ``views[i % len(views)]`` (orthogonal denoising, YODA, III-B.1b). With ``mask`` (1,D,H,W)
    x0 is background, -1, outside it, and slices wholly outside do not run; with a ``margin`` too each
    batch is cut to the box of its own mask and so many voxels around it (the net sees less background).
    ``half`` runs the net in the device's half precision.

    ``net_time`` is what the net is told of t (t itself, or a log-SNR). ``convert`` turns its output
    into x0 where no ``schedule`` of noise can (bridges, which pass None). A net of several
    ``out_slices`` predicts each slice several times: with ``co_predict`` their average counts (seed
    004, eq. 4), else the middle one.
    """
    device = next((p.device for p in net.parameters()), source.device)
    source = source.to(device)
    if mask is not None:
        mask = mask.to(device)
    dtype = autocast_dtype(device) if half else None
    if convert is not None:
        read = convert
    elif schedule is not None:
        read = partial(_read_by, schedule, prediction)
    else:
        raise ValueError("without a noise schedule the net's output needs a convert of its own")
    # neither source nor mask ever changes, so each view's slices are chosen and cut once
    batches: dict[int, list[Batch]] = {}

    @torch.inference_mode()
    def denoise(x: Tensor, t: int, i: int) -> Tensor:
        axis = views[i % len(views)]
        if axis not in batches:
            boxed = partial(slice_box, mask, axis, margin=margin, multiple=divisor, reach=out_slices // 2)
            chosen = slices_to_run(source, mask, axis).split(batch_size)
            cut = ((c, boxed(c), gather_slabs(source, axis, c, thickness)) for c in chosen)
            batches[axis] = [Batch(centres, box, slabs[..., *box]) for centres, box, slabs in cut]
        latent = x.to(device)
        told = float(t) if net_time is None else net_time(t)
        n, a, b = latent.movedim(1 + axis, 1).shape[1:]

        def run(batch: Batch) -> Tensor:
            seen = gather_slabs(latent, axis, batch.centres, thickness)[..., *batch.box]
            slabs = torch.cat([seen, batch.sources], 1)
            times = torch.full((len(slabs),), told, device=device)
            output = padded(net, slabs, divisor, times).float()
            return uncrop(output, (slice(None), *batch.box), (out_slices, a, b), fill=0.0)

        cached = device.type != "cuda"  # a recorded net casts its weights itself
        with torch.autocast(device.type, dtype, enabled=dtype is not None, cache_enabled=cached):
            slices = torch.cat([run(batch) for batch in batches[axis]])  # (K,out_slices,A,B)
        if out_slices > 1 and not co_predict:
            slices = slices[:, out_slices // 2 : out_slices // 2 + 1]
        centres = torch.cat([batch.centres for batch in batches[axis]])
        output = from_slices(average_slabs(slices, centres, n), axis).to(x.device)  # (1,D,H,W)
        x0 = read(x, output, t)
        return x0 if mask is None else torch.where(mask.to(x.device), x0, -1.0)

    return denoise


def _read_by(schedule: Schedule, prediction: str, x: Tensor, output: Tensor, t: int) -> Tensor:
    """x0 of the net's output at time t."""
    return to_x0(x, output, schedule.at(t), prediction)


def slices_to_run(image: Tensor, mask: Tensor | None, axis: int) -> Tensor:
    """Indices (K,) of the slices of a view of (C,D,H,W) that hold mask, all of them without one."""
    if mask is None:
        return torch.arange(image.shape[1 + axis])
    return mask.movedim(1 + axis, 0).flatten(1).any(1).nonzero()[:, 0].cpu()


def slice_box(
    mask: Tensor | None, axis: int, centres: Tensor, *, margin: int | None, multiple: int = 1, reach: int = 0
) -> tuple[slice, slice]:
    """Box in a view's slices around the mask of ``centres`` (K,), ascending, and of ``reach`` beside them.

    Without a mask or a margin it is the whole slice. See ``roi_box``.
    """
    if mask is None or margin is None:
        return slice(None), slice(None)
    first, last = int(centres[0]), int(centres[-1])
    inside = mask.movedim(1 + axis, 1)[:, max(first - reach, 0) : last + reach + 1]  # (1,k,A,B)
    return roi_box(inside.cpu(), (0, margin, margin), multiple)[1:]


def padded(net: nn.Module, slabs: Tensor, divisor: int, *rest: Tensor) -> Tensor:
    """Run a net on slabs (N,C,A,B) grown to multiples of ``divisor`` and cut its output back."""
    a, b = slabs.shape[-2:]
    grown = F.pad(slabs, (0, -b % divisor, 0, -a % divisor), mode="replicate")
    return net(grown, *rest)[..., :a, :b]
