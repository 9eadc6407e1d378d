"""``yoda-nb claims``: what the papers claim and what is found here."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from yoda_nb.cli.common import Device, Json, Seed, emit, guarded, named
from yoda_nb.errors import InputError


@guarded
def claims(
    ids: Annotated[list[str] | None, Argument(help="Claims such as Y03; default: all that are tested here.")] = None,
    profile: Annotated[str, Option(help="quick: shipped evidence; full: the paper's setting, for a GPU.")] = "quick",
    fresh: Annotated[
        bool, Option("--fresh", help="Compute the evidence from nothing that is shipped, tables and samples.")
    ] = False,
    extractor: Annotated[
        list[str] | None,
        Option(help="One more feature net, NAME=WEIGHTS, imagenet-vit-b16 or radimagenet-resnet50; with --fresh."),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Judge the papers' claims: effects with 95 % intervals, and a verdict by a rule stated with each.

    Example: yoda-nb claims Y03 Y09
    """
    from yoda_nb.metrics.features import load_eyes
    from yoda_nb.study.findings import counted, trained_words
    from yoda_papers.ledger.evidence import Study
    from yoda_papers.ledger.findings import find, provenance_notes, said_of_scans
    from yoda_papers.ledger.origins import trainings

    if extractor and not (fresh or profile != "quick"):
        raise InputError("Shipped distances exist for the shipped feature nets only: add --fresh to use --extractor.")
    eyes = tuple(named(extractor or [], "--extractor").items())
    study = Study(profile, seed, device or "", fresh=fresh, eyes=eyes)  # its device is here, or this says so at once
    if eyes:
        load_eyes(eyes)  # what is wrong with a weights file is said at once
    findings = find(ids or (), study=study)
    lines = []
    for f in findings:
        lines.append(f"{f.claim.id}  {f.verdict.upper()}{' (OUTDATED)' if f.stale else ''}  {f.claim.claim}")
        lines += [f"     {e.label}: {e.found}, n = {e.over}; rule {e.stated}: {e.verdict}" for e in f.effects]
        opened = f"What would decide it: {f.open}" if f.open else ""
        printed = f"The paper prints: {f.claim.printed}." if f.claim.printed else ""
        models = trainings(f.tables)
        over = f"Over subjects (n) and {trained_words(models)}{': ' if models else ''}{', '.join(models)}."
        ruled = f"Rule of commit {f.ruled['commit']}, {f.ruled['date']}." if f.ruled else "Rule not on record yet."
        lines += [f"     {text}" for text in (printed, f.note, opened, said_of_scans(f), over, ruled, f.basis) if text]
    lines += provenance_notes(findings)
    lines.append(counted(f.verdict for f in findings))
    shipped = sum(bool(f.tables) for f in findings)
    lines.append(f"{shipped} of {len(findings)} verdicts rest on shipped evidence; --fresh computes it again")
    emit([f.document() for f in findings], json, "\n".join(lines))
