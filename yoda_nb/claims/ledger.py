"""The ledger: what the papers claim, and what is found here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

import pandas as pd

from yoda_nb.claims.effects import EFFECTS, NOTES
from yoda_nb.claims.verdicts import Effect, combined
from yoda_nb.evidence import Study
from yoda_nb.volumes import InputError

CLAIMS = Path(__file__).parents[2] / "claims.csv"
MIME = "application/vnd.yoda-nb.claims+json"
SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "?"}


@dataclass(frozen=True)
class Claim:
    """A line of claims.csv."""

    id: str
    seed: str  # of the seed paper
    where: str  # in that paper
    claim: str
    how_to_test: str
    notebook: str


@dataclass(frozen=True)
class Finding:
    """A claim, the effects measured for it, and what follows from them."""

    claim: Claim
    effects: tuple[Effect, ...]
    note: str = ""

    @property
    def verdict(self) -> str:
        return combined(self.effects)

    def document(self) -> dict:
        """As JSON: numbers that are not finite become null."""
        effects = [
            {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in asdict(e).items()}
            | {"rule": e.stated, "verdict": e.verdict}
            for e in self.effects
        ]
        return {**asdict(self.claim), "verdict": self.verdict, "effects": effects, "note": self.note}


def read_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """The ledger's lines by id; InputError for a repeated id or a missing column."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    wanted = list(Claim.__dataclass_fields__)
    if lacking := [c for c in wanted if c not in table.columns]:
        raise InputError(f"{path} lacks the column {lacking[0]}: it needs {', '.join(wanted)}.")
    if not table.id.is_unique:
        raise InputError(f"{path} has the id {table.id[table.id.duplicated()].iloc[0]} twice: keep one.")
    return {row["id"]: Claim(**row) for row in table[wanted].to_dict("records")}


def find(ids: Iterable[str] = (), *, study: Study) -> list[Finding]:
    """The findings of these claims, or of all that this project tests so far."""
    claims = read_claims()
    ids = list(ids) or [i for i in claims if i in EFFECTS]
    if unknown := [i for i in ids if i not in EFFECTS]:
        raise InputError(f"Claim {unknown[0]} is not tested here: choose among {', '.join(EFFECTS)}.")
    return [Finding(claims[i], tuple(EFFECTS[i](study)), NOTES.get(i, "")) for i in ids]


def counted(verdicts: Iterable[str]) -> str:
    """How often each verdict was reached, in words."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in SYMBOLS if counts[verdict])


def show_findings(findings: Iterable[Finding]) -> None:
    """Display findings as a table in Jupyter; a report gathers them on its first page."""
    from IPython.display import display

    findings = list(findings)
    html = "".join(map(_finding_html, findings))
    text = "\n".join(f"{f.claim.id} {f.verdict}: {f.claim.claim}" for f in findings)
    documents = [f.document() for f in findings]
    display({"text/html": html, "text/plain": text, MIME: documents}, raw=True)


def effects_table(finding: Finding) -> pd.DataFrame:
    """The effects of one finding as text."""
    rows = [
        {"effect": e.name, "found (95 % interval)": e.found,
         "expected": e.stated, "n": e.n, "test": e.test + ("" if e.p is None else f", p = {e.p:.2g}"),
         "verdict": e.verdict}
        for e in finding.effects
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _finding_html(f: Finding) -> str:
    head = f"<strong>{f.claim.id} {SYMBOLS[f.verdict]} {f.verdict}</strong> · {escape(f.claim.claim)}"
    where = f"<em>seed {f.claim.seed}, {escape(f.claim.where)}</em>"
    table = effects_table(f).to_html(index=False, border=0) if f.effects else ""
    note = f"<p>{escape(f.note)}</p>" if f.note else ""
    return f'<div id="claim-{f.claim.id}"><p>{head} ({where})</p>{table}{note}</div>'
