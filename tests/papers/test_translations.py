"""The papers' other translations: what is trained for them, on what, and how the rows are called."""

from __future__ import annotations

import pytest

from yoda_nb.systems.papers import SYSTEMS, TRAININGS
from yoda_nb.systems.train import model_name
from yoda_nb.training.rows import BUDGET
from yoda_papers.translations import BUDGETS, SPACING, TRANSLATIONS, named


@pytest.mark.parametrize("key", TRANSLATIONS)
def test_yoda_and_two_rivals_learn_the_same_from_the_same(key):
    of = TRANSLATIONS[key]
    rows = [TRAININGS[named(name, key)] for name in ("yoda", *of.rivals)]
    assert len(rows) == 3
    for row in rows:
        assert (row.sources, row.target, row.phantoms["spacing"]) == (of.sources, of.target, SPACING)
        assert row.config.net.n_sources == len(of.sources) and 0 <= row.config.option("prior", 0) < len(of.sources)
        assert row.config.steps * row.config.batch_size * row.config.net.counted == BUDGETS * BUDGET
        assert row.count == rows[0].count and row.bits == 8


@pytest.mark.parametrize("key", TRANSLATIONS)
def test_a_rival_is_a_row_that_runs_as_its_own_does_and_yoda_is_found_by_its_contrasts(key):
    of = TRANSLATIONS[key]
    for name in of.rivals:
        row, own = SYSTEMS[named(name, key)], SYSTEMS[name]
        assert (row.sampling, row.views, row.n_steps, row.clip) == (own.sampling, own.views, own.n_steps, own.clip)
        assert row.weights == model_name(row.name) and row.summary.startswith(of.told)
        assert row.reference.startswith(of.reference)
    assert model_name(named("yoda", key)) == named("yoda", key), "beside the models that contrasts choose"


def test_no_two_translations_are_of_the_same_contrasts():
    assert len({(of.sources, of.target) for of in TRANSLATIONS.values()}) == len(TRANSLATIONS)
