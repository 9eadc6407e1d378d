"""The long tables of ``docs/``, written from code and evidence: ``yoda-nb rebuild numbers``.

The pages are prose that people write, with tables between markers, ``<!-- table NAME -->`` and
``<!-- end -->``; only what lies between markers is replaced.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from yoda_nb.diffusion.system import Sampling, System
from yoda_nb.errors import InputError
from yoda_nb.store import write_atomic
from yoda_nb.study.findings import SYMBOLS, counted
from yoda_nb.systems.papers import PAPERS, SYSTEMS
from yoda_nb.systems.table import FIXED, describe_systems, settings_of
from yoda_nb.training.rows import BUDGET
from yoda_papers.ledger.evidence import Study, basis, index, outdated, read_shipped
from yoda_papers.ledger.findings import Finding, find, said_of_scans
from yoda_papers.ledger.hospitals import SLAB_MM, chosen, in_words
from yoda_papers.ledger.real import beside_goals

BLOCK = re.compile(r"(<!-- table (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
COMMENT = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)  # a field of a dataclass and what it means
UNMEASURED = "Not measured with this version yet: `yoda-nb rebuild numbers` does it."

Cells = Sequence[Any]


def write_documents(docs: Path) -> list[Path]:
    """Write the tables into systems.md, ledger.md and measured.md of the folder; returns the three.

    The same code and evidence give the same bytes. A page that is not there is made of its tables
    alone. InputError for a page without its markers or a ``measured.json`` that lacks something.
    """
    numbers = docs / "measured.json"
    measured = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else None
    tables = {
        docs / "systems.md": system_tables(),
        docs / "ledger.md": ledger_tables(find(study=Study())),
        docs / "measured.md": measured_tables(measured) | {"real": real_table()},
    }
    pages = {page: filled(page, blocks) for page, blocks in tables.items()}
    for page, text in pages.items():
        write_atomic(page, text.encode())
    return list(pages)


def filled(page: Path, blocks: Mapping[str, str]) -> str:
    """The page's text with each block between its markers; InputError where markers and blocks differ."""
    blank = "\n".join(f"<!-- table {name} -->\n<!-- end -->\n" for name in blocks)
    text = page.read_text(encoding="utf-8") if page.exists() else blank
    if sorted(there := [m[1] for m in BLOCK.findall(text)]) != sorted(blocks):
        raise InputError(
            f"{page} must hold '<!-- table NAME -->' and '<!-- end -->' around each of {', '.join(blocks)}, once, "
            f"and holds {', '.join(there) or 'none'}: put the markers back."
        )
    return BLOCK.sub(lambda m: f"{m[1]}\n{blocks[m[2]]}\n\n{m[4]}", text)


def system_tables() -> dict[str, str]:
    """Every row of the table of systems, whose trainings share a budget, and what each setting means and is."""
    rows = describe_systems()
    heads = ("system", "paper", "what it does", "translates", "evaluations", "parameters", "slabs", "trained in")
    values = ("system", "defined in", "process", "values")
    return {
        "systems": table(heads, [_system_cells(row) for row in rows]),
        "budgets": _budgets(rows),
        "processes": table(("process", "what it does"), [_process_cells(kind) for kind in _processes()]),
        "settings": table(("setting", "of", "what it means"), _meanings()),
        "values": table(values, [_settings_cells(row) for row in SYSTEMS.values()]),
    }


