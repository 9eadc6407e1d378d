"""Imports go down: a module uses only modules above it in this one list (see DESIGN)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import yoda_nb

ORDER = (
    "nifti",
    "brain",
    "space",
    "volumes",
    "anatomy",
    "phantom",
    "rows",
    "manifest",
    "slabs",
    "schedules",
    "diffusion",
    "bridges",
    "styles",
    "noise",
    "coherence",
    "downstream",
    "metrics",
    "feature_nets",
    "features",
    "feature_training",
    "nets",
    "models",
    "denoise",
    "batches",
    "methods",
    "train",
    "recipes",
    "ablations",
    "trainings",
    "segmentation",
    "systems",
    "tables",
    "bank",
    "shipped",
    "study",
    "evidence",
    "claims",
    "plots",
    "explorers",
    "report",
    "bench",
    "cli",
    "__main__",
)
PACKAGE = Path(yoda_nb.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def module_of(path: Path) -> str:
    """The entry of ORDER that a file belongs to: its own name, or its package's."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def uses(path: Path) -> set[str]:
    """The modules of yoda_nb that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write the import out in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("yoda_nb.")}
    return found


def test_the_list_is_the_package():
    listed, present = set(ORDER), {module_of(path) for path in FILES}
    assert len(listed) == len(ORDER)
    assert present <= listed, f"not in ORDER: {present - listed}"
    assert listed <= present, f"in ORDER, but no such module: {listed - present}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_stands_above_it(path):
    own = module_of(path)
    above = set(ORDER[: ORDER.index(own)])
    # What a package holds may use its siblings; `from yoda_nb import x` may name x itself.
    assert uses(path) - {own, "__version__"} <= above
