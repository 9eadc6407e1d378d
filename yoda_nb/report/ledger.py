"""The verdicts of all notebooks, gathered for the report's own pages and for ``claims.json``.

A finding here is the document that ``ledger.show_findings`` displays, with ``page``, the run that showed it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from yoda_nb.figures.plots.base import FIGURE_MIME
from yoda_nb.report.execution import Run
from yoda_nb.study.findings import MIME, SYMBOLS, counted

Found = Sequence[Mapping[str, Any]]
KINDS = {"reproduced": "yes", "not reproduced": "no"}  # classes of style.css; else "open"
SHIPPED = "Shipped evidence ("  # how ``evidence.basis`` begins what it says of shipped tables
MOST_NAMED = 5  # claims or commits in a sentence; more are counted


def gather_claims(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What the Check cells found, as JSON's types, sorted by id; ``page`` names the run."""
    found = [
        {"page": run.name, **finding}
        for run in runs
        for cell in run.notebook.cells
        for output in cell.get("outputs", ())
        for finding in output.get("data", {}).get(MIME, ())
    ]
    return sorted(found, key=lambda finding: (finding["id"], finding["page"]))


def claims_json(found: Found) -> bytes:
    return json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False).encode()


def distinct(found: Found) -> list[Mapping[str, Any]]:
    """Each claim once, by its first page; twice only where its pages came to different verdicts."""
    return list({(finding["id"], finding["verdict"]): finding for finding in reversed(found)}.values())[::-1]


def by_paper(found: Found) -> list[dict[str, Any]]:
    """The claims in groups of one paper, YODA first: title, and findings with what is shown."""

    def place(finding: Mapping[str, Any]) -> tuple[bool, str]:
        paper = finding.get("paper", "")
        return (paper != "yoda", finding.get("title") or paper or "Claims")

    return [
        {"title": title, "claims": [_shown(finding) for finding in group]}
        for (_, title), group in groupby(sorted(distinct(found), key=place), place)
    ]


def deciding(finding: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first effect of the claim's own verdict, else the first of all; None without effects."""
    effects = finding["effects"]
    return next((e for e in effects if e.get("verdict") == finding["verdict"]), effects[0] if effects else None)


def tally(found: Found) -> str:
    """How many claims were tested, and how often each verdict was reached."""
    claims = distinct(found)
    tested = "1 claim was" if len(claims) == 1 else f"{len(claims)} claims were"
    return f"{tested} put to the test: {counted(finding['verdict'] for finding in claims)}."


def legend(found: Found) -> list[dict[str, str]]:
    """The verdicts with their symbols and classes, and how often each was reached."""
    counts = Counter(finding["verdict"] for finding in distinct(found))
    return [
        {"symbol": symbol, "kind": KINDS.get(verdict, "open"), "text": f"{counts[verdict]} {verdict}"}
        for verdict, symbol in SYMBOLS.items()
    ]


def share(found: Found, runs: Sequence[Run]) -> str:
    """How many verdicts and figures rest on shipped evidence, and where that is from; "" without either."""
    claims = distinct(found)
    shipped = [finding for finding in claims if finding.get("shipped")]
    captions = [
        output.data["text/html"]
        for run in runs
        for cell in run.notebook.cells
        for output in cell.get("outputs", ())
        if FIGURE_MIME in output.get("data", {})
    ]
    resting = sum(SHIPPED in caption for caption in captions)
    counts = [
        f"{n} of {of} {what}{'' if of == 1 else 's'}"
        for n, of, what in ((len(shipped), len(claims), "verdict"), (resting, len(captions), "figure"))
        if of
    ]
    if not counts:
        return ""
    if not shipped and not resting:
        return f"None of the {' and '.join(count.partition(' of ')[2] for count in counts)} rests on shipped evidence."
    made = _origin({name: about for finding in shipped for name, about in finding.get("made", {}).items()})
    verb = "rests" if len(counts) == 1 and counts[0].startswith("1 of ") else "rest"
    return (
        f"{' and '.join(counts)} {verb} on evidence computed before and shipped{made}, as each says beside it; "
        "all else was computed by these notebooks from the shipped models and samples."
    )


def warnings(found: Found) -> list[str]:
    """What a reader of the verdicts must know first: not of this run, or resting on outdated tables."""
    claims = distinct(found)
    foreign = Counter(text for finding in claims if (text := finding.get("not_of_this_run")))
    told = [f"{text} ({n} of {len(claims)} verdicts.)" for text, n in foreign.items()]
    if stale := [finding["id"] for finding in claims if finding.get("stale")]:
        which = ", ".join(stale) if len(stale) <= MOST_NAMED else f"{len(stale)} of {len(claims)} verdicts"
        told.append(f"Shipped tables whose version or weights have changed since are behind {which}.")
    return told


def number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3g}"


def _origin(tables: Mapping[str, Mapping[str, str]]) -> str:
    """From which machines, commits and dates these shipped tables are, in brackets."""
    about = list(tables.values())

    def all_of(field: str) -> list[str]:
        return sorted({str(entry[field]) for entry in about if entry.get(field)})

    machines, commits, dates = all_of("machine"), all_of("commit"), all_of("date")
    parts = [
        " and ".join(machines),
        f"{len(commits)} commits" if len(commits) > MOST_NAMED else _named("commit", commits),
        f"{dates[0]} to {dates[-1]}" if len(dates) > 1 else "".join(dates),
    ]
    told = "; ".join(filter(None, parts))
    return f" ({told})" if told else ""


def _named(what: str, names: list[str]) -> str:
    """ "commit a", "commits a, b"; "" without any."""
    return f"{what}{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""


def _shown(finding: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as the templates show it, the fields that old documents lack being empty."""
    names = ("id", "page", "claim", "where", "note", "open", "basis", "not_of_this_run")
    return {
        **{name: finding.get(name, "") for name in names},
        "verdict": finding["verdict"],
        "symbol": SYMBOLS.get(finding["verdict"], "?"),
        "kind": KINDS.get(finding["verdict"], "open"),
        "effects": [_effect(effect) for effect in finding["effects"]],
    }


def _effect(effect: Mapping[str, Any]) -> str:
    """One line: name, value with its interval and unit, n, p and test, and the rule."""
    value, low, high = (number(effect.get(name)) for name in ("value", "low", "high"))
    unit = f" {effect['unit']}" if effect.get("unit") else ""
    facts = [
        f"n = {effect.get('over', effect['n'])}" if effect.get("n") is not None else "",
        f"p = {effect['p']:.2g}" if effect.get("p") is not None else "",
        effect.get("test") or "",
        f"expected {effect['rule']}" if effect.get("rule") else "",
    ]
    found = "not measured" if effect.get("value") is None else f"{value} [{low}, {high}]{unit}"
    return f"{effect.get('label') or effect['name']}: {found} ({', '.join(filter(None, facts))})"
