"""A light U-Net and a DDPM of the same net, each for two targets (seed 003).

The paper states neither schedules nor steps of training, which its referee asks for. Here net,
data, steps, learning rate and loss are equal, so that only what the net is asked for differs.
The DDPM predicts v, the best of seed 000's Table VI: a baseline is to be as good as it can be.
"""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.nets import UNetConfig
from yoda_nb.trainings.base import STEPS, Training, base

NET = UNetConfig(channels=(16, 32, 48, 64), attention=(False,) * 4, n_sources=1)  # four levels, no attention
_UNET = base(replace(NET, noisy=False), method="regression", target="x0")
_DDPM = base(NET, schedule="linear", target="v")
_LONG = replace(_DDPM, steps=2 * STEPS)
T2W, FAT = ("T2w",), "FF"

TRAININGS = {
    "fast-unet": Training("Light U-Net", _UNET, T2W),
    "ddpm-50": Training("DDPM", _DDPM, T2W),
    "fast-unet-ff": Training("Light U-Net", _UNET, T2W, FAT),
    "ddpm-ff": Training("DDPM", _DDPM, T2W, FAT),
    "ddpm-ff-long": Training("DDPM trained twice as long", _LONG, T2W, FAT, variant=True),  # the referee's control
}
