"""A hash of the code behind a function: its own definition and all that it calls, and nothing else.

Definitions are followed by name through the package's imports. Comments, docstrings, annotations and
layout do not count, and neither does what a function never names, so a table of evidence goes stale
when its code changes and not when a paper is added. What is only reached through an object (a
system's process, a method of a study) is for the caller to name as a further root.

The hash is the same on every version of Python, whose ``ast`` differs. This file needs the standard library alone.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
BOUNDARY = ("yoda_nb.papers",)  # the list of papers: which of them count is known from the weights
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IGNORED = ("ctx", "kind", "type_comment", "type_ignores", "type_params")  # fields that say nothing of what runs

Place = tuple[str, str]  # module, name


@dataclass
class _Module:
    """The statements that bind each name of a module, bare of what does not count, and where its imports lead."""

    name: str
    bound: dict[str, list[ast.AST]] = field(default_factory=dict)
    imported: dict[str, Place] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # what ``text`` found
    leads: dict[str, set[Place]] = field(default_factory=dict)  # what ``named`` found

    def text(self, name: str) -> str:
        """The statements that bind a name, as text."""
        if name not in self.texts:
            self.texts[name] = "".join(map(text_of, self.bound[name]))
        return self.texts[name]

    def named(self, name: str) -> set[Place]:
        """What these statements name: definitions of this module, imports, attributes of imported modules."""
        if name not in self.leads:
            nodes = (node for statement in self.bound[name] for node in ast.walk(statement))
            self.leads[name] = {place for node in nodes for place in self._places(node)}
        return self.leads[name]

    def _places(self, node: ast.AST) -> Iterator[Place]:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            target, attribute = self.imported.get(node.value.id, ("", "")), node.attr
            if target[0] and _file(".".join(filter(None, target))):
                yield ".".join(filter(None, target)), attribute
        elif isinstance(node, ast.Name):
            yield self.name, node.id
        elif isinstance(node, ast.ImportFrom) and node.module:  # inside a function
            yield from ((node.module, alias.name) for alias in node.names)


def code_hash(roots: Iterable[Callable[..., Any] | type]) -> str:
    """SHA-256 over the definitions that these functions and classes of the package lead to."""
    return hash_of(map(place_of, roots))


def place_of(root: Callable[..., Any] | type) -> Place:
    """Module and name of a function or class; of a method, those of its class."""
    return root.__module__, root.__qualname__.split(".")[0]


def hash_of(places: Iterable[Place]) -> str:
    """SHA-256 over the definitions that these places lead to."""
    digest = hashlib.sha256()
    for module, name in sorted(_closure(set(places))):
        digest.update(f"{module} {name}".encode())
        digest.update(_module(module).text(name).encode())
    return digest.hexdigest()


def text_of(node: Any) -> str:
    """A node of ``ast`` as text that does not depend on the version of Python.

    Fields that are empty or None are left out, and so are those that only some versions have. Neighbouring pieces of
    text in an f-string are one.
    """
    if isinstance(node, list):
        return f"[{', '.join(map(text_of, node))}]"
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__} {node.value!r}"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = {name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name not in IGNORED}
    if isinstance(node, ast.JoinedStr):
        parts["values"] = _pieces(node)
    return f"{type(node).__name__}({', '.join(f'{name}={text_of(parts[name])}' for name in sorted(parts))})"


def _pieces(string: ast.JoinedStr) -> list[ast.expr]:
    """The values of an f-string, neighbouring texts joined and empty ones left out."""
    found: list[ast.expr] = []
    for value in string.values:
        for piece in _pieces(value) if isinstance(value, ast.JoinedStr) else [value]:
            if isinstance(piece, ast.Constant) and found and isinstance(last := found[-1], ast.Constant):
                found[-1] = ast.Constant(str(last.value) + str(piece.value))
            elif not isinstance(piece, ast.Constant) or piece.value:
                found.append(piece)
    return found


def _closure(roots: set[Place]) -> set[Place]:
    seen: set[Place] = set()
    todo = list(roots)
    while todo:
        place = _definition(*todo.pop())
        if place is None or place in seen:
            continue
        seen.add(place)
        todo += _module(place[0]).named(place[1])
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


@cache
def _module(name: str) -> _Module:
    found = _Module(name)
    path = _file(name)
    assert path is not None
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for alias in statement.names:
                found.imported[alias.asname or alias.name] = (statement.module, alias.name)
        elif isinstance(statement, DEFINITIONS):
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
        if isinstance(node, DEFINITIONS):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.AnnAssign):
            plain = ast.Assign([node.target], node.value) if node.value else ast.Expr(node.target)  # a field
            return ast.copy_location(plain, node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        return node


def _bare(statement: ast.stmt) -> ast.AST:
    """A copy of a statement without its docstrings and annotations."""
    return _Stripped().visit(deepcopy(statement))
