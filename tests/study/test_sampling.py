"""Answers that check themselves, and images that the bank remembers."""

from __future__ import annotations

import pytest
import torch

from yoda_nb import study
from yoda_nb.data.phantom import phantom_case


@pytest.mark.parametrize(
    "answer, said", [(None, "Write your number"), (3.04, "Right"), (3.2, "too large"), (-1, "too small. Count again.")]
)
def test_an_answer_is_told_right_or_wrong_and_never_given_away(answer, said, capsys):
    study.check_answer(answer, 3.0, tolerance=0.05, hint="Count again.")
    shown = capsys.readouterr().out
    assert said in shown
    assert ("3" in shown.replace("3.2", "")) == (said == "Right")


def test_views_are_part_of_what_the_bank_remembers():
    v = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    draw = lambda views: study.samples(v, "yoda-diffusion", model="systems/yoda", n_steps=3, views=views)  # noqa: E731
    three, one = draw((0, 1, 2)), draw((2,))
    assert not torch.equal(three, one)
    assert torch.equal(draw((2,)), one) and torch.equal(draw((0, 1, 2)), three)
