"""The ledger: what the papers claim, and what is found here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from yoda_nb.data.places import CLAIMS
from yoda_nb.errors import InputError
from yoda_nb.study.findings import MIME, SYMBOLS
from yoda_nb.systems.papers import PAPERS as MODULES
from yoda_papers.ledger import origins, rules, scans
from yoda_papers.ledger.evidence import PAPERS, Study, basis, libraries_note, outdated, shipped_tables
from yoda_papers.ledger.undecided import UNDECIDED
from yoda_papers.ledger.verdicts import DISPUTED, INCONCLUSIVE, Effect, after_looks, combined

EFFECTS = {claim: effects for paper in PAPERS.values() for claim, effects in getattr(paper, "EFFECTS", {}).items()}
NOTES = {claim: note for paper in PAPERS.values() for claim, note in getattr(paper, "NOTES", {}).items()}


@dataclass(frozen=True)
class Claim:
    """A line of claims.csv."""

    id: str
    paper: str  # its name in ``papers``
    where: str  # in that paper
    claim: str
    how_to_test: str
    notebook: str
    printed: str = ""  # the paper's own value, with its table or section; "" where it prints none


@dataclass(frozen=True)
class Finding:
    """A claim, the effects measured for it, what follows from them, and what they rest on."""

    claim: Claim
    effects: tuple[Effect, ...]
    note: str = ""
    study: Study = field(default_factory=Study)
    tables: tuple[str, ...] = ()  # those that were shipped
    on_scans: Finding | None = None  # the same of real scans, where their tables are shipped

    @property
    def verdict(self) -> str:
        return combined(self.effects)

    @property
    def open(self) -> str:
        """What would decide a claim that nothing here decides, or settle a dispute; "" for others."""
        return UNDECIDED.get(self.claim.id, "") if self.verdict in (INCONCLUSIVE, DISPUTED) else ""

    @property
    def basis(self) -> str:
        """In words, from where the evidence is: shipped by which machine, commit and date, or of this run."""
        return basis(*self.tables, study=self.study)

    @property
    def ruled(self) -> dict[str, str]:
        """Commit and date of the rules; {} where they are not on record, as those of another profile."""
        return rules.since(self.claim.id, self.effects)

    @property
    def stale(self) -> tuple[str, ...]:
        """Shipped tables behind it whose version or weights have changed since."""
        own = tuple(name for name in self.tables if outdated(name))
        return own if self.on_scans is None else own + self.on_scans.stale

    def document(self) -> dict[str, Any]:
        """As JSON: numbers that are not finite become null."""
        return {
            **asdict(self.claim),
            "title": MODULES[self.claim.paper].TITLE,
            "printed": self.claim.printed or None,
            "verdict": self.verdict,
            "effects": [_effect_document(e) for e in self.effects],
            "note": self.note,
            "open": self.open,
            "ruled": self.ruled,
            "basis": self.basis,
            "shipped": list(self.tables),
            "made": origins.made(self.tables),
            "trainings": origins.trainings(self.tables),
            "stale": list(self.stale),
            "on_scans": self.on_scans and {k: self.on_scans.document()[k] for k in ("verdict", "effects", "basis")},
        }


def _effect_document(effect: Effect) -> dict[str, Any]:
    values = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in asdict(effect).items()}
    said = {"label": effect.label, "over": effect.over, "rule": effect.stated, "verdict": effect.verdict}
    return values | said


def read_claims(path: Path = CLAIMS) -> dict[str, Claim]:
    """The ledger's lines by id, and those of each paper's own file (its CLAIMS).

    Raises InputError for an id that is there twice or a missing column.
    """
    claims: dict[str, Claim] = {}
    for file in (path, *(paper.CLAIMS for paper in PAPERS.values() if hasattr(paper, "CLAIMS"))):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        columns = [field.name for field in fields(Claim)]
        needed = [field.name for field in fields(Claim) if field.default is MISSING]
        if missing := [c for c in needed if c not in table.columns]:
            raise InputError(f"{file} has no column {missing[0]}: it needs {', '.join(needed)}.")
        for row in table[[c for c in columns if c in table]].to_dict("records"):
            if row["id"] in claims:
                raise InputError(f"{file} has the id {row['id']} twice: keep one.")
            claims[row["id"]] = Claim(**row)
    return claims


def find(ids: Iterable[str] = (), *, study: Study) -> list[Finding]:
    """The findings of these claims, or of all that this project tests so far."""
    claims = read_claims()
    ids = list(ids) or [i for i in claims if i in EFFECTS]
    if unknown := [i for i in ids if i not in EFFECTS]:
        raise InputError(f"Claim {unknown[0]} is not tested here: choose among {', '.join(EFFECTS)}.")
    return [_found(claims[i], study) for i in ids]


def _found(claim: Claim, study: Study) -> Finding:
    with shipped_tables() as used:
        looks = rules.LOOKS.get(claim.id, ())
        effects = tuple(after_looks(effect, looks) for effect in EFFECTS[claim.id](study))
    beside = None if study.own or not scans.there() else _found_on_scans(claim)
    return Finding(claim, effects, note_of(claim.id, effects), study, tuple(sorted(used)), beside)


def note_of(claim: str, effects: Iterable[Effect], notes: Mapping[str, str] = NOTES) -> str:
    """The note on a claim.

    ``{NAME:.1f}`` in it becomes the value of the effect of that name, ``{abs NAME:.1f}`` its absolute value.
    """
    values = {effect.name: float(effect.value) for effect in effects}
    return notes.get(claim, "").format_map(values | {f"abs {name}": abs(value) for name, value in values.items()})


def _found_on_scans(claim: Claim) -> Finding | None:
    """What real scans say to a claim; None to one that they are not asked about."""
    if claim.id not in scans.EFFECTS:
        return None
    study = scans.OnScans()
    with shipped_tables() as used:
        effects = tuple(scans.EFFECTS[claim.id](study))
    return Finding(claim, effects, "", study, tuple(sorted(used)))


def beside_phantoms(findings: Iterable[Finding]) -> pd.DataFrame:
    """What phantoms and real scans say to each claim that both are asked about: a row an effect of scans."""
    rows = [
        {
            "claim": f.claim.id,
            "on phantoms": f.verdict,
            "on real scans": f.on_scans.verdict,
            "effect on real scans": e.label,
            "found (95 % interval)": e.found,
            "expected": e.stated,
            "n": e.n,
        }
        for f in findings
        if f.on_scans is not None
        for e in f.on_scans.effects
    ]
    return pd.DataFrame(rows)


def said_of_scans(finding: Finding) -> str:
    """In words, what real scans say to a claim beside the ledger's phantoms: "" where they are not asked."""
    note = scans.NOTES.get(finding.claim.id, "") if scans.there() else ""
    if finding.on_scans is None:
        return note
    verdict, effects = finding.on_scans.verdict, finding.on_scans.effects
    deciding = next((e for e in effects if e.verdict == verdict), effects[0])
    said = f"On real scans {SYMBOLS[verdict]} {verdict}: {deciding.name}: {deciding.found}, n = {deciding.n}."
    return f"{said} {note}".rstrip()


