"""Where the manifest, the claims and the notebooks are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CHECKOUT = PACKAGE.parent
PACKED = PACKAGE / "data" / "packed"  # where a wheel carries them


def _place(name: str) -> Path:
    beside = CHECKOUT / name
    return beside if (CHECKOUT / "pyproject.toml").is_file() and beside.exists() else PACKED / name


MANIFEST, CLAIMS, NOTEBOOKS = (_place(name) for name in ("data_manifest.csv", "claims.csv", "notebooks"))
GLOSSARY = NOTEBOOKS / "glossary.md"  # beside the lessons, which link to it


def commit(apart_from: Sequence[str] = ()) -> str | None:
    """The checkout's git commit, marked "-dirty" if files differ from it; None outside a checkout.

    ``apart_from`` are paths below the checkout whose changes do not count.
    """
    git = ["git", "-C", str(CHECKOUT)]
    if not (CHECKOUT / ".git").exists():
        return None
    try:
        shown = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        paths = (".", *(f":(exclude){path}" for path in apart_from))
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *paths], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):  # no git, or no commit yet
        return None
    return shown.stdout.strip() + ("-dirty" if changed else "")
