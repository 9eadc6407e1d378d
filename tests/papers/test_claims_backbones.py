"""Evidence on the backbones (Koch): patterns of patches, schedules that jump, trainings of several lengths."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb.diffusion.process import time_pairs, vp_step
from yoda_nb.diffusion.schedules import LOG_SNR_LIMIT, schedule
from yoda_nb.nets.models import Model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.systems.run import Run, prepare
from yoda_nb.systems.table import get_system
from yoda_papers.backbones import BUDGETS, PATCH, convergence, of_budget, patches
from yoda_papers.backbones.convergence import min_snr_is_faster
from yoda_papers.backbones.patches import excess, grid_starts, line_power, patches_show, steps_by_place
from yoda_papers.backbones.sweep import STEPS, SWAPS
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import NOT_REPRODUCED, REPRODUCED, combined

JUMPS = [name for name, settings in SWAPS.items() if "jump_to" in settings]


def noise(seed: int = 0, shape: tuple[int, ...] = (1, 48, 56, 20)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def patterned(size: float, shape: tuple[int, ...] = (1, 48, 56, 20)) -> torch.Tensor:
    """Noise and, along both sides, a ridge at the first voxel of each patch."""
    ridges = [((torch.arange(n) % PATCH) == 0).float() for n in shape[1:3]]
    return noise(shape=shape) + size * (ridges[0].view(1, -1, 1, 1) + ridges[1].view(1, 1, -1, 1))


def test_a_pattern_of_patches_stands_out_at_its_harmonics_and_noise_nowhere():
    mask = torch.ones_like(noise(), dtype=torch.bool)
    frequency, power = line_power(0.5 * noise(), mask)
    assert set(patches.HARMONICS) <= set(frequency) and patches.HARMONICS == (0.125, 0.25, 0.375, 0.5)
    assert power.mean() == pytest.approx(0.25, rel=0.05)
    assert np.abs(excess(power)[1:-1]).max() < 1
    raised = excess(line_power(patterned(2.0), mask)[1])
    assert (raised[[8, 16, 24, 32]] > 3).all() and np.abs(raised[[12, 20, 28]]).max() < 1


def test_steps_across_borders_are_told_from_those_within_patches():
    mask = torch.ones_like(noise(), dtype=torch.bool)
    assert np.abs(10 * np.log10(steps_by_place(noise(), mask, (0, 0)) / 2)).max() < 0.3
    blocks = noise(1, (1, 6, 7, 20)).repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)
    shifted = blocks.roll((3, 5), (1, 2))[:, 8:, 8:]
    found = steps_by_place(shifted, torch.ones_like(shifted, dtype=torch.bool), (3, 5))
    assert found[0] > 1 and (found[1:] == 0).all()
    half = torch.zeros_like(mask)
    half[:, :, :1] = True  # one column: steps along it alone
    assert steps_by_place(noise(), half, (0, 0))[0] == pytest.approx(2, rel=0.4)


def test_patches_begin_where_the_nets_region_of_interest_does(monkeypatch):
    case = phantom_case(3, spacing=4.0, shape=(48, 48, 48))
    config = TRAININGS["dit-8"].config.net
    card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 4.0, "training": {}}
    monkeypatch.setattr("yoda_nb.systems.run.load_model", lambda name: Model("", config.build(), config, card, "0"))
    box = prepare(case, get_system("dit"), Run(device="cpu")).box
    assert grid_starts(case) == (box[0].start, box[1].start)
    assert all((side.stop - side.start) % PATCH == 0 for side in box[:2])


def of_tables(**tables: pd.DataFrame) -> SimpleNamespace:
    return SimpleNamespace(table=tables.__getitem__)


def grid_tables(size: float) -> SimpleNamespace:
    """A study whose DiTs leave a pattern of this size, and no other net does."""
    spectra, borders = [], []
    mask = torch.ones_like(noise(), dtype=torch.bool)
    for subject in range(4):
        for system in patches.TITLES:
            x = noise(subject) + (patterned(size) - noise() if system in ("dit-8", "dit-8-long") else 0)
            frequency, power = line_power(x, mask)
            spectra += [(subject, system, f, e) for f, e in zip(frequency, excess(power), strict=True)]
            borders += [(subject, system, k, p) for k, p in enumerate(steps_by_place(x, mask, (0, 0)))]
    return of_tables(
        patch_grid=pd.DataFrame(spectra, columns=["subject", "system", "frequency", "excess"]),
        patch_borders=pd.DataFrame(borders, columns=["subject", "system", "place", "power"]),
    )


def test_patches_are_found_where_they_are():
    assert combined(patches_show(grid_tables(2.0))) == REPRODUCED
    assert combined(patches_show(grid_tables(0.0))) == NOT_REPRODUCED


@pytest.mark.parametrize("name", JUMPS)
def test_a_jump_skips_only_steps_at_the_limit(name):
    """There a step leaves x as it is, whatever the net says, so the sampler is that of all the steps."""
    curve, jump_to = schedule(name), SWAPS[name]["jump_to"]
    x, other = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    even = time_pairs(1000, STEPS[-1])
    for t, s in even[:-1]:
        if s >= jump_to:
            torch.testing.assert_close(vp_step(x, other, t, s, other, schedule=curve), x)
    assert curve.log_snr(jump_to) == pytest.approx(-LOG_SNR_LIMIT)
    jumped = time_pairs(1000, SWAPS[name]["n_steps"], jump_to=jump_to)
    acting = [pair for pair in even if pair[0] <= jump_to + 1]
    assert len(jumped) == 1 + len(acting), "as many as of the even ones act"
    assert max(abs(a - b) for a, b in zip(np.ravel(jumped[1:]), np.ravel(acting), strict=True)) <= 1
    assert curve.log_snr(acting[0][1]) > -LOG_SNR_LIMIT


def test_every_length_and_seed_has_a_training_with_and_without_the_weight():
    assert len(convergence.TRAININGS) == 2 * sum(map(len, BUDGETS.values()))
    rows = {of_budget(*training) for training in convergence.TRAININGS.values()}
    assert len(rows) == len(convergence.TRAININGS) and rows <= set(TRAININGS)


def min_snr_tables(gain: float) -> SimpleNamespace:
    """A study whose trainings with the weight are better by ``gain`` dB, and halve FD with every dB."""
    rng = np.random.default_rng(0)
    scores, distances = [], []
    for name, steps, seed in convergence.TRAININGS.values():
        better = gain if name == convergence.PAIR[0] else 0.0
        scores += [(k, name, steps, seed, "acquired", 20 + better + 0.1 * rng.normal()) for k in range(6)]
        drawn = 2.0 ** (-better + 0.1 * rng.normal(size=(20, 3)))
        distances += [(draw, name, steps, seed, *each) for draw, each in enumerate(drawn)]
    keys = ["system", "steps", "training"]
    return of_tables(
        min_snr=pd.DataFrame(scores, columns=["subject", *keys, "reference", "psnr"]),
        min_snr_fd=pd.DataFrame(distances, columns=["draw", *keys, "fd", "fd_untrained", "fd_tissue"]),
    )


@pytest.mark.parametrize(("gain", "verdict"), [(1.0, REPRODUCED), (-1.0, NOT_REPRODUCED)])
def test_the_weight_speeds_training_where_short_ones_are_better(gain, verdict):
    effects = min_snr_is_faster(min_snr_tables(gain))
    assert len(effects) == 2 * (1 + 3) and [e.seeds for e in effects] == [6] * 4 + [3] * 4
    assert combined(effects) == verdict


def test_the_tables_hold_every_training(monkeypatch):
    """Samples of all lengths and patches, by nets that know nothing yet; of one seed of training."""
    one = {label: training for label, training in convergence.TRAININGS.items() if training[2] == 0}
    monkeypatch.setattr(convergence, "TRAININGS", one)

    def untrained(name: str) -> Model:
        row = TRAININGS[name.rpartition("/")[2]]
        torch.manual_seed(0)
        card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 4.0, "training": {}}
        card |= {"schedule": "alpha-cosine", "n_train": 1000, "prediction": "v", "options": dict(row.config.options)}
        return Model(name, row.config.net.build().eval(), row.config.net, card, name)

    for place in ("study.sampling", "systems.run"):
        monkeypatch.setattr(f"yoda_nb.{place}.load_model", untrained)
    own = tuple(phantom_case(seed, spacing=4.0, shape=(48, 48, 48)) for seed in (3, 4))
    monkeypatch.setattr(Study, "table", lambda study, name: convergence.min_snr(study))
    study = Study("tiny", device="cpu", own=own)
    found = convergence.min_snr(study)
    assert len(found) == 2 * 2 * len(one) and found.psnr.notna().all()
    assert set(convergence.distances(study).steps) == set(BUDGETS)
    spectrum, borders = patches.patch_grid(study), patches.patch_borders(study)
    assert set(spectrum.system) == set(borders.system) == set(patches.TITLES)
    assert len(borders) == 2 * len(patches.TITLES) * PATCH and (borders.power > 0).all()
