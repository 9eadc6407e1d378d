"""Evidence and verdicts on SynDiff (SynDiff)."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from yoda_nb.metrics.images import score
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.papers import TRAININGS
from yoda_nb.training.rows import BUDGET
from yoda_papers.ledger.rules import stated
from yoda_papers.ledger.verdicts import combined
from yoda_papers.syndiff import baselines, sweep
from yoda_papers.syndiff.baselines import CONSTANT, LINE
from yoda_papers.syndiff.claims import EFFECTS
from yoda_papers.syndiff.tables import ABLATIONS, ALL_PROJECTORS, LONG, MADE, SWEEP, SYNDIFF, slice_psnr


def test_psnr_of_samples_and_their_slices_is_that_of_known_errors():
    mask = torch.ones(1, 8, 8, 3, dtype=torch.bool)
    mask[..., 2] = False
    mask[0, 0, 0, 2] = True  # too little of a brain to count as a slice
    error = torch.tensor([0.2, 0.02]).view(2, 1, 1, 1, 1)  # on [-1,1]: 0.1 and 0.01 on [0,1]
    whole, each = slice_psnr(torch.zeros(2, 1, 8, 8, 3) + error, torch.zeros(1, 8, 8, 3), mask)
    assert whole.tolist() == pytest.approx([20.0, 40.0], abs=1e-4)
    assert each.shape == (2, 2) and each[0].tolist() == pytest.approx([20.0, 20.0], abs=1e-4)


class Tables:
    """A study of made-up scores: each row of the table by its PSNR (dB), SSIM with it."""

    def __init__(self, **rows: float):
        self.scores = pd.DataFrame(
            [
                {"sampler": name.replace("_", " "), "subject": f"sub-{k}", "psnr": psnr + 0.01 * k, "ssim": psnr / 30}
                for name, psnr in rows.items()
                for k in range(6)
            ]
        ).assign(reference="acquired", training=0)

    def table(self, name):
        return self.scores


BASE = {CONSTANT: 17.0, "straight_line": 18.0}
RIVALS = {"DDPM": 19.0, "cycle_GAN": 19.5}


def test_rivals_are_judged_where_syndiff_beats_a_constant_and_a_line():
    good = BASE | {SYNDIFF: 21.0}
    assert combined(EFFECTS["S01"](Tables(**good, **RIVALS))) == "reproduced"
    assert combined(EFFECTS["S01"](Tables(**good, DDPM=22.0, cycle_GAN=19.0))) == "not reproduced"
    assert combined(EFFECTS["S01"](Tables(**good, DDPM=19.0))) == "inconclusive"


@pytest.mark.parametrize("rivals", [RIVALS, {"DDPM": 14.0, "cycle_GAN": 14.0}])
def test_a_model_below_a_line_says_nothing_of_its_rivals(rivals):
    poor = EFFECTS["S01"](Tables(**BASE | {SYNDIFF: 17.5}, **rivals))
    assert combined(poor) == "inconclusive" and "not reproduced" not in {e.verdict for e in poor}
    fine = EFFECTS["S01"](Tables(**BASE | {SYNDIFF: 21.0}, **rivals))
    assert stated(poor) == stated(fine), "the rule does not depend on what is found"


def test_numbers_of_steps_are_alike_only_among_models_that_learned():
    alike = {"2_steps": 0.05, "8_steps": -0.05}

    def verdict(psnr: float, **less: float) -> str:
        return combined(EFFECTS["S05"](Tables(**BASE, **{SYNDIFF: psnr}, **{k: psnr - v for k, v in less.items()})))

    assert verdict(21.0, **alike) == "reproduced" and verdict(17.5, **alike) == "inconclusive"
    assert verdict(21.0, **alike | {"2_steps": 1.0}) == "not reproduced"
    assert verdict(21.0, **{"2_steps": 0.0}) == "inconclusive", "8 steps were not trained"


def test_parts_are_judged_at_the_shared_budget():
    rows = {name.replace(" ", "_"): 19.0 for name in ABLATIONS} | {SYNDIFF + LONG: 25.0}
    assert combined(EFFECTS["S03"](Tables(**BASE, **{SYNDIFF: 20.0}, **rows))) == "reproduced"
    assert combined(EFFECTS["S03"](Tables(**BASE, **{SYNDIFF: 17.9}, **rows))) == "inconclusive"
    assert len([e for e in EFFECTS["S03"](Tables(**BASE, **{SYNDIFF: 20.0})) if "no model" in e.name]) == 6


def test_a_longer_training_is_judged_beside_others_as_long():
    short = BASE | {SYNDIFF: 21.0} | RIVALS
    longer = {f"{name}{LONG}": psnr for name, psnr in {"DDPM": 24.0, "cycle_GAN": 23.0}.items()}
    assert combined(EFFECTS["S01"](Tables(**short, **{SYNDIFF + LONG: 25.0}, **longer))) == "reproduced"
    assert combined(EFFECTS["S01"](Tables(**short, **{SYNDIFF + LONG: 23.5}, **longer))) == "not reproduced"
    assert combined(EFFECTS["S01"](Tables(**short, **{SYNDIFF + LONG: 25.0}))) == "inconclusive", "rivals were not"
    alone, beside = EFFECTS["S01"](Tables(**short)), EFFECTS["S01"](Tables(**short, **{SYNDIFF + LONG: 25.0}, **longer))
    assert stated(alone) == stated(beside), "the rule does not depend on what was trained"


def test_rows_behind_the_verdicts_are_of_one_longer_budget():
    judged = [name for label, (_, name) in MADE.items() if label not in SWEEP]
    slabs = {name: TRAININGS[name].config.steps * TRAININGS[name].config.batch_size for name in judged}
    for name in (*ALL_PROJECTORS.values(), *slabs):
        config = TRAININGS[name].config
        assert config.steps * config.batch_size == (12.5 if name.endswith("-long") else 1) * BUDGET


def test_the_line_is_the_best_one_and_the_constant_the_mean():
    base = baselines._fitted(1)
    assert base.slopes.shape == (2,)
    v = phantom_case(100_000)  # the phantom that it was fitted on
    made = base.images(v)
    assert all((image[~v.mask] == -1).all() and image.dtype == torch.float32 for image in made.values())
    assert made[CONSTANT][v.mask].unique().item() == pytest.approx(v.target[v.mask].mean().item(), abs=1e-5)
    error = (made[LINE] - v.target)[v.mask].double()
    known = torch.cat([v.source[:, v.mask[0]], torch.ones(1, int(v.mask.sum()))]).double()
    assert (known @ error / len(error)).abs().max() < 1e-4, "the least squares' residual is orthogonal to what is known"
    psnr = {label: score((x + 1) / 2, (v.target + 1) / 2, v.mask, data_range=1)["psnr"] for label, x in made.items()}
    assert psnr[LINE] > psnr[CONSTANT]


def test_variants_are_compared_subject_by_subject():
    frozen, weighed = "non-diffusive module frozen from 0.1 on", "2 times the cycle weight of phi"
    values = {SYNDIFF: [20.0, 22.0], frozen: [18.0, 21.0], weighed: [20.5, 22.5]}
    rows = [(label, f"sub-{k}", psnr / 100, psnr) for label, each in values.items() for k, psnr in enumerate(each)]
    found = sweep.gains(pd.DataFrame(rows, columns=["sampler", "subject", "ssim", "psnr"]).iloc[::-1])
    of = {label: group.sort_values("subject") for label, group in found.groupby("sampler")}
    assert set(of) == {frozen, weighed}, "what was not trained has no row"
    assert of[frozen].psnr.tolist() == [-2, -1] and of[weighed].psnr.tolist() == [0.5, 0.5]
    assert of[frozen].ssim.tolist() == pytest.approx([-0.02, -0.01])
    assert of[frozen].table.unique() == ["Table X"] and of[weighed].table.unique() == ["Table VIII"]
    assert sweep.gains(pd.DataFrame(rows[:2], columns=["sampler", "subject", "ssim", "psnr"])).empty


def test_every_variant_of_the_papers_tables_has_its_numbers():
    assert set(sweep.PAPER) == {name for _, name in SWEEP.values()}
    theirs = sweep.paper_gain(SWEEP)
    weights = theirs[[label for label in SWEEP if "weight" in label]]
    assert len(weights) == 8 and weights.abs().max() == pytest.approx(0.32, abs=0.005), "0.3, says the text"
    resting = theirs[[f"non-diffusive module frozen from {share} on" for share in (0.5, 0.2)]]
    assert resting.round(1).tolist() == [-0.7, -2.0], "25 and 10 epochs, as in the text"
