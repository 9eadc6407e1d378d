"""What the papers claim and what is found here: one file a paper, its tables of evidence and its verdicts together.

A file offers TABLES (name -> function of a ``Study``), EFFECTS (claim -> function) and NOTES (claim -> text);
``PAPERS`` in ``evidence`` lists them.
"""

from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.findings import Claim, Finding, check_findings, find, read_claims, show_findings
from yoda_papers.ledger.verdicts import Effect, combined

__all__ = ["Claim", "Effect", "Finding", "Study", "check_findings", "combined", "find", "read_claims", "show_findings"]
