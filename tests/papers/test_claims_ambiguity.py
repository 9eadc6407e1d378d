"""Where two values are possible: samplers that know the law and samplers that are blind, and what is said of them."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import NOT_REPRODUCED, REPRODUCED
from yoda_papers.yoda import ambiguity
from yoda_papers.yoda.ablations.trainings import ABLATIONS
from yoda_papers.yoda.ambiguity import either, regions, side

SMALL = {"spacing": 4.0, "shape": (44, 52, 44)}


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ambiguity, "phantom_case", partial(phantom_case, **SMALL))
        either.cache_clear()
        yield
        either.cache_clear()


def sampled(monkeypatch, doubt: float):
    """A study whose samples are of a known law: half the difference by a coin, times ``doubt``, and white noise."""
    generator = torch.Generator().manual_seed(0)

    def samples(self, volume, system, *, n_ex=1, **settings):
        middle, half = next((m, h) for v, m, h in map(either, ambiguity.SUBJECTS[:2]) if v is volume)
        if system == "yoda-regression":
            return (middle + 0.01 * torch.randn(middle.shape, generator=generator))[None]
        coins = torch.randn(n_ex, *middle.shape, generator=generator).sign()
        noise = torch.randn(n_ex, *middle.shape, generator=generator)
        return middle + doubt * coins * half + 2 * volume.sigma * noise

    monkeypatch.setattr(Study, "samples", samples)
    table = ambiguity.hidden(Study("tiny"))
    monkeypatch.setattr(Study, "table", lambda self, name: table)
    return table


def test_two_values_are_possible_in_lesions_and_one_elsewhere(small):
    v, middle, half = either(ambiguity.SUBJECTS[0])
    assert torch.allclose(((v.clean - middle).abs() - half.abs()).abs().max(), torch.tensor(0.0), atol=1e-6)
    told, hidden = regions(v, half)["told"], regions(v, half)["hidden"]
    assert not (told & hidden).any() and hidden.any() and told.sum() > 0.5 * v.mask.sum()
    assert half[told].abs().max() / 2 <= ambiguity.KNOWN < half[hidden].abs().mean() / 2


def test_the_side_of_an_image_is_a_weight(small):
    v, middle, half = either(ambiguity.SUBJECTS[0])
    for weight in (-1.0, 0.0, 0.3, 1.0):
        assert side(middle + weight * half, middle, half, v.lesions) == pytest.approx(weight, abs=1e-5)


def test_samples_of_the_right_law_hold_noise_and_doubt(small, monkeypatch):
    table = sampled(monkeypatch, 1.0)
    assert set(table.region) == {"hidden", "told"} and set(table.training) == set(ABLATIONS["hidden"].seeds)
    assert set(table[table.path == "whole"].training) == {0}, "the whole path is of one training"
    noise, rank, doubt = ambiguity.where_doubt_is(Study("tiny"))
    assert abs(noise.value) < 0.05 and abs(rank.value) < 0.1 and abs(doubt.value) < 0.25
    assert noise.verdict == REPRODUCED and noise.seeds == len(ABLATIONS["hidden"].seeds)


def test_samples_that_never_doubt_fail_where_two_values_are_possible(small, monkeypatch):
    sampled(monkeypatch, 0.0)
    noise, _, doubt = ambiguity.where_doubt_is(Study("tiny"))
    assert abs(noise.value) < 0.05 and doubt.value < -0.7 and doubt.verdict == NOT_REPRODUCED


def test_every_sample_puts_every_lesion_on_a_side(small, monkeypatch):
    sampled(monkeypatch, 1.0)
    table = ambiguity.hidden_lesions(Study("tiny"))
    true = table[table.what == "truth"].side
    assert true.abs().to_numpy() == pytest.approx(1, abs=1e-4) and set(true.round()) == {-1, 1}
    assert table[table.what == "regression"].side.abs().max() < 0.1
    acquired = table[table.what == "acquired"]
    assert ((acquired.side - true.to_numpy()).abs() < 6 * acquired.noise).all()
    assert (table[table.what == "sample"].groupby(["training", "path", "subject", "lesion"]).size() == 2).all()