def provenance_notes(findings: Iterable[Finding]) -> list[str]:
    """In words, which shipped tables are outdated, and which were made with other libraries than those here."""
    findings, told = list(findings), []
    if old := sorted({name for f in findings for name in f.stale}):
        told.append(
            f"Note: the version or the weights of these shipped tables have changed since: {', '.join(old)}. "
            "The verdicts above rest on the tables as they are; 'yoda-nb claims --fresh' computes them again."
        )
    if others := libraries_note(*sorted({name for f in findings for name in f.tables})):
        told.append(f"Note: the libraries here are not those of the shipped tables: {others}.")
    return told


def check_findings(findings: Iterable[Finding]) -> None:
    """AssertionError for a number that cannot be right.

    That is an estimate outside its interval, a p outside 0..1, a verdict against its rule, or an effect of no subject.
    Outdated tables, and other versions of libraries, are named in a printed note: no reader made that error.
    """
    findings = list(findings)
    for note in provenance_notes(findings):
        print(note)
    for f in findings:
        assert f.effects, f"{f.claim.id} has no effect"
        for e in f.effects:
            where = f"{f.claim.id}, {e.name}"
            if e.value != e.value:
                assert e.verdict == "inconclusive", f"{where}: a verdict without a number"
                continue
            assert e.low <= e.value <= e.high, f"{where}: {e.value} lies outside [{e.low}, {e.high}]"
            assert e.n >= 1 and (e.p is None or 0 <= e.p <= 1), f"{where}: n = {e.n}, p = {e.p}"
            if e.rule in "<>" and e.verdict == "reproduced":
                assert (e.value > e.margin) == (e.rule == ">"), f"{where}: the wrong side of {e.stated}"
        verdicts = {e.verdict for e in f.effects}
        both = verdicts >= {"reproduced", "not reproduced"}
        open_ = f.verdict == INCONCLUSIVE or (f.verdict == DISPUTED and both)
        assert f.verdict in verdicts or open_, f"{f.claim.id}: {f.verdict}"
        if f.verdict == "reproduced":
            assert "not reproduced" not in verdicts, f"{f.claim.id}: reproduced against an effect"


