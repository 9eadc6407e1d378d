"""Puts into a wheel what a checkout has beside the package: see yoda_nb/data/places.py.

An editable install needs none of it, and a copy in site-packages would only grow old.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BESIDE = ("claims.csv", "data_manifest.csv", "notebooks")


class Packed(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            packed = {str(Path(self.root) / name): f"yoda_nb/data/packed/{name}" for name in BESIDE}
            build_data["force_include"] |= packed
