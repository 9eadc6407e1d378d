"""What SynDiff claims: its tables of evidence and its verdicts."""

from yoda_nb.study.claims.syndiff.tables import TABLES
from yoda_nb.study.claims.syndiff.verdicts import EFFECTS, NOTES

__all__ = ["EFFECTS", "NOTES", "TABLES"]
