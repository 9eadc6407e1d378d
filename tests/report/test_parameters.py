"""A notebook's parameters: read from its source, checked before anything starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from reports import PARAMETERS, code, write

from yoda_nb.errors import InputError
from yoda_nb.report import read_parameters, resolve_parameters, run_report


@pytest.fixture
def declared(tmp_path) -> Path:
    return write(tmp_path, "declared", code(PARAMETERS, "parameters"))


def test_a_parameters_cell_is_read_with_its_help(declared):
    parameters = {p.name: p for p in read_parameters(declared)}
    assert list(parameters) == ["profile", "seed", "sigma", "flag", "subject", "n_ex"]
    assert parameters["n_ex"].default == [1, 4] and parameters["n_ex"].help == "averages"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("seed", 3, 3),
        ("seed", "3", 3),
        ("seed", "-3", -3),
        ("sigma", "1", 1.0),
        ("sigma", 2, 2.0),
        ("flag", "true", True),
        ("flag", False, False),
        ("subject", "007", "007"),
        ("subject", "none", None),
        ("profile", "full", "full"),
        ("n_ex", "1,2", [1, 2]),
        ("n_ex", "8", [8]),
        ("n_ex", "[1, 2]", [1, 2]),
        ("n_ex", (1, 2), [1, 2]),
    ],
)
def test_a_given_value_takes_the_parameter_type(declared, name, given, value):
    resolved = resolve_parameters([declared], {name: given})[declared]
    assert resolved[name] == value and type(resolved[name]) is type(value)
    assert set(resolved) == {"profile", "seed", "sigma", "flag", "subject", "n_ex"}


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("seed", "3.5", "whole number"),
        ("seed", True, "whole number"),
        ("seed", "three", "whole number"),
        ("sigma", "nan", "a number"),
        ("sigma", float("inf"), "a number"),
        ("flag", 1, "true or false"),
        ("flag", "yes", "true or false"),
        ("subject", 7, "text or None"),
        ("profile", "fast", "tiny, quick, full"),
        ("n_ex", "a,b", "a list, each item a whole number"),
    ],
)
def test_an_ill_typed_value_is_refused(declared, name, given, allowed):
    with pytest.raises(InputError, match=f"declared.ipynb.*{name}.*{allowed}"):
        resolve_parameters([declared], {name: given})


def test_a_parameter_must_be_known_by_one_notebook_at_least(declared, tmp_path):
    other = write(tmp_path, "other", code("steps = 10  # evaluations", "parameters"))
    resolved = resolve_parameters([declared, other], {"steps": 20}, profile="quick")
    assert resolved[other] == {"steps": 20}
    assert resolved[declared]["profile"] == "quick" and "steps" not in resolved[declared]
    with pytest.raises(InputError, match=r"'sed'.*did you mean 'seed'"):
        resolve_parameters([declared, other], {"sed": 1})


@pytest.mark.parametrize(
    "source",
    [
        "a = 1\nb = a + 1",
        "import os",
        "a: int = 1",
        "a = b = 1",
        "a, b = 1, 2",
        "a = {1: 2}",
        "a = [None]",
        "a = (",
        "a = 1\na = 2",
        "print(1)",
    ],
)
def test_a_parameters_cell_holds_plain_literals_only(tmp_path, source):
    with pytest.raises(InputError, match=r"bad\.ipynb: the parameters cell"):
        read_parameters(write(tmp_path, "bad", code(source, "parameters")))


def test_what_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "text.ipynb").write_text("not json")
    (tmp_path / "list.ipynb").write_text("[]")
    for name in ("text.ipynb", "list.ipynb", "missing.ipynb", ""):
        with pytest.raises(InputError, match=str(tmp_path / name)):
            read_parameters(tmp_path / name)
    two = write(tmp_path, "two", code("a = 1", "parameters"), code("b = 1", "parameters"))
    with pytest.raises(InputError, match="2 cells are tagged"):
        read_parameters(two)


def test_nothing_starts_and_nothing_is_written_after_a_bad_parameter(declared, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    for wrong in ({"sed": 1}, {"seed": "x"}):
        with pytest.raises(InputError):
            run_report([declared], tmp_path / "out", parameters=wrong)
    for wrong in ({"jobs": 0}, {"profile": "slow"}):
        with pytest.raises(InputError):
            run_report([declared], tmp_path / "out", **wrong)
    with pytest.raises(InputError):
        run_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()
