"""The one edge where a net of slabs becomes a denoiser of whole volumes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.diffusion import Denoiser, Schedule, to_x0
from yoda_nb.nets import autocast_dtype
from yoda_nb.slabs import from_slices, to_slabs


def volume_denoiser(
    net: nn.Module,
    source: Tensor,
    schedule: Schedule,
    *,
    thickness: int = 5,
    views: Sequence[int] = (0, 1, 2),
    mask: Tensor | None = None,
    batch_size: int = 32,
    target: str = "v",
    divisor: int = 8,
    half: bool = True,
) -> Denoiser:
    """Wrap a net as (x, t, i) -> x0 over whole volumes; the net's device is where it runs.

    net: (N, (1 + C) * thickness, A, B), times (N,) -> (N, 1, A, B), predicting ``target``.
    source (C,D,H,W) in [-1,1]; x (1,D,H,W) at noise level t -> x0 (1,D,H,W). Step i looks through
    ``views[i % len(views)]`` (orthogonal denoising, seed 000, III-B.1b). With ``mask`` (1,D,H,W)
    x0 is background, -1, outside it. ``half`` runs the net in the device's half precision.
    """
    device = next((p.device for p in net.parameters()), source.device)
    source = source.to(device)
    if mask is not None:
        mask = mask.to(device)
    dtype = autocast_dtype(device) if half else None
    # the source never changes, so its slabs are cut once for each view
    slabs: dict[int, Tensor] = {}

    @torch.inference_mode()
    def denoise(x: Tensor, t: int, i: int) -> Tensor:
        axis = views[i % len(views)]
        if axis not in slabs:
            slabs[axis] = to_slabs(source, axis, thickness)  # (N,C*S,A,B)
        latent = to_slabs(x.to(device), axis, thickness)  # (N,S,A,B)
        outputs = []
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            for a, b in zip(latent.split(batch_size), slabs[axis].split(batch_size), strict=True):
                times = torch.full((len(a),), t, device=device)
                outputs.append(_padded(net, torch.cat([a, b], 1), times, divisor).float())
        output = from_slices(torch.cat(outputs), axis).to(x.device)  # (1,D,H,W)
        x0 = to_x0(x, output, schedule.at(t), target)
        return x0 if mask is None else torch.where(mask.to(x.device), x0, -1.0)

    return denoise


def _padded(net: nn.Module, slabs: Tensor, times: Tensor, divisor: int) -> Tensor:
    """Run the net on slices grown to multiples of ``divisor`` and cut its output back."""
    a, b = slabs.shape[-2:]
    grown = F.pad(slabs, (0, -b % divisor, 0, -a % divisor), mode="replicate")
    return net(grown, times)[..., :a, :b]
