"""Mutations: of bytes, and of the values of a document. Each is a function of the random numbers it is given."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

SIZES = (0, 1, 2, 7, 8, 16, 100, 348, 4096)
NUMBERS = tuple(
    struct.pack(order + kind, value)
    for order in "<>"
    for kind, values in {
        "h": (-1, 0, 32767, -32768),
        "i": (-1, 2**31 - 1, -(2**31)),
        "q": (-1, 2**63 - 1, 2**40),
        "f": (float("nan"), float("inf"), -float("inf"), 3e38, 1e-38, -0.0),
        "d": (float("nan"), float("inf"), 1e308),
    }.items()
    for value in values
)
WORDS = (
    "",
    " ",
    "n/a",
    "None",
    "nan",
    "1e999",
    "-1",
    "9" * 5000,
    "x" * 300,
    "x" * 70_000,
    "../secret/secret.nii.gz",
    "../../etc/passwd",
    "/etc/passwd",
    "~/x.nii.gz",
    "~root/x",
    "file:///etc/passwd",
    "http://localhost/x.nii.gz",
    "https://user@localhost/x.nii.gz",
    "https://[::1/x.nii.gz",
    "C:\\x.nii.gz",
    "a\x00b",
    "a\nb",
    "a\u202eb",
    "e\u0301",
    "\u00e9",
    "\ud800",
    "\U0001f9e0",
    "=1+1",
    "'; DROP TABLE x; --",
    "%s%n{0}{x}",
    "(" * 300,
    "[" * 20_000,
    "-" * 5000 + "1",
    "phantom:" + "9" * 18 + "?sigma=nan",
    "phantom:1?spacing=1e-9",
    "__class__",
    "true",
)
VALUES = (None, True, False, 0, -1, 1, 3.5, 10**9, 2**63, 10**30, -(2**63), 1e308, float("nan"), float("inf"), [], {})


def mutated_bytes(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """One to three changes of bytes; ``other`` is what is spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(BYTES)(rng, data, other or data)
    return data


def _flip(rng: Random, data: bytes, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: Random, data: bytes, other: bytes) -> bytes:
    return _over(data, _place(rng, data), bytes([rng.randrange(256)]))


def _cut(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: _place(rng, data)]


def _hole(rng: Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, data)
    return data[:start] + data[start + _size(rng, data) :]


def _insert(rng: Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, data)
    return data[:start] + rng.randbytes(_size(rng, data)) + data[start:]


def _twice(rng: Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, data)
    end = start + _size(rng, data)
    return data[:end] + data[start:end] + data[end:]


def _whole_twice(rng: Random, data: bytes, other: bytes) -> bytes:
    return data + (data if rng.random() < 0.5 else b"\0" * _size(rng, data))


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    start = _place(rng, other)
    return data[: _place(rng, data)] + other[start : start + _size(rng, data)] + data[_place(rng, data) :]


def _run(rng: Random, data: bytes, other: bytes) -> bytes:
    return _over(data, _place(rng, data), rng.choice((b"\0", b"\xff", b"[")) * _size(rng, data))


def _swap(rng: Random, data: bytes, other: bytes) -> bytes:
    a, b = sorted((_place(rng, data), _place(rng, data)))
    n = min(_size(rng, data), b - a, len(data) - b)
    return data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :]


def _header(rng: Random, data: bytes, other: bytes) -> bytes:
    n = rng.choice(SIZES)
    return other[:n] + data[n:]


def _number(rng: Random, data: bytes, other: bytes) -> bytes:
    at = _place(rng, data)
    return _over(data, at - at % rng.choice((1, 2, 4)), rng.choice(NUMBERS))


BYTES: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    _flip,
    _flip,
    _byte,
    _cut,
    _hole,
    _insert,
    _twice,
    _whole_twice,
    _splice,
    _run,
    _swap,
    _header,
    _number,
    _number,
    _number,
)


def _over(data: bytes, at: int, new: bytes) -> bytes:
    """``new`` written over the bytes from ``at``; the length stays."""
    return (data[:at] + new + data[at + len(new) :])[: len(data)]


def _place(rng: Random, data: bytes) -> int:
    """Anywhere, more often in the first bytes, where headers are."""
    end = min(len(data), rng.choice((16, 352, len(data), len(data))))
    return rng.randrange(end + 1)


def _size(rng: Random, data: bytes) -> int:
    return rng.choice((1, 1, 2, 4, 8, 100, max(1, len(data) // 3)))


def hostile(rng: Random) -> Any:
    """A value that nobody expects."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(WORDS)
    if kind < 0.9:
        return rng.choice(VALUES)
    return nested(rng.choice((3, 60, 200)), rng.random() < 0.5)


def nested(depth: int, lists: bool = True) -> Any:
    """A value inside of so many lists or mappings."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


def mutated_tree(rng: Random, tree: Any) -> Any:
    """A document with one to three of its values changed, lacking, renamed or twice there."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        tree = _changed(rng, tree)
    return tree


def _changed(rng: Random, tree: Any) -> Any:
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.04:
        return _near(rng, tree)
    names = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    name = rng.choice(names)
    if isinstance(tree[name], dict | list) and rng.random() < 0.7:
        return _with(tree, name, _changed(rng, tree[name]))
    how = rng.random()
    if how < 0.2:
        return {k: v for k, v in tree.items() if k != name} if isinstance(tree, dict) else _without(tree, name)
    if how < 0.3 and isinstance(tree, dict):
        return {(str(rng.choice(WORDS)) if k == name else k): v for k, v in tree.items()}
    if how < 0.35 and isinstance(tree, list):
        return tree + [tree[name]] * rng.choice((1, 3, 50))
    return _with(tree, name, _near(rng, tree[name]))


def _near(rng: Random, value: Any) -> Any:
    """Another value: of the same type and odd, or of any type."""
    if rng.random() < 0.4 and type(value) in (int, float):
        return rng.choice((-value, value * 1000, value + 1, value * 0.5, float(value), str(value), 0))
    if rng.random() < 0.4 and isinstance(value, str):
        return rng.choice((value.upper(), value + "\u0301", value * 50, value[1:], f" {value} ", [value]))
    return hostile(rng)


def _with(tree: Any, name: Any, value: Any) -> Any:
    changed = tree.copy()
    changed[name] = value
    return changed


def _without(items: list, place: int) -> list:
    return items[:place] + items[place + 1 :]


def as_json(tree: Any) -> bytes:
    """A document with what JSON allows and what Python writes beyond it (NaN, lone surrogates as escapes)."""
    return json.dumps(tree).encode()


def mutated_json(rng: Random, tree: Any, other: bytes = b"") -> bytes:
    """A document changed in its values, its bytes, or inside of very many brackets."""
    how = rng.random()
    if how < 0.75:
        return as_json(mutated_tree(rng, tree))
    if how < 0.78:
        return rng.choice((b"[", b'{"a":')) * rng.choice((990, 100_000))
    return mutated_bytes(rng, as_json(tree), other)