def show_findings(
    findings: Iterable[Finding],
    *,
    seed: int = 0,
    device: str = "",
    dataset: str = "phantom",
    subject: str = "",
    own_files: str = "",
) -> None:
    """Display findings as a table in Jupyter; a report gathers them on its first page.

    The parameters of a run that the verdicts are not about are named above the table: verdicts are of
    the ledger's subjects, and in the profile quick of the shipped study.
    """
    from IPython.display import display

    findings = list(findings)
    given = {"seed": seed, "device": device, "dataset": dataset, "subject": subject, "own_files": own_files}
    about = foreign(findings[0].study, given) if findings else ""
    html = "".join([f"<p><strong>{escape(about)}</strong></p>" if about else "", *map(_finding_html, findings)])
    text = "\n".join([*([about] if about else []), *(f"{f.claim.id} {f.verdict}: {f.claim.claim}" for f in findings)])
    documents = [{**f.document(), "not_of_this_run": about} for f in findings]
    display({"text/html": html, "text/plain": text, MIME: documents}, raw=True)


def foreign(study: Study, given: Mapping[str, object]) -> str:
    """A sentence where a run's parameters are not those that its verdicts are of, else ""."""
    own = {"seed": study.seed, "device": study.device, "dataset": "phantom", "subject": "", "own_files": ""}
    other = [f"{name} {value!r}" for name, value in given.items() if value != own[name] and value not in (None, "")]
    if not other:
        return ""
    return (
        f"These verdicts are not of this run's {', '.join(other)}: they are of the ledger's phantoms, "
        f"profile {study.profile}, seed {study.seed}."
    )


def effects_table(finding: Finding) -> pd.DataFrame:
    """The effects of one finding as text."""
    rows = [
        {
            "effect": e.label,
            "found (95 % interval)": e.found,
            "expected": e.stated,
            "n": e.over,
            "test": e.test + ("" if e.p is None else f", p = {e.p:.2g}"),
            "verdict": e.verdict,
        }
        for e in finding.effects
    ]
    return pd.DataFrame(rows)


def _finding_html(f: Finding) -> str:
    head = f"<strong>{f.claim.id} {SYMBOLS[f.verdict]} {f.verdict}</strong> · {escape(f.claim.claim)}"
    where = f"<em>{escape(MODULES[f.claim.paper].TITLE)}, {escape(f.claim.where)}</em>"
    table = effects_table(f).to_html(index=False, border=0) if f.effects else ""
    note = "".join(f"<p>{escape(text)}</p>" for text in (f.note, said_of_scans(f), f.basis) if text)
    return f'<div id="claim-{f.claim.id}"><p>{head} ({where})</p>{table}{note}</div>'
