"""A hash of the code behind a function: its own definition and all that it calls, and nothing else.

Definitions are followed by name through the package's imports. Comments, docstrings, annotations and
layout do not count, and neither does what a function never names, so a table of evidence goes stale
when its code changes and not when a paper is added. What is only reached through an object (a
system's process, a method of a study) is for the caller to name as a further root.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
BOUNDARY = ("yoda_nb.papers",)  # the list of papers: which of them count is known from the weights

Place = tuple[str, str]  # module, name


@dataclass
class _Module:
    """The statements that bind each name of a module, bare of what does not count, and where its imports lead."""

    bound: dict[str, list[ast.AST]] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)


def code_hash(roots: Iterable[Callable[..., Any] | type]) -> str:
    """SHA-256 over the definitions that these functions and classes of the package lead to."""
    digest = hashlib.sha256()
    for module, name in sorted(_closure({(root.__module__, root.__qualname__.split(".")[0]) for root in roots})):
        digest.update(f"{module} {name}".encode())
        for statement in _module(module).bound[name]:
            digest.update(ast.dump(statement).encode())
    return digest.hexdigest()


def _closure(roots: set[Place]) -> set[Place]:
    seen: set[Place] = set()
    todo = list(roots)
    while todo:
        place = _definition(*todo.pop())
        if place is None or place in seen:
            continue
        seen.add(place)
        module, name = place
        for statement in _module(module).bound[name]:
            todo += _named(_module(module), module, statement)
    return seen


def _definition(module: str, name: str) -> Place | None:
    """Where a name is defined, through re-exports; None outside the package and at its boundary."""
    while _file(module) and module not in BOUNDARY:
        here = _module(module)
        if name in here.bound:
            return module, name
        if here.imported.get(name, (module, name)) == (module, name):  # nowhere, or a package's own submodule
            return None
        module, name = here.imported[name]
    return None


def _named(here: _Module, module: str, statement: ast.AST) -> Iterator[Place]:
    """What a statement names: definitions of its module, imports, and attributes of imported modules."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target, attribute = here.imported.get(node.value.id, ("", "")), node.attr
            if target[0] and _file(".".join(filter(None, target))):
                yield ".".join(filter(None, target)), attribute
        elif isinstance(node, ast.Name):
            yield module, node.id
        elif isinstance(node, ast.ImportFrom) and node.module:  # inside a function
            yield from ((node.module, alias.name) for alias in node.names)


@cache
def _module(name: str) -> _Module:
    found = _Module()
    path = _file(name)
    assert path is not None
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                found.imported[alias.asname or alias.name] = (statement.module, alias.name)
        elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.bound.setdefault(statement.name, []).append(_bare(statement))
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for node in (node for target in targets for node in ast.walk(target)):
                if isinstance(node, ast.Name):
                    found.bound.setdefault(node.id, []).append(_bare(statement))
    return found


@cache
def _file(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


class _Stripped(ast.NodeTransformer):
    """Without docstrings and annotations."""

    def visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.AnnAssign):
            plain = ast.Assign([node.target], node.value) if node.value else ast.Expr(node.target)  # a field
            return ast.copy_location(plain, node)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node


def _bare(statement: ast.stmt) -> ast.AST:
    """A copy of a statement without its docstrings and annotations."""
    return _Stripped().visit(ast.parse(ast.unparse(statement)).body[0])