def ledger_tables(findings: Sequence[Finding]) -> dict[str, str]:
    """Each claim with its verdict and the first effect that decides it, and the evidence behind them."""
    heads: Cells = (
        "",
        "claim",
        "verdict",
        "effect with 95 % interval",
        "rule",
        "n",
        "test",
        "rule of",
        "evidence",
        "on real scans",
    )
    parts: list[str] = []
    for paper, module in PAPERS.items():
        if own := [f for f in findings if f.claim.paper == paper]:
            said = {f.claim.id: " ".join(filter(None, (f.note, said_of_scans(f)))) for f in own}
            notes = "\n".join(f"- **{claim}** {text}" for claim, text in said.items() if text)
            parts += [f"### {module.TITLE}", table(heads, [_claim_cells(f) for f in own]), notes]
    used = sorted({name for f in findings for g in (f, f.on_scans) if g for name in g.tables})
    heads = ("table", "rows", "version", "machine", "torch", "commit", "date", "made in", "up to date")
    return {
        "count": f"{len(findings)} claims: {counted(f.verdict for f in findings)}.",
        "claims": "\n\n".join(filter(None, parts)),
        "evidence": table(heads, [_evidence_cells(name) for name in used]),
    }


def measured_tables(measured: Mapping[str, Any] | None) -> dict[str, str]:
    """The tables of ``measured.json`` with their command, machine, commit and date; a sentence for None."""
    if measured is None:
        return dict.fromkeys(("regression", "noise"), UNMEASURED)
    names = ("acquired", "diffusion", "regression", "ratio", "expa10_ssim", "bound")
    try:
        made = "`{command}`, on {machine}, at commit {commit}, {date}.\n\n".format_map(measured)
        smooth = [
            (r["dataset"], r["target"], r["n"], _spread(r, "ssim", 3), _spread(r, "psnr", 1))
            for r in measured["regression"]
        ]
        drawn = [(r["dataset"], r["subject"], *(f"{r[name]:.3g}" for name in names)) for r in measured["samples"]]
    except KeyError as error:
        raise InputError(f"measured.json has no {error}: make it again with yoda-nb rebuild numbers.") from None
    noise = ("test set", "subject", "acquired", "diffusion", "regression", "diffusion / acquired")
    averaged = ("SSIM of ExpA 10 to regression", "bound by averaging pure noise")
    return {
        "regression": made + table(("test set", "target", "n", "SSIM", "PSNR in dB"), smooth),
        "noise": made + table((*noise, *averaged), drawn),
    }


def real_table() -> str:
    """The table of people left out with the goals beside it; a sentence where none is shipped."""
    if "real" not in index():
        return "Not measured with this version yet: `yoda-nb rebuild real` does it."
    shown = beside_goals(read_shipped("real"))
    text = f"`yoda-nb rebuild real`. {basis('real')}\n\n{table(tuple(shown), list(shown.itertuples(index=False)))}"
    more = {"normalisation": _normalisation_words, "hospitals": _hospital_words}
    return "\n\n".join([text, *(words() for name, words in more.items() if name in index())])


def _hospital_words() -> str:
    """What recipes are worth at a hospital that their training left out."""
    found = read_shipped("hospitals")
    heads, *rows = in_words(found)
    best = chosen(found)
    return (
        "**A hospital left out.** Each model was trained on one hospital without one of its people, and scored on that "
        f"person and on the other hospital (a slab of {SLAB_MM:g} mm of each scan; `yoda-nb rebuild real --only "
        f"hospitals`). {basis('hospitals')} The rule chooses {best or 'no recipe'}.\n\n{table(heads, rows)}"
    )


def _normalisation_words() -> str:
    """What two scalings of the sources are worth, on average over scans."""
    mean = read_shipped("normalisation").groupby("scaled")[["ssim", "psnr"]].mean()
    found = {name: f"SSIM {row.ssim:.3f}, {row.psnr:.1f} dB" for name, row in mean.iterrows()}
    return (
        f"Sources scaled by their window, as everywhere: {found['window']}; with their tissue peak where it lies in "
        f"other people's: {found['peak']} (zero-shot, a slab of each scan). {basis('normalisation')}"
    )


def table(heads: Cells, rows: Sequence[Cells]) -> str:
    """A Markdown table; None is shown as a dash, and no cell can break it."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def setting_word(value: object) -> str:
    """A setting's value as ``--set NAME=VALUE`` takes it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _cell(value: object) -> str:
    text = "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _system_cells(row: Mapping[str, Any]) -> Cells:
    minutes = row["seconds"] and f"{row['seconds'] / 60:.0f} min"
    millions = row["parameters"] and f"{row['parameters'] / 1e6:.2f} M"
    does = (f"`{row['name']}`", PAPERS[row["paper"]].TITLE, row["does"], row["translates"])
    return (*does, row["evaluations"], millions, row["slabs"], minutes)


