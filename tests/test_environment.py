"""One environment, told four times: pyproject, constraints, environment.yml and the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import yoda_nb

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNIMPORTED = {  # declared, though nothing here imports them
    "einops": "MONAI's attention layers import it and do not declare it",
    "hatchling": "builds the wheel that test_wheel.py installs",
    "jupyterlab": "make lab",
    "pyarrow": "pandas writes and reads Parquet with it",
    "pytest-timeout": "pytest's option timeout",
    "pytest-xdist": "pytest's option -n",
}


def named(requirements) -> dict[str, Requirement]:
    parsed = map(Requirement, requirements)
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


RUNTIME = named(PROJECT["dependencies"])
TEST = named(PROJECT["optional-dependencies"]["test"])
SCANS = named(PROJECT["optional-dependencies"]["scans"])  # programs: nothing imports them
LINT = named(PROJECT["optional-dependencies"]["lint"])  # programs: nothing imports them


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def imported(sources) -> set[str]:
    """The distributions behind the third-party imports of some Python sources."""
    tops = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                tops |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops.add(node.module.split(".")[0])
    known = metadata.packages_distributions()
    ours = {"yoda_nb", "yoda_papers", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
    found = set()
    for top in tops - ours - sys.stdlib_module_names:
        assert top in known, f"{top} is imported, but nothing installed provides it"
        found.add(canonicalize_name(min(known[top], key=len)))
    return found


def python_in(folder: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in (ROOT / folder).rglob("*.py")]


def code_of_notebooks() -> list[str]:
    cells = [
        cell.source
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code"
    ]
    return [re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE) for source in cells]


def test_every_import_is_declared_and_every_dependency_used():
    product = imported(python_in("yoda_nb") + python_in("yoda_papers") + code_of_notebooks())
    tests = imported(python_in("tests"))
    assert product <= RUNTIME.keys() | SCANS.keys()
    assert tests <= RUNTIME.keys() | TEST.keys()
    assert RUNTIME.keys() | SCANS.keys() | TEST.keys() <= product | tests | UNIMPORTED.keys()
    assert not UNIMPORTED.keys() & (product | tests), "imported after all: take it off the list"
    assert not RUNTIME.keys() & TEST.keys()
    assert LINT.keys() == {"mypy", "ruff"} and not LINT.keys() & (RUNTIME.keys() | TEST.keys())


@pytest.mark.parametrize("requirement", [*RUNTIME.values(), *SCANS.values(), *TEST.values(), *LINT.values()], ids=str)
def test_every_dependency_has_a_lower_bound_and_a_tested_version(requirement):
    assert [part.operator for part in requirement.specifier] == [">="]
    assert constraints()[canonicalize_name(requirement.name)] in requirement.specifier


def test_constraints_suit_any_machine():
    pins = constraints()
    assert pins["torch"] and "+" not in pins["torch"]  # no build of one platform
    assert not any(mark in line for line in pins.values() for mark in ("@", "/", "file:"))
    assert not {name for name in pins if name.startswith(("nvidia", "triton", "yoda"))}


def test_conda_gets_the_same_environment():
    file = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = file["dependencies"]
    assert file["name"] == PROJECT["name"]
    assert "pip" in conda and "make" in conda
    (python,) = [item for item in conda if item.startswith("python=")]
    assert f"{python.removeprefix('python=')}.99" in SpecifierSet(PROJECT["requires-python"])
    assert pip["pip"] == ["-c constraints.txt", "-e .[scans,test,lint]"]


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_help_tells_of_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    own = ("help", "report", "test", "fuzz", "killtest", "lint", "lab", "class", "figure", "measure", "clean")
    assert makefile_targets() == set(own)
    for target in makefile_targets():
        assert re.search(rf"make {target}\s", shown.stdout)


BEFORE = "\n## Measured at commit "  # from here on docs/measured.md quotes an earlier README
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]


@cache
def commands() -> dict[str, set[str]]:
    """The commands of the shell, each with those below it."""
    import typer

    from yoda_nb.cli import app

    found = typer.main.get_command(app).commands
    return {name: set(getattr(command, "commands", ())) for name, command in found.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_tells_to_type_exists(page):
    text = page.read_text(encoding="utf-8").partition(BEFORE)[0]
    in_code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    assert set(re.findall(r"\bmake ([a-z]+)", in_code)) <= makefile_targets()
    for name, below in re.findall(r"\byoda-nb ([a-z]+)(?: +([a-z]+)\b)?", in_code):
        assert name in commands(), name
        if below and commands()[name]:
            assert below in commands()[name], f"{name} {below}"
    for path in re.findall(r"(?<![\w/.-])((?:docs|notebooks|tests|yoda_nb|yoda_papers)/[\w./-]+\w)", in_code):
        assert (ROOT / path).exists(), path


def test_ci_runs_the_checks_of_style_and_the_suite():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 0 < script.index("make lint") < script.index("make test")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert PROJECT["dynamic"] == ["version"], "it is read from the package"
    assert citation["version"] == yoda_nb.__version__ == metadata.version("yoda-nb")
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    authors = [author["family-names"] for author in citation["preferred-citation"]["authors"]]
    assert authors == ["Rassmann", "Kügler", "Ewert", "Reuter"]
