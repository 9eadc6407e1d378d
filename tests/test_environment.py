"""One environment, told four times: pyproject, constraints, environment.yml and the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UNIMPORTED = {  # declared, though nothing here imports them
    "einops": "MONAI's attention layers import it and do not declare it",
    "ipykernel": "the kernel that runs the notebooks",
    "jupyterlab": "make lab",
    "pytest-timeout": "pytest's option timeout",
    "pytest-xdist": "pytest's option -n",
    "voila": "make class",
}


def named(requirements) -> dict[str, Requirement]:
    parsed = map(Requirement, requirements)
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


RUNTIME = named(PROJECT["dependencies"])
TEST = named(PROJECT["optional-dependencies"]["test"])


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
    known = packages_distributions()
    ours = {"yoda_nb", *(path.stem for path in (ROOT / "tests").rglob("*.py"))}
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
    product = imported(python_in("yoda_nb") + code_of_notebooks())
    tests = imported(python_in("tests"))
    assert product <= RUNTIME.keys()
    assert tests <= RUNTIME.keys() | TEST.keys()
    assert RUNTIME.keys() | TEST.keys() <= product | tests | UNIMPORTED.keys()
    assert not UNIMPORTED.keys() & (product | tests), "imported after all: take it off the list"
    assert not RUNTIME.keys() & TEST.keys()


@pytest.mark.parametrize("requirement", [*RUNTIME.values(), *TEST.values()], ids=str)
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
    assert pip["pip"] == ["-c constraints.txt", "-e .[test]"]


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_help_tells_of_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert makefile_targets() == {"help", "report", "test", "lab", "class", "figure", "measure", "clean"}
    for target in makefile_targets():
        assert re.search(rf"make {target}\s", shown.stdout)


def test_commands_in_the_readme_exist():
    import typer

    from yoda_nb.cli import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    in_code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", readme, re.DOTALL))
    targets = set(re.findall(r"\bmake ([a-z]+)", in_code))
    commands = set(re.findall(r"\byoda-nb ([a-z]+)", in_code))
    assert {"report", "test"} <= targets <= makefile_targets()
    assert commands and commands <= set(typer.main.get_command(app).commands)
    for script in re.findall(r"\b((?:notebooks|tests|yoda_nb)/[\w./-]+\w)", in_code):
        assert (ROOT / script).exists(), script


def test_importing_the_package_is_light():
    program = "import sys, yoda_nb; print([m for m in ('torch', 'monai') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.stdout == "[]\n", shown.stderr


def test_ci_runs_the_suite():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    authors = [author["family-names"] for author in citation["preferred-citation"]["authors"]]
    assert authors == ["Rassmann", "Kügler", "Ewert", "Reuter"]


def test_the_wheel_carries_weights_and_templates():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = pyproject["tool"]["setuptools"]["package-data"]["yoda_nb"]
    package = ROOT / "yoda_nb"
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    loose = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert loose <= packed
