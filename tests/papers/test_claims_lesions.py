"""Lesions at 1.5 mm: who is sampled, by what, and that images of known lesions get the verdicts they deserve."""

from __future__ import annotations

import pandas as pd
import pytest

from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import NOT_REPRODUCED, REPRODUCED, combined
from yoda_papers.yoda import lesions


def test_thirty_subjects_and_a_model_and_a_segmenter_of_their_voxel_size(monkeypatch):
    asked, used = [], set()

    def made(seed, spacing):
        asked.append((seed, spacing))
        return phantom_case(seed, shape=(40, 40, 40))

    def segment(image, volume, segmenter):
        used.add(segmenter)
        return volume.lesions

    monkeypatch.setattr(lesions, "phantom_case", made)
    monkeypatch.setattr(lesions, "segment", segment)
    monkeypatch.setattr(lesions, "model_name", lambda name, seed: "ablations/base-0" if name == "fine-long" else "none")
    table = lesions.lesions(Study("tiny"))
    assert asked == [(1001, 1.5), (1002, 1.5)] and len(lesions.SUBJECTS) == 30 and used == {"segmenter-fine"}
    assert set(table.sampler) == {"regression", "diffusion", "ExpA 4", "acquired", "truth"}
    assert (table.groupby("sampler").size() == 2).all() and (table.dice == 1).all()


def scored(regression: dict[str, float]) -> pd.DataFrame:
    """A table of six subjects: acquired, truth, diffusion, and regression as given."""
    good = {"dice": 0.85, "alvr": 0.1, "cnr": 6.0, "contrast": 0.3}
    worse = {"dice": 0.70, "alvr": 0.4, "cnr": 3.0, "contrast": 0.2}
    of = {"acquired": good, "truth": good, "diffusion": worse, "regression": regression, "ExpA 4": regression}
    return pd.DataFrame(
        {"subject": k, "sampler": name, "volume_fraction": 0.01 * (1 + k), **{c: x + 0.001 * k for c, x in row.items()}}
        for k in range(6)
        for name, row in of.items()
    )


@pytest.mark.parametrize(
    ("regression", "verdict"),
    [
        ({"dice": 0.84, "alvr": 0.12, "cnr": 12.0, "contrast": 0.29}, REPRODUCED),
        ({"dice": 0.60, "alvr": 0.6, "cnr": 2.0, "contrast": 0.1}, NOT_REPRODUCED),
    ],
)
def test_verdicts_follow_the_images(monkeypatch, regression, verdict):
    monkeypatch.setattr(Study, "table", lambda self, name: scored(regression))
    for claim in ("Y23", "Y24", "Y25"):
        assert combined(lesions.EFFECTS[claim](Study())) == verdict, claim
    assert combined(lesions.EFFECTS["Y26"](Study())) == REPRODUCED
