"""Puts into a wheel what a checkout has beside the package: see yoda_nb/data/places.py.

An editable install needs none of it, and a copy in site-packages would only grow old.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BESIDE = ("claims.csv", "data_manifest.csv")
PACKED = "yoda_nb/data/packed"


def packed(root: Path) -> dict[str, str]:
    """File of a checkout -> where it lies in a wheel; hidden files and Jupyter's checkpoints are left out."""
    notebooks = [path for path in (root / "notebooks").glob("*.ipynb") if not path.name.startswith(".")]
    glossary = [path for path in (root / "notebooks" / "glossary.md",) if path.is_file()]
    files = [*(root / name for name in BESIDE), *sorted(notebooks), *glossary]
    return {str(path): f"{PACKED}/{path.relative_to(root).as_posix()}" for path in files}


class Packed(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"] |= packed(Path(self.root))
