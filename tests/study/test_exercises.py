"""Exercises of students' copies: marked by the package's lessons, which they do not hold."""

from __future__ import annotations

import pytest
from reports import code, write

from yoda_nb import study
from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.study.exercises import MARK, check_exercise, marking_cell

LESSONS = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
CELL = (
    "answer = None  # the double\ndouble = 2 * base\nstudy.check_answer(answer, double, tolerance=0.1, hint='Twice.')"
)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "lesson", code("base = 21"), code(CELL))
    write(tmp_path, "talk", code("base = 21"))
    return tmp_path


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (42, "Right: measured here it is 42."),
        (41, "Not yet: 41 is too small. Twice."),
        (None, "Write your number in place of None and run this cell again."),
    ],
)
def test_an_answer_is_marked_with_what_the_run_computed(folder, answer, said, capsys):
    names = {"base": 21, "study": study}
    check_exercise("lesson", answer, names, folder)
    assert capsys.readouterr().out.strip() == said
    assert names == {"base": 21, "study": study}, "what was computed to mark it stays hidden"


def test_cells_that_were_not_run_are_named(folder, capsys):
    check_exercise("lesson", 42, {"study": study}, folder)
    assert capsys.readouterr().out == "Run the cells above first (name 'base' is not defined).\n"


@pytest.mark.parametrize("name", ["talk", "nothing", "../lesson/nothing"])
def test_a_lesson_without_an_exercise_is_one_sentence(folder, name):
    with pytest.raises(InputError, match="has no exercise in this version"):
        check_exercise(name, 1, {}, folder)


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_one_exercise_that_begins_with_its_question(name):
    source = marking_cell(name)
    assert source and source.startswith("answer = None  # ") and source.count("answer = ") == 1
    assert (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8").count(MARK) == 1
