"""What SKC-ISTA claims: its tables of evidence and its verdicts."""

from yoda_papers.bridge.measures import both_looks, residual, scanner_of, slice_looks, slice_means, unevenness
from yoda_papers.bridge.tables import DESIGNS, KEYED, PALETTE, PURE, RIVALS, TABLES, draw, subjects
from yoda_papers.bridge.verdicts import EFFECTS, NOTES

__all__ = [
    "DESIGNS",
    "EFFECTS",
    "KEYED",
    "NOTES",
    "PALETTE",
    "PURE",
    "RIVALS",
    "TABLES",
    "both_looks",
    "draw",
    "residual",
    "scanner_of",
    "slice_looks",
    "slice_means",
    "subjects",
    "unevenness",
]
