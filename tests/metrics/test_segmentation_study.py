"""The tables of lesions: scores of every sampler, and agreement of volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from score_tables import fractions
from volumes_by_hand import blob_volume

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.downstream import lesion_cnr
from yoda_nb.metrics.segmentation import agreement, lesion_summary, lesion_table, logit_fraction


def bright(image: torch.Tensor, volume: Volume) -> torch.Tensor:
    return (image > 0.4) & volume.mask


@pytest.mark.filterwarnings("ignore:.*no usable white matter")  # flat around: no noise to divide by
def test_the_table_scores_every_sampler_and_the_acquired_image():
    v = blob_volume()
    flat = torch.zeros_like(v.target)
    table = lesion_table([v], {"regression": [v.target * 0.8], "none": [flat]}, segment=bright)
    assert table.sampler.tolist() == ["regression", "none", "acquired", "truth"] and (table.reference == "truth").all()
    at = table.set_index("sampler")
    assert at.dice["regression"] == at.dice["acquired"] == 1 and at.hd95["acquired"] == at.alvr["acquired"] == 0
    assert at.dice["none"] == 0 and np.isinf(at.hd95["none"]) and np.isinf(at.alvr["none"])
    assert at.contrast["truth"] == pytest.approx(0.4) and at.contrast["regression"] == pytest.approx(0.32)
    share = float(v.lesions.sum() / v.mask.sum())
    assert at.volume_fraction["acquired"] == pytest.approx(share) and at.volume_fraction["none"] == 0
    assert (at.true_volume_fraction == share).all()

    shown = lesion_summary(table)
    assert shown.missed["none"] == 1 and shown.missed["acquired"] == 0 and (shown.n == 1).all()
    assert "inf" not in shown.to_string()


def test_cnr_is_that_of_eq_12_on_the_unit_scale():
    v = blob_volume()
    noise = 0.05 * torch.randn(v.target.shape, generator=torch.Generator().manual_seed(0))
    table = lesion_table([replace(v, target=v.clean + noise, clean=None)], {}, segment=bright)
    wanted = lesion_cnr((v.clean + noise + 1) / 2, v.lesions, v.labels == 3, v.spacing, distance=9.0)
    assert table.cnr.item() == pytest.approx(wanted) and 5 < wanted < 40


@pytest.mark.filterwarnings("ignore:.*no usable white matter")
def test_without_known_lesions_the_acquired_image_is_the_reference():
    v = replace(blob_volume(), lesions=None, clean=None, labels=None)
    table = lesion_table([v], {"regression": [v.target]}, segment=bright).set_index("sampler")
    assert (table.reference == "acquired").all() and table.dice["regression"] == 1 and np.isnan(table.dice["acquired"])
    assert table.cnr.isna().all(), "no white matter is known"
    given = lesion_table([v], {}, segment=bright, white_matter=lambda v: v.mask)
    assert given.contrast.item() == pytest.approx(0.4)
    with pytest.raises(InputError, match="blob has neither"):
        lesion_table([replace(v, target=None)], {"regression": [v.source[:1]]}, segment=bright)


def test_logit_fractions():
    assert logit_fraction(0.5) == 0 and logit_fraction(0.0) == -np.inf and logit_fraction(1.0) == np.inf
    assert np.allclose(1 / (1 + np.exp(-logit_fraction(np.array([0.001, 0.3])))), [0.001, 0.3])
    with pytest.raises(InputError, match="between 0 and 1"):
        logit_fraction(1.2)


def test_agreement_tells_bias_from_scatter_and_counts_what_it_drops():
    base = np.array([0.001, 0.002, 0.004, 0.006])
    odds = np.exp(0.1) * base / (1 - base)  # a tenth of a logit more, everywhere
    table = fractions({"acquired": [*base, 0.003], "regression": [*(odds / (1 + odds)), 0.0]})
    found = agreement(table, "regression")
    assert (found["n"], found["dropped"]) == (4, 1)
    assert found["bias"] == pytest.approx(0.1) and found["high"] - found["low"] == pytest.approx(0, abs=1e-9)
    assert found["icc"] == pytest.approx(1), "ICC(3,1) is of consistency: it does not see a bias"
    assert agreement(table, "acquired")["bias"] == 0
    with pytest.raises(InputError, match="no sampler 'ExpA'"):
        agreement(table, "ExpA")
    lone = agreement(fractions({"acquired": [0.1, 0.2], "regression": [0.1, 0.0]}), "regression")
    assert lone["n"] == 1 and np.isnan(lone["icc"])