def _budgets(rows: Sequence[Mapping[str, Any]]) -> str:
    """In words, which rows' models were trained at the common budget and which at another."""
    same = [row["name"] for row in rows if row["slabs"] == BUDGET]
    other = [f"`{r['name']}` ({r['slabs']:,})" for r in rows if r["slabs"] not in (BUDGET, None)]
    none = [f"`{r['name']}`" for r in rows if r["slabs"] is None]
    lines = [f"{len(same)} rows share a budget of {BUDGET:,} slabs."]
    lines += [f"Not at this budget: {', '.join(other)}."] if other else []
    lines += [f"Not trained: {', '.join(none)}."] if none else []
    return " ".join(lines)


def _processes() -> list[type[Sampling]]:
    """The kinds of process that the rows use."""
    return list(dict.fromkeys(type(row.sampling) for row in SYSTEMS.values()))


def _process_cells(kind: type[Sampling]) -> Cells:
    return (kind.__name__, (inspect.getdoc(kind) or "").partition("\n\n")[0])


def _meanings() -> list[Cells]:
    """Every setting, the processes that have it, and the words beside it in the code that defines it."""
    kinds: list[type[System] | type[Sampling]] = [System, *_processes()]
    found: dict[tuple[str, str], list[str]] = {}
    for kind in kinds:
        said = dict(COMMENT.findall("".join(inspect.getsource(base) for base in kind.__mro__[-2::-1])))
        for field in fields(kind):
            if field.name not in FIXED:
                found.setdefault((field.name, said.get(field.name, "")), []).append(kind.__name__)
    named = {"System": "every system"}
    return [(f"`{name}`", ", ".join(named.get(k, k) for k in of), said) for (name, said), of in found.items()]


def _settings_cells(row: System) -> Cells:
    plain = {f.name: f.default for f in fields(System)}
    of_process = {f.name for f in fields(row.sampling)}
    shown = {k: v for k, v in settings_of(row).items() if k in of_process or v != plain[k]}
    words = " ".join(f"`{name}={setting_word(value)}`" for name, value in shown.items() if value != "")
    return (f"`{row.name}`", row.reference, type(row.sampling).__name__, words)


def _claim_cells(f: Finding) -> Cells:
    deciding = next((e for e in f.effects if e.verdict == f.verdict), f.effects[0] if f.effects else None)
    effect: Cells = (None,) * 4
    if deciding:
        effect = (f"{deciding.label}: {deciding.found}", deciding.stated, deciding.over, deciding.test or None)
    tables = ", ".join(name + (" (outdated)" if name in f.stale else "") for name in f.tables)
    verdict = f"{SYMBOLS[f.verdict]} {f.verdict}"
    ruled = f.ruled.get("date")
    return (f.claim.id, f.claim.claim, verdict, *effect, ruled, tables or "computed", _scan_cell(f.on_scans))


def _scan_cell(f: Finding | None) -> str | None:
    """Verdict and number of scans."""
    return None if f is None else f"{SYMBOLS[f.verdict]} {f.verdict}, n = {max(e.n for e in f.effects)}"


def _evidence_cells(name: str) -> Cells:
    about = index()[name]
    changed = ", ".join(outdated(name))
    made = (about["machine"], about["libraries"]["torch"], about["commit"], about["date"], f"{about['seconds']:,} s")
    return (f"`{name}`", about["rows"], about["version"], *made, f"no: {changed} changed" if changed else "yes")


def _spread(row: Mapping[str, Any], name: str, digits: int) -> str:
    return f"{row[f'{name}_mean']:.{digits}f} ± {row[f'{name}_std']:.{digits}f}"
