"""A light U-Net in one step against a DDPM of the same net in 50, each for two targets (FastUNet), from T2w alone.

The paper states neither schedules nor steps of training, which its referee asks for. Here net,
data, steps, learning rate and loss are equal, so that only what the net is asked for differs.
The DDPM predicts v, the best of YODA's Table VI: a baseline is to be as good as it can be.
"""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.diffusion.vp import VP
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.denoising import REGRESSION
from yoda_nb.training.rows import STEPS, Training, base

TITLE = "fast U-Net (Pirwass et al.)"
NETS = ()
NET = UNetConfig(channels=(16, 32, 48, 64), attention=(False,) * 4, n_sources=1)  # four levels, no attention
_LIGHT = base(replace(NET, noisy=False), method=REGRESSION, prediction="x0")
_NOISED = base(NET, schedule="linear", prediction="v")
_LONG = replace(_NOISED, steps=2 * STEPS)
T2W, FAT = ("T2w",), "FF"

TRAININGS = {
    "fast-unet": Training("Light U-Net", _LIGHT, T2W),
    "ddpm-50": Training("DDPM", _NOISED, T2W),
    "fast-unet-ff": Training("Light U-Net", _LIGHT, T2W, FAT),
    "ddpm-ff": Training("DDPM", _NOISED, T2W, FAT),
    "ddpm-ff-long": Training("DDPM trained twice as long", _LONG, T2W, FAT, variant=True),  # the referee's control
}

_UNET = System(
    "fast-unet",
    "light 4-level U-Net, one regression step, T2w to FLAIR",
    "FastUNet, abstract",
    VP(),
    weights="systems/fast-unet",
    views=(AXIAL,),
)
_DDPM = System(
    "ddpm-50",
    "DDPM of the same U-Net, 50 DDIM steps, T2w to FLAIR",
    "FastUNet, abstract",
    VP(sigma="zero"),
    weights="systems/ddpm-50",
    views=(AXIAL,),
    n_steps=50,
    clip=True,
)
SYSTEMS = (
    _UNET,
    _DDPM,
    replace(
        _UNET, name="fast-unet-ff", summary="light 4-level U-Net, T2w to fat fraction", weights="systems/fast-unet-ff"
    ),
    replace(_DDPM, name="ddpm-50-ff", summary="DDPM, 50 DDIM steps, T2w to fat fraction", weights="systems/ddpm-ff"),
)
