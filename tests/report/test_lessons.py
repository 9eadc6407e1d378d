"""The lessons as files: whole, or without the answers, and never over somebody's work."""

from __future__ import annotations

import ast

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.report import run_report
from yoda_nb.report.classroom import class_command
from yoda_nb.report.lessons import LEFT_OUT, copy_lessons, without_answers

NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def test_copies_are_the_lessons_byte_for_byte(tmp_path):
    written = copy_lessons(tmp_path / "new" / "lessons")
    assert [path.name for path in written] == NAMES
    assert all(path.read_bytes() == (NOTEBOOKS / path.name).read_bytes() for path in written)
    assert copy_lessons(tmp_path / "new" / "lessons") == written, "the same again is no conflict"


def test_student_copies_lack_the_answers_and_nothing_else(tmp_path):
    for path in copy_lessons(tmp_path, student=True):
        mine, whole = nbformat.read(path, 4), nbformat.read(NOTEBOOKS / path.name, 4)
        nbformat.validate(mine)
        text = path.read_text(encoding="utf-8")
        assert "<details" not in text and "</details" not in text
        assert len(mine.cells) == len(whole.cells)
        changed = [(a, b) for a, b in zip(mine.cells, whole.cells, strict=True) if a != b]
        folded = [pair for pair in changed if pair[0].cell_type == "markdown"]
        assert folded and all("<details>" in b.source and LEFT_OUT in a.source for a, b in folded)
        (marking,) = [pair for pair in changed if pair[0].cell_type == "code"]
        question, *hidden = marking[1].source.splitlines()
        assert question.startswith("answer = None  # ")
        assert marking[0].source == f'{question}\nstudy.check_exercise("{path.stem}", answer, globals())'
        shown = "\n".join(cell.source for cell in mine.cells)
        compile(marking[0].source, path.name, "exec")
        tree = ast.parse("\n".join(hidden))
        (marks,) = [
            n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("check_answer")
        ]
        (hint,) = [word.value.value for word in marks.keywords if word.arg == "hint"]
        assert "check_answer" not in shown and hint not in shown and "\n".join(hidden) not in shown


def test_a_student_copy_marks_answers_as_it_runs(tmp_path):
    """The cells that its exercise needs: parameters, imports and the exercise."""
    copy_lessons(tmp_path, student=True)
    path = tmp_path / "02_sampling_methods.ipynb"
    notebook = nbformat.read(path, 4)
    settings, imports, *_, marking = [cell for cell in notebook.cells if cell.cell_type == "code"]
    marking.source = marking.source.replace("answer = None", "answer = 200", 1)
    notebook.cells = [settings, imports, marking]
    nbformat.write(notebook, path)
    report = run_report([path], tmp_path / "site", profile="tiny")
    assert not report.failed, report.failed[0].error
    (shown,) = report.runs[0].notebook.cells[-1].outputs
    assert shown.text.strip().startswith("Right: measured here it is 200")


def test_what_surrounds_an_answer_stays():
    cells = [
        new_markdown_cell("Before.\n\n<details><summary>Answer</summary>\n\n42\n\n</details>\n\nAfter."),
        new_code_cell("answer = None  # <details>no</details>"),
    ]
    found = nbformat.reads(without_answers(nbformat.writes(new_notebook(cells=cells)).encode()).decode(), 4)
    assert found.cells[0].source == f"Before.\n\n{LEFT_OUT}\n\nAfter."
    assert found.cells[1].source == cells[1].source


def test_work_that_is_there_is_kept_unless_told_otherwise(tmp_path):
    copy_lessons(tmp_path)
    mine = tmp_path / NAMES[3]
    mine.write_text("my own work")
    (tmp_path / NAMES[0]).unlink()
    with pytest.raises(InputError, match=f"{NAMES[3]} already"):
        copy_lessons(tmp_path)
    assert mine.read_text() == "my own work" and not (tmp_path / NAMES[0]).exists(), "nothing was written"
    copy_lessons(tmp_path, force=True)
    assert mine.read_bytes() == (NOTEBOOKS / NAMES[3]).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [*NAMES, "glossary.md"]


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        copy_lessons(tmp_path / "file")
    with pytest.raises(InputError, match="contains no notebook"):
        copy_lessons(tmp_path / "out", folder=tmp_path)


def test_the_lessons_themselves_are_not_written_over(tmp_path):
    folder = tmp_path / "lessons"
    copy_lessons(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, tmp_path / "link", folder / ".." / "lessons"):
        with pytest.raises(InputError, match="lessons themselves"):
            copy_lessons(out, student=True, force=True, folder=folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_jupyter_leaves_is_no_lesson(tmp_path):
    for name in (".ipynb_checkpoints/a-checkpoint.ipynb", ".b.ipynb", "c.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((NOTEBOOKS / NAMES[0]).read_bytes())
    (tmp_path / "d.ipynb").mkdir()
    assert [path.name for path in copy_lessons(tmp_path / "out", folder=tmp_path)] == ["c.ipynb"]
    (tmp_path / "c.ipynb").unlink()
    with pytest.raises(InputError, match="contains no notebook"):
        class_command(tmp_path)
