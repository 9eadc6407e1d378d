"""The one list of papers, and what each of its modules offers."""

from __future__ import annotations

import pytest

from yoda_nb.nets.base import Config, config_from_dict, config_to_dict
from yoda_nb.systems.papers import NETS, PAPERS, SYSTEMS, TRAININGS
from yoda_nb.systems.train import model_name


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_offers_title_nets_trainings_and_systems(name):
    paper = PAPERS[name]
    assert paper.TITLE and paper.__doc__ and paper.__name__ == f"yoda_papers.{name}"
    assert all(issubclass(config, Config) and NETS[config.kind] is config for config in paper.NETS)
    assert all(TRAININGS[row] is training for row, training in paper.TRAININGS.items())
    assert all(SYSTEMS[row.name].paper == name for row in paper.SYSTEMS)


def test_no_name_is_given_twice():
    assert len(SYSTEMS) == sum(len(paper.SYSTEMS) for paper in PAPERS.values())
    assert len(TRAININGS) == sum(len(paper.TRAININGS) for paper in PAPERS.values())
    assert len(NETS) == 2 + sum(len(paper.NETS) for paper in PAPERS.values())  # and the plain U-Nets


def test_a_system_with_weights_of_its_own_has_their_training():
    for row in SYSTEMS.values():
        if row.weights:
            training = row.weights.rpartition("/")[2]
            assert row.weights == model_name(training) and TRAININGS[training].config.views == row.views


@pytest.mark.parametrize("kind", NETS)
def test_a_configuration_comes_back_from_its_card(kind):
    config = NETS[kind](n_sources=3)
    assert config.kind == kind and config_from_dict(config_to_dict(config), NETS) == config
    with pytest.raises(KeyError):
        config_from_dict(config_to_dict(config), {})
