"""The light U-Net and its DDPM (FastUNet): one difference between them, and what each row runs."""

from __future__ import annotations

from dataclasses import replace

import torch
from small_models import CARD

from yoda_nb.nets.models import save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import Run, prepare, translate
from yoda_nb.systems.table import get_system
from yoda_nb.training.denoising import DIFFUSION
from yoda_nb.training.rows import BUDGET
from yoda_papers.fast_unet import TRAININGS

SMALL = {"spacing": 4.0, "shape": (44, 52, 44), "sources": ("T2w",)}


def test_the_models_differ_in_what_the_net_is_asked_for_and_in_nothing_else():
    for unet, ddpm in (("fast-unet", "ddpm-50"), ("fast-unet-ff", "ddpm-ff")):
        a, b = TRAININGS[unet], TRAININGS[ddpm]
        assert a.sources == b.sources == ("T2w",) and a.target == b.target and a.phantoms == b.phantoms
        assert a.config.steps * a.config.batch_size == b.config.steps * b.config.batch_size == BUDGET
        same = replace(a.config, net=replace(a.config.net, noisy=True), method=DIFFUSION, prediction="v")
        assert same == b.config
    assert len(TRAININGS["fast-unet"].config.net.channels) == 4  # levels
    long, short = TRAININGS["ddpm-ff-long"], TRAININGS["ddpm-ff"]
    assert long.config == replace(short.config, steps=2 * short.config.steps)


def test_one_shot_is_the_net_on_each_slice_and_draws_nothing(tmp_path):
    config = UNetConfig(channels=(4, 4), attention=(False, False), groups=2, n_sources=1, noisy=False)
    torch.manual_seed(0)
    net = config.build()
    torch.nn.init.normal_(net.out[-1].weight, std=0.1)
    card = CARD | {"sources": ["T2w"], "target": "FF", "spacing_mm": 4.0, "prediction": "x0"}
    save_model(net, tmp_path / "net.safetensors", config=config, card=card)
    v = phantom_case(7, **SMALL, target="FF")
    made, again = (
        translate(v, "fast-unet-ff", model=tmp_path / "net.safetensors", seed=seed, half=False, device="cpu")
        for seed in (0, 1)
    )
    assert torch.equal(made.target, again.target) and made.contrast == "FF"
    job = prepare(v, get_system("fast-unet-ff"), Run(model=tmp_path / "net.safetensors", device="cpu"))
    slices = job.cut.source.movedim(-1, 0)  # (N,1,A,B), axial
    with torch.inference_mode():
        alone = job.model.net(torch.cat([torch.full_like(slices, 9.0), slices], 1), torch.zeros(len(slices)))
    alone = alone.movedim(0, -1).clamp(-1, 1)  # (1,A,B,N)
    inside = job.cut.mask
    assert torch.allclose(made.target[:, *job.box][inside], alone[inside], atol=1e-5)


def test_the_rows_cost_what_the_paper_says():
    unet, ddpm = get_system("fast-unet-ff"), get_system("ddpm-50-ff")
    assert (unet.evaluations, ddpm.evaluations) == (1, 50) and ddpm.sampling.sigma == "zero"
    assert unet.views == ddpm.views == (2,) and unet.paper == ddpm.paper == "fast_unet"
