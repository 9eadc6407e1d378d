"""How a class is served; a browser visits it in tests/browser."""

from __future__ import annotations

import pytest

from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.report.classroom import THREADS, class_command, class_environment


def test_the_command_serves_the_lessons_to_other_machines():
    command = class_command(port=9000)
    assert command[1:4] == ["-m", "voila", str(NOTEBOOKS)]
    assert {"--port=9000", "--no-browser", "--Voila.ip=0.0.0.0", "--strip_sources=True"} <= set(command)


def test_a_folder_without_notebooks_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no notebook"):
        class_command(tmp_path)


def test_students_share_the_cores_unless_the_teacher_says_otherwise():
    assert class_environment({}) == dict.fromkeys(THREADS, "1")
    assert class_environment({"OMP_NUM_THREADS": "4", "HOME": "/h"})["OMP_NUM_THREADS"] == "4"
