"""What YODA claims: its tables of evidence and its verdicts, by topic."""

from yoda_papers.yoda import (
    ablations,
    ambiguity,
    averages,
    benchmark,
    budgets,
    cost,
    divergence,
    floors,
    lesions,
    perception,
    samplers,
    slices,
    systematic,
)

_TOPICS = (samplers, perception, averages, ambiguity, slices, ablations, lesions, benchmark)
_UNJUDGED = (cost, floors, budgets, divergence, systematic)  # no claim rests on them
PLANNED = tuple(ambiguity.TABLES)  # their models have not been trained yet
TABLES = {name: make for topic in (*_TOPICS, *_UNJUDGED) for name, make in topic.TABLES.items()}
EFFECTS = {claim: effects for topic in _TOPICS for claim, effects in topic.EFFECTS.items()}
NOTES = {claim: note for topic in _TOPICS for claim, note in topic.NOTES.items()}
