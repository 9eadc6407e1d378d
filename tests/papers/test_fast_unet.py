"""The light U-Net, its DDPM and the fat fraction they translate to (seed 003)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb.data.phantom import FAT, PROTOCOLS, _measured_share, phantom_case
from yoda_nb.metrics.images import pearson
from yoda_nb.nets.base import build
from yoda_nb.nets.models import save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.papers.fast_unet import TRAININGS
from yoda_nb.study.claims.evidence import Study
from yoda_nb.study.claims.fast_unet import EFFECTS, controls, latency
from yoda_nb.study.claims.verdicts import NOT_REPRODUCED, REPRODUCED, combined
from yoda_nb.systems.run import prepare, translate
from yoda_nb.systems.table import get_system
from yoda_nb.training.rows import BUDGET

SMALL = {"spacing": 4.0, "shape": (44, 52, 44), "sources": ("T2w",)}


def share(image: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (image[where].double() + 1) / 2


# --- the fat fraction


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_fat_fraction_is_the_tissues_share_whatever_the_coil_sees(protocol):
    v = phantom_case(3, **SMALL, target="FF", sigma=0.0, bias=0.4, bias_own=0.2, lesions=False, protocol=protocol)
    assert torch.allclose(v.target, v.clean, atol=1e-6)  # fields cancel in the ratio
    found = share(v.clean, v.mask)
    assert FAT["CSF"] <= found.min() + 1e-6 and found.max() == pytest.approx(FAT["WM"], abs=1e-3)
    medians = [float(share(v.clean, v.labels == code).median()) for code in (1, 2, 3)]
    assert medians[0] < medians[1] < medians[2]
    assert bool((v.target[~v.mask] == -1).all())


def test_a_lesion_has_lost_fat():
    sick, well = (phantom_case(3, **SMALL, target="FF", lesions=lesions) for lesions in (True, False))
    assert share(sick.clean, sick.lesions).mean() < share(well.clean, sick.lesions).mean() - 0.1


def test_noise_of_the_fraction_follows_from_that_of_its_two_images():
    """Where the signal is strong: sd = sigma sqrt(f^2 + (1-f)^2) / (W + F)."""
    rng = np.random.default_rng(0)
    total, f, sigma = np.full((50, 50, 50), 0.8), 0.3, 0.01
    found = _measured_share(total, f, sigma, rng.standard_normal((2, 50, 50, 50), dtype=np.float32), rng)
    assert found.mean() == pytest.approx(f, abs=1e-3)
    assert found.std() == pytest.approx(sigma * (f**2 + (1 - f) ** 2) ** 0.5 / 0.8, rel=0.02)


def test_asking_for_fat_changes_no_other_image():
    fat, flair = (phantom_case(5, **SMALL, target=target) for target in ("FF", "FLAIR"))
    both = phantom_case(5, **SMALL | {"sources": ("T2w", "FF")})
    assert torch.equal(fat.source, flair.source) and torch.equal(both.target, flair.target)
    assert torch.equal(both.source[1:], fat.target)


# --- Pearson's r


def test_pearson_is_numpys_inside_the_mask_and_blind_to_scale():
    generator = torch.Generator().manual_seed(0)
    a, noise = torch.rand(2, 1, 6, 7, 8, generator=generator)
    b, mask = a + 0.3 * noise, torch.rand(1, 6, 7, 8, generator=generator) < 0.5
    expected = np.corrcoef(a[mask].numpy(), b[mask].numpy())[0, 1]
    assert pearson(a, b, mask) == pytest.approx(expected, abs=1e-6)
    assert pearson(5 - 3 * a, b, mask) == pytest.approx(-expected, abs=1e-6)
    assert np.isnan(pearson(torch.ones_like(a), b, mask))


# --- trainings and systems


def test_the_models_differ_in_what_the_net_is_asked_for_and_in_nothing_else():
    for unet, ddpm in (("fast-unet", "ddpm-50"), ("fast-unet-ff", "ddpm-ff")):
        a, b = TRAININGS[unet], TRAININGS[ddpm]
        assert a.sources == b.sources == ("T2w",) and a.target == b.target and a.phantoms == b.phantoms
        assert a.config.steps * a.config.batch_size == b.config.steps * b.config.batch_size == BUDGET
        same = replace(a.config, net=replace(a.config.net, noisy=True), method="diffusion", target="v")
        assert same == b.config
    assert len(TRAININGS["fast-unet"].config.net.channels) == 4  # levels
    long, short = TRAININGS["ddpm-ff-long"], TRAININGS["ddpm-ff"]
    assert long.config == replace(short.config, steps=2 * short.config.steps)


def test_one_shot_is_the_net_on_each_slice_and_draws_nothing(tmp_path):
    config = UNetConfig(channels=(4, 4), attention=(False, False), groups=2, n_sources=1, noisy=False)
    torch.manual_seed(0)
    net = build(config)
    torch.nn.init.normal_(net.out[-1].weight, std=0.1)
    card = {
        "sources": ["T2w"],
        "target": "FF",
        "spacing_mm": 4.0,
        "schedule": "linear",
        "n_train": 1000,
        "prediction": "x0",
        "training": {},
    }
    save_model(net, tmp_path / "net.safetensors", config=config, card=card)
    v = phantom_case(7, **SMALL, target="FF")
    made, again = (
        translate(v, "fast-unet-ff", model=tmp_path / "net.safetensors", seed=seed, half=False, device="cpu")
        for seed in (0, 1)
    )
    assert torch.equal(made.target, again.target) and made.contrast == "FF"
    job = prepare(v, get_system("fast-unet-ff"), model=tmp_path / "net.safetensors", device="cpu")
    slices = job.cut.source.movedim(-1, 0)  # (N,1,A,B), axial
    with torch.inference_mode():
        alone = job.model.net(torch.cat([torch.full_like(slices, 9.0), slices], 1), torch.zeros(len(slices)))
    alone = alone.movedim(0, -1).clamp(-1, 1)  # (1,A,B,N)
    inside = job.cut.mask
    assert torch.allclose(made.target[:, *job.box][inside], alone[inside], atol=1e-5)


def test_the_rows_cost_what_the_paper_says():
    unet, ddpm = get_system("fast-unet-ff"), get_system("ddpm-50-ff")
    assert (unet.evaluations, ddpm.evaluations) == (1, 50) and ddpm.sigma == "zero"
    assert unet.views == ddpm.views == (2,) and unet.seed == ddpm.seed == "003"


# --- effects on made-up tables


class Made:
    """A study with these tables."""

    def __init__(self, **tables):
        self.tables = tables

    def table(self, name: str) -> pd.DataFrame:
        return self.tables[name]


def score_rows(unet: float, ddpm: float, identity: float) -> pd.DataFrame:
    """r of three subjects a little apart; MAE = 1 - |r|."""
    values = {"identity": identity, "U-Net": unet, "DDPM": ddpm, "DDPM, 100 steps": ddpm}
    return pd.DataFrame(
        [
            {
                "subject": k,
                "task": task,
                "sampler": s,
                "reference": "acquired",
                "r": r + 0.001 * k * (i + 1),
                "mae": 1 - abs(r) - 0.001 * k * (i + 1),
            }
            for k in range(3)
            for task in ("FLAIR", "FF")
            for i, (s, r) in enumerate(values.items())
        ]
    )


def test_verdicts_follow_the_tables():
    paper = Made(fast_unet=score_rows(0.975, 0.962, 0.769))
    assert combined(EFFECTS["F01"](paper)) == combined(EFFECTS["F03"](paper)) == REPRODUCED
    assert len(EFFECTS["F01"](paper)) == 4 and len(EFFECTS["F03"](paper)) == 8
    assert combined(controls(paper)) == REPRODUCED and len(controls(paper)) == 2
    other = Made(fast_unet=score_rows(0.95, 0.97, -0.98))  # a straight line through T2w would do better
    assert combined(EFFECTS["F01"](other)) == combined(EFFECTS["F03"](other)) == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("ratio", "verdicts"),
    [(200.0, (REPRODUCED,) * 2), (50.0, (REPRODUCED, NOT_REPRODUCED)), (10.0, (NOT_REPRODUCED,) * 2)],
)
def test_latency_is_judged_by_steps_and_by_the_papers_number(ratio, verdicts):
    rows = [
        {"subject": k, "sampler": s, "seconds": (1 + 0.01 * k) * (ratio * (1 + 0.001 * k) if s == "DDPM" else 1)}
        for k in range(3)
        for s in ("U-Net", "DDPM")
    ]
    found = EFFECTS["F02"](Made(fast_unet_latency=pd.DataFrame(rows)))
    assert tuple(effect.verdict for effect in found) == verdicts


def test_latency_times_both_models_on_the_same_slice():
    found = latency(Study("tiny"))
    assert list(found.sampler) == ["U-Net", "DDPM"] * 2 and (found.seconds > 0).all()
    assert found.groupby("subject")[["rows", "columns"]].nunique().eq(1).all(axis=None)
    wide = found.pivot(index="subject", columns="sampler", values="seconds")
    assert (wide["DDPM"] > wide["U-Net"]).all()  # three evaluations against one
