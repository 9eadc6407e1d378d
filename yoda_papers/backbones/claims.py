"""What Koch claims: its tables of evidence and its verdicts."""

from yoda_papers.backbones.tables import TABLES
from yoda_papers.backbones.verdicts import EFFECTS, NOTES

__all__ = ["EFFECTS", "NOTES", "TABLES"]
