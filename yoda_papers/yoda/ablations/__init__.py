"""The ablation models: one change each, trained at one budget [YODA IV-C]."""

from yoda_papers.yoda.ablations.tables import TABLES
from yoda_papers.yoda.ablations.verdicts import EFFECTS, NOTES

__all__ = ["EFFECTS", "NOTES", "TABLES"]
