"""The version of each table of evidence, and the libraries that it was made with.

A table has version 1 until ``yoda-nb rebuild evidence --bump`` raises it. ``shipped/versions.json`` keeps each raise
with its reason, date and commit. Raise a version when a change of the code changes numbers; other changes need nothing.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

VERSIONS = Path(__file__).parents[1] / "evidence" / "versions.json"
LIBRARIES = ("torch", "numpy", "scipy", "monai")  # those that shape numbers


@cache
def raises() -> dict[str, list[dict[str, Any]]]:
    """Table -> its raises from the first to the last: version, reason, date and commit. Others have version 1."""
    return json.loads(VERSIONS.read_text()) if VERSIONS.exists() else {}


def version_of(name: str) -> int:
    """The version that a table should have now: 1 or more."""
    return raises()[name][-1]["version"] if name in raises() else 1


def libraries() -> dict[str, str]:
    """Python and the libraries that shape numbers, with their versions."""
    return {"python": ".".join(platform.python_version_tuple()[:2]), **{name: version(name) for name in LIBRARIES}}


def in_words(versions: Mapping[str, str]) -> str:
    """Libraries and their versions in words."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def other_libraries(then: Mapping[str, str]) -> str:
    """In words, which recorded versions are not those of this machine; "" where all agree.

    The part after "+" names a build for a device and does not count.
    """
    here = libraries()
    changed = [n for n, v in then.items() if v.partition("+")[0] != here.get(n, v).partition("+")[0]]
    return ", ".join(f"{name} {then[name]} (here {here[name]})" for name in changed)
