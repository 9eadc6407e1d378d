"""Imports go down: a room uses only rooms before it in this one list (see docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import yoda_nb

ORDER = (
    "errors",
    "images",
    "nets",
    "data",
    "diffusion",
    "training",
    "papers",
    "metrics",
    "systems",
    "study",
    "figures",
    "bench",
    "report",
    "cli",
    "__main__",
)
PACKAGE = Path(yoda_nb.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MOST_DOORS = 16  # of the package: rooms and files at its top
SLOW = ("monai", "SimpleITK", "nilearn", "papermill", "nbconvert", "jupyterlab")


def room_of(path: Path) -> str:
    """The entry of ORDER that a file belongs to: its folder's, or its own name at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """What a file imports of yoda_nb, anywhere in it and for types too: "yoda_nb.room.module[.name]"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write the import out in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name for name in names if name.startswith("yoda_nb.")}
    return found


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_list_is_the_package():
    listed, present = set(ORDER), {room_of(path) for path in FILES}
    assert len(listed) == len(ORDER)
    assert present <= listed, f"not in ORDER: {present - listed}"
    assert listed <= present, f"in ORDER, but no such room: {listed - present}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_room_imports_only_rooms_below_it(path):
    own = room_of(path)
    below = set(ORDER[: ORDER.index(own)])
    # `from yoda_nb import __version__` names no room
    assert {name.split(".")[1] for name in imports(path)} - {own, "__version__"} <= below


@pytest.mark.parametrize("path", [p for p in FILES if ORDER.index(room_of(p)) < ORDER.index("papers")], ids=named)
def test_nothing_below_the_papers_names_one(path):
    assert not [name for name in imports(path) if name.startswith("yoda_nb.papers")]
    papers = [p.stem for p in (PACKAGE / "papers").iterdir() if p.stem != "__init__" and p.suffix in ("", ".py")]
    strings = [n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)]
    assert not [f"yoda_nb.papers.{name}" for name in papers for text in strings if f"papers.{name}" in str(text)]


def test_the_package_has_few_doors():
    doors = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(doors) <= MOST_DOORS, f"{len(doors)}: {', '.join(sorted(doors))}"


def test_the_systems_are_there_without_what_is_slow_to_import():
    program = f"import sys, yoda_nb.systems; print([n for n in {SLOW} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
