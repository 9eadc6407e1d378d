"""What SynDiff claims: its tables of evidence and its verdicts."""

from yoda_papers.syndiff.tables import TABLES
from yoda_papers.syndiff.verdicts import EFFECTS, NOTES

__all__ = ["EFFECTS", "NOTES", "TABLES"]
