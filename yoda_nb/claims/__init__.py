"""The claims ledger: effects with intervals, rules stated beforehand, verdicts computed."""

from yoda_nb.claims.ledger import Claim, Finding, find, read_claims, show_findings
from yoda_nb.claims.verdicts import Effect, combined

__all__ = ["Claim", "Effect", "Finding", "combined", "find", "read_claims", "show_findings"]
