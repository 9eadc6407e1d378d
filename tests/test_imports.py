"""The house: contracts of import-linter (pyproject.toml), few doors, and a front door that opens quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import yoda_nb
import yoda_papers

ROOT = Path(__file__).parents[1]
MOST_DOORS = 22  # of each package: rooms and files at its top
SLOW = ("monai", "SimpleITK", "nilearn", "papermill", "nbconvert", "jupyterlab")


def test_imports_keep_the_contracts():
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, "see 'make lint'"


@pytest.mark.parametrize("package", [yoda_nb, yoda_papers], ids=lambda package: package.__name__)
def test_a_package_has_few_doors(package):
    doors = [path.name for path in Path(package.__file__).parent.iterdir() if path.name != "__pycache__"]
    assert len(doors) <= MOST_DOORS, f"{len(doors)}: {', '.join(sorted(doors))}"


def test_no_string_of_the_helper_names_a_paper_either():
    texts = {path: path.read_text(encoding="utf-8") for path in Path(yoda_nb.__file__).parent.rglob("*.py")}
    assert not [str(path) for path, text in texts.items() if "yoda_papers" in text]


def test_the_systems_are_there_without_what_is_slow_to_import():
    program = f"import sys, yoda_nb.systems; print([n for n in {SLOW} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
