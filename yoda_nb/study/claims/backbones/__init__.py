"""What Koch claims: its tables of evidence and its verdicts."""

from yoda_nb.study.claims.backbones.tables import TABLES
from yoda_nb.study.claims.backbones.verdicts import EFFECTS, NOTES

__all__ = ["EFFECTS", "NOTES", "TABLES"]
