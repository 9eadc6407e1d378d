"""Claims on the light U-Net (FastUNet): verdicts of made-up tables, and seconds measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yoda_papers.fast_unet.claims import EFFECTS, PAPER, controls, latency
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import ARITHMETIC, NOT_REPRODUCED, REPRODUCED, combined


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


@pytest.mark.parametrize("ratio", [200.0, 50.0, 10.0])
def test_latency_is_measured_beside_the_papers_number_and_is_no_evidence(ratio):
    rows = [
        {"subject": k, "sampler": s, "seconds": (1 + 0.01 * k) * (ratio * (1 + 0.001 * k) if s == "DDPM" else 1)}
        for k in range(3)
        for s in ("U-Net", "DDPM")
    ]
    found = EFFECTS["F02"](Made(fast_unet_latency=pd.DataFrame(rows)))
    assert [effect.value for effect in found] == pytest.approx([ratio, np.log2(ratio / PAPER)], rel=0.01, abs=0.01)
    assert combined(found) == ARITHMETIC  # it follows from counting the evaluations


def test_latency_times_both_models_on_the_same_slice():
    found = latency(Study("tiny"))
    assert list(found.sampler) == ["U-Net", "DDPM"] * 2 and (found.seconds > 0).all()
    assert found.groupby("subject")[["rows", "columns"]].nunique().eq(1).all(axis=None)
    wide = found.pivot(index="subject", columns="sampler", values="seconds")
    assert (wide["DDPM"] > wide["U-Net"]).all()  # three evaluations against one
