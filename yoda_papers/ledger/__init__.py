"""What the papers claim and what is found here: tables of evidence, effects, and verdicts by rules stated before.

A paper offers TABLES (name -> function of a ``Study``), EFFECTS (claim -> function) and NOTES (claim -> text). They
use parts of this room, and the room gathers them, so its own names are imported at their first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study
    from yoda_papers.ledger.findings import Claim, Finding, check_findings, find, read_claims, show_findings
    from yoda_papers.ledger.verdicts import Effect, combined

__all__ = ["Claim", "Effect", "Finding", "Study", "check_findings", "combined", "find", "read_claims", "show_findings"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = {"Study": "evidence", "Effect": "verdicts", "combined": "verdicts"}.get(name, "findings")
    return getattr(import_module(f"{__name__}.{place}"), name)
