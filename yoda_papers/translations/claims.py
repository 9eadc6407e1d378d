"""What the papers claim of their other translations: tables of evidence and verdicts."""

from yoda_papers.translations.tables import (
    ELSEWHERE,
    HOME,
    N_EX,
    STEPS,
    TABLES,
    images,
    longest,
    of,
    scored,
    scores,
    subjects,
)
from yoda_papers.translations.verdicts import EFFECTS, NOTES

__all__ = [
    "EFFECTS",
    "ELSEWHERE",
    "HOME",
    "NOTES",
    "N_EX",
    "STEPS",
    "TABLES",
    "images",
    "longest",
    "of",
    "scored",
    "scores",
    "subjects",
]
