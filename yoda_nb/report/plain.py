"""The verdicts in plain words: each claim as one sentence with its number.

A finding is the document that ``ledger.show_findings`` displays, as in ``report.ledger``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from yoda_nb.report.ledger import KINDS, deciding, distinct, number
from yoda_nb.study.findings import SYMBOLS, trained_words

Finding = Mapping[str, Any]
Effect = Mapping[str, Any]

TITLE = "The verdicts in plain words"
PARTS = {
    "reproduced": (
        "Reproduced",
        "For every effect, the whole interval lies on the side that the rule of the claim names.",
    ),
    "not reproduced": (
        "Not reproduced",
        "For at least one effect, the whole interval lies on the other side, also after the correction for the number "
        "of effects.",
    ),
    "disputed": (
        "Disputed: the feature networks disagree",
        "A Fréchet distance is measured with a feature network, and two networks give opposite answers with "
        "certainty. More data would not change this.",
    ),
    "inconclusive": (
        "Inconclusive: not decided here yet",
        "The interval includes both answers, the feature networks disagree, or the models have not been trained long "
        "enough. Each entry says what would decide it.",
    ),
    "arithmetic": (
        "Arithmetic: cannot be tested here",
        "These numbers follow from counting steps or cannot vary, so they are not evidence for or against a claim.",
    ),
}
THOUSANDTHS = "x 0.001"  # a unit in which tables tell small numbers
WORDS = {"> ": "more than ", "< ": "less than ", "within ": "within "}


def by_answer(found: Sequence[Finding]) -> list[dict[str, Any]]:
    """The parts of the page: title, what it means, class, symbol, and of each claim its sentences."""
    claims = distinct(found)
    return [
        {
            "title": title,
            "means": means,
            "kind": KINDS.get(verdict, "open"),
            "symbol": SYMBOLS[verdict],
            "claims": [sentences(f) for f in claims if f["verdict"] == verdict],
        }
        for verdict, (title, means) in PARTS.items()
        if any(f["verdict"] == verdict for f in claims)
    ]


def sentences(finding: Finding) -> dict[str, str]:
    """Of one claim: ``id``, ``page``, the ``claim``, what was ``found``, ``since`` when, what would ``decide`` it."""
    effect = deciding(finding)
    return {
        "id": finding["id"],
        "page": finding.get("page", ""),
        "claim": finding["claim"],
        "found": "" if effect is None else found_words(finding, effect),
        "since": since_words(finding),
        "decide": finding.get("open", ""),
    }


def found_words(finding: Finding, effect: Effect) -> str:
    """One sentence: the effect, its number and interval, over whom, by which extractor, beside what was expected."""
    others = [e for e in finding["effects"] if e["name"] == effect["name"] and e is not effect and e.get("extractor")]
    eye = f" by the extractor {effect['extractor']}" if effect.get("extractor") else ""
    beside = "".join(f", {_value(e, '')} by {e['extractor']}" for e in others)
    rest = len(finding["effects"]) - 1 - len(others)
    more = f" {rest} more effect{'s are' if rest > 1 else ' is'} behind the link." if rest else ""
    name = effect["name"][:1].upper() + effect["name"][1:]
    return (
        f"{name}: {_value(effect)}{eye}{beside}, over {over_words(finding, effect)}; "
        f"{expected_words(effect)} was expected.{more}"
    )


def over_words(finding: Finding, effect: Effect) -> str:
    """Subjects and trainings behind an effect."""
    n, seeds = effect.get("n"), effect.get("seeds") or 0
    subjects = "an unknown number" if n is None else f"{n}"
    if seeds > 1:
        return f"{subjects} subjects and {seeds} trainings of each model"
    return f"{subjects} subject{'' if n == 1 else 's'} and {trained_words(finding.get('trainings', {}))}"


def expected_words(effect: Effect) -> str:
    """A rule as it is read aloud: "more than 0 dB", and from where a difference counts."""
    rule, _, counts = str(effect.get("rule") or "").removesuffix(f" {THOUSANDTHS}").partition(", ")
    if effect.get("unit") == THOUSANDTHS and effect.get("margin"):
        rule = f"{rule} thousandths"
    for sign, words in WORDS.items():
        if rule.startswith(sign):
            return f"{words}{rule.removeprefix(sign)}{f' ({counts})' if counts else ''}"
    return rule or "no rule"


def since_words(finding: Finding) -> str:
    """When the rule was stated and when its tables were made."""
    ruled = (finding.get("ruled") or {}).get("date", "")
    dates = sorted({about["date"] for about in finding.get("made", {}).values() if about.get("date")})
    rule = f"Rule of {day(ruled)}" if ruled else "Rule not on record yet"
    if not dates:
        return f"{rule}; computed in this run."
    span = " to ".join(day(d) for d in {dates[0]: 0, dates[-1]: 0})
    return f"{rule}; table{'s' if len(finding['made']) > 1 else ''} of {span}."


def day(iso: str) -> str:
    """ "2026-11-24" -> "24 November 2026"."""
    found = date.fromisoformat(iso)
    return f"{found.day} {found:%B %Y}"


def _value(effect: Effect, interval: str = "95 % interval ") -> str:
    if effect.get("value") is None:
        return "not measured"
    scale, unit = (1e-3, "") if effect.get("unit") == THOUSANDTHS else (1.0, f" {effect.get('unit') or ''}".rstrip())
    numbers = (effect.get(name) for name in ("value", "low", "high"))
    value, low, high = (number(None if x is None else scale * x) for x in numbers)
    return f"{value}{unit} ({interval}{low} to {high})"
