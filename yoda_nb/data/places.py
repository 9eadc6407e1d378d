"""Where the manifest, the claims and the notebooks are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CHECKOUT = PACKAGE.parent
PACKED = PACKAGE / "data" / "packed"  # where a wheel carries them


def _place(name: str) -> Path:
    beside = CHECKOUT / name
    return beside if (CHECKOUT / "pyproject.toml").is_file() and beside.exists() else PACKED / name


MANIFEST, CLAIMS, NOTEBOOKS = (_place(name) for name in ("data_manifest.csv", "claims.csv", "notebooks"))
