"""A notebook's parameters: read from its source, checked before a kernel starts.

papermill only warns about a misspelt parameter and runs on with the default. Here the one cell
tagged ``parameters`` is the declaration: each line ``name = literal  # help`` names a parameter,
and the literal's type is the parameter's type.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal

import nbformat
from pydantic import ConfigDict, TypeAdapter

from yoda_nb.errors import InputError
from yoda_nb.sweep.plan import check_place

PROFILES = ("tiny", "quick", "full")  # seconds for tests, minutes on two cores, the paper's setting

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    str | None: "text or None",
    Literal[PROFILES]: f"one of {', '.join(PROFILES)}",
}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell."""

    name: str
    default: Any  # str, bool, int, float, None or a list of these
    help: str  # the line's comment, "" without one

    @property
    def kind(self) -> Any:
        """The type a value must have; a default of None stands for optional text."""
        if self.name == "profile":
            return Literal[PROFILES]
        if isinstance(self.default, list):
            return GenericAlias(list, (_common({type(item) for item in self.default}),))
        return str | None if self.default is None else type(self.default)

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if isinstance(self.default, list):
            return f"a list, each item {_WORDS.get(self.kind.__args__[0], 'text or a number')}"
        return _WORDS[self.kind]


def read_notebook(path: Path, *, strict: bool = True) -> nbformat.NotebookNode:
    """The notebook in nbformat 4; InputError if the file is missing or is not a notebook.

    ``strict`` asks that every cell is as the format has it, which what kernels put out need not be.
    """
    try:
        return parse_notebook(path.read_bytes(), path, strict=strict)
    except OSError as error:
        raise InputError(f"{path}: the notebook cannot be read ({error.strerror or error}); check its path.") from error


def parse_notebook(data: bytes, path: Path, *, strict: bool = True) -> nbformat.NotebookNode:
    """What a file holds as a notebook in nbformat 4; InputError, naming ``path``, if it is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without a name, which older notebooks lack
            notebook = nbformat.reads(data.decode(), as_version=4)
            if strict:  # reading alone only logs what is wrong with cells
                nbformat.validate({**notebook, "metadata": {}})
                notebook.metadata.get("kernelspec")
    except Exception as error:  # nbformat raises many kinds for what is not a notebook
        raise InputError(f"{path}: this is not a Jupyter notebook ({_said(error)}); give an .ipynb file.") from error
    return notebook


def _said(error: Exception) -> str:
    """The first line of an error, or its kind."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:120] if lines else type(error).__name__


def read_parameters(notebook: Path) -> tuple[Parameter, ...]:
    """The parameters a notebook declares, in order; () if no cell carries the tag."""
    cells = [
        cell
        for cell in read_notebook(notebook).cells
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", ())
    ]
    if len(cells) > 1:
        raise InputError(f"{notebook.name}: {len(cells)} cells are tagged 'parameters'; keep exactly one.")
    return tuple(_read_cell(cells[0].source, notebook.name)) if cells else ()


def resolve_parameters(
    notebooks: Sequence[Path], given: Mapping[str, Any], *, profile: str = "quick", elsewhere: bool = False
) -> dict[Path, dict[str, Any]]:
    """The value of every parameter of every notebook: its default, or what was given.

    Text is read as a literal where the parameter is not text, so values may come from a shell.
    Raises InputError for a name that no notebook knows, for a value of the wrong type, and for a device that is not
    here; those of workers ``elsewhere`` are not known.
    """
    declared = {notebook: read_parameters(notebook) for notebook in notebooks}
    known = {parameter.name for parameters in declared.values() for parameter in parameters}
    if profile not in PROFILES:
        raise InputError(f"profile is {profile!r}; it must be one of {', '.join(PROFILES)}.")
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise InputError(
                f"no chosen notebook ({', '.join(path.name for path in notebooks)}) has a "
                f"parameter {name!r}; "
                + (f"did you mean {near[0]!r}? " if near else "")
                + f"Known are: {', '.join(sorted(known)) or 'none'}."
            )
    given = {"profile": profile, **given}
    values = {
        notebook: {
            parameter.name: _checked(parameter, given[parameter.name], notebook.name)
            if parameter.name in given
            else parameter.default
            for parameter in parameters
        }
        for notebook, parameters in declared.items()
    }
    for name in {value["device"] for value in values.values() if value.get("device")}:
        check_place(str(name), elsewhere=elsewhere)
    return values


def _read_cell(source: str, notebook: str) -> Iterable[Parameter]:
    where = f"{notebook}: the parameters cell"
    try:
        body = ast.parse(source).body
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise InputError(f"{where} is not valid Python ({_said(error)}); correct it.") from error
    comments: dict[int | None, str] = {
        token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT
    }
    seen: set[str] = set()
    for node in body:
        line = ast.get_source_segment(source, node)
        try:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    default = ast.literal_eval(value)
                case _:
                    raise ValueError("not an assignment to a name")
            items = default if isinstance(default, list) else [default]
            if not all(item is None or type(item) in (str, bool, int, float) for item in items):
                raise ValueError("not a plain value")
            if any(isinstance(item, float) and not isfinite(item) for item in items):
                raise ValueError("no finite number")
            if isinstance(default, list) and None in default:
                raise ValueError("None in a list")
            _check_text(default)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise InputError(
                f"{where} holds `{(line or '')[:200]}`; every line must be `name = literal  # help`, the "
                "literal being text, a number, True, False, None or a list of these."
            ) from error
        if name in seen:
            raise InputError(f"{where} sets {name!r} twice; keep one line.")
        seen.add(name)
        yield Parameter(name, default, comments.get(node.end_lineno, ""))


def _checked(parameter: Parameter, value: Any, notebook: str) -> Any:
    """The value in the parameter's type, strictly: 3 may stand for 3.0, but "x" not for 3."""
    try:
        found = TypeAdapter(parameter.kind, config=ConfigDict(allow_inf_nan=False)).validate_python(
            _from_text(parameter, value), strict=True
        )
        _check_text(found)
    except ValueError as error:  # pydantic's are too
        raise InputError(
            f"{notebook}: parameter {parameter.name!r} is {value!r}, but must be "
            f"{parameter.allowed} (default: {parameter.default!r})."
        ) from error
    return found


def _check_text(value: Any) -> None:
    """ValueError for text that no file can hold: half a letter of UTF-16, or a byte of another code."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str):
            item.encode()


def _from_text(parameter: Parameter, value: Any) -> Any:
    """What a shell's text stands for; other values and text parameters as they are."""
    if isinstance(value, tuple):
        return list(value)
    if parameter.kind is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if parameter.default is None:
        return None if value in ("", "None", "none") else value
    if not isinstance(value, str) or isinstance(parameter.default, str):
        return value
    try:
        literal = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        literal = [item.strip() for item in value.split(",")]
    if not isinstance(parameter.default, list):
        return literal
    return list(literal) if isinstance(literal, list | tuple) else [literal]


def _common(types: set[type]) -> Any:
    """The one type of a list's items; whole and broken numbers together are numbers."""
    if types == {int, float}:
        return float
    return types.pop() if len(types) == 1 else str | int | float
