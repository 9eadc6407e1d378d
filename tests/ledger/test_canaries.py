"""One subject of a shipped table is what the code gives now, and a number that moved is seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger import canaries
from yoda_papers.ledger.canaries import compare, fingerprint, left_out
from yoda_papers.ledger.evidence import FETCHED, MAKERS, index


@pytest.mark.parametrize("name", ["rician", "min_snr_levels", "benchmark-floors"])
def test_a_subject_of_a_shipped_table_is_what_the_code_gives(name, tmp_path, monkeypatch):
    monkeypatch.setenv("YODA_NB_BANK", str(tmp_path))
    found = canaries.recompute(name, "cpu")
    assert found.outside == () and found.rows and found.largest, found.document()


SHIPPED = pd.DataFrame(
    {
        "subject": ["a", "a", "b"],
        "sampler": ["x", "y", "x"],
        "ssim": [0.9, 0.8, 0.7],
        "line_psnr": [30.0, 31.0, 32.0],
        "power": [100.0, 0.0, 1.0],
        "share": [np.nan, 0.5, 0.5],
    }
)


@pytest.mark.parametrize(
    ("change", "outside"),
    [
        ({}, ()),
        ({"ssim": [0.9019, 0.8]}, ()),
        ({"ssim": [0.9021, 0.8]}, ("ssim",)),
        ({"line_psnr": [30.09, 31]}, ()),
        ({"line_psnr": [30.11, 31]}, ("line_psnr",)),
        ({"power": [101.9, 0.19]}, ()),
        ({"power": [102.1, 0.0]}, ("power",)),
        ({"power": [100.0, 0.21], "share": [0.1, 0.5]}, ("power", "share")),
        ({"share": [np.nan, np.nan]}, ("share",)),
        ({"sampler": ["y", "z"]}, ("rows",)),
        ({"more": [1, 2]}, ("rows",)),
    ],
)
def test_a_difference_counts_beyond_the_tolerance_of_its_column(change, outside):
    assert compare(SHIPPED[:2].assign(**change), SHIPPED)[1] == outside


def test_rows_that_are_not_there_are_seen():
    assert compare(SHIPPED[:1], SHIPPED) == ({}, ("rows",))
    assert compare(SHIPPED[1::-1], SHIPPED)[1] == (), "systems in another order"
    largest, _ = compare(SHIPPED[:2].assign(ssim=[0.9, 0.801]), SHIPPED)
    assert largest["ssim"] == pytest.approx(0.001) and largest["share"] == 0


def test_every_table_has_a_canary_or_a_reason():
    assert set(canaries.WHOLE) <= set(MAKERS)
    assert {"samplers", "benchmark", *canaries.OWN_PHANTOMS} <= {name for name in MAKERS if not left_out(name)}
    assert (
        all(map(left_out, FETCHED))
        and "weights not shipped" in left_out("min_snr")
        and "every subject" in left_out("perception")
    )


def test_another_subject_is_seen(monkeypatch):
    one, other = (phantom_case(seed, spacing=6.0, shape=(32, 32, 32)) for seed in (1, 2))
    then = fingerprint(one)
    monkeypatch.setitem(MAKERS, "rician", lambda study: SHIPPED)
    monkeypatch.setattr(canaries, "read_shipped", lambda name: SHIPPED)
    monkeypatch.setattr(canaries, "index", lambda: index() | {"rician": {"subject": then}})
    for volume, outside in ((one, ()), (other, ("subject",))):
        monkeypatch.setattr(canaries.Study, "more", lambda self, n, volume=volume: [volume])
        assert canaries.recompute("rician").outside == outside
