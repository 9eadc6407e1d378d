"""``yoda-nb data`` and ``bank``: what is there to read, and what has been sampled."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from typer import Argument, Option

from yoda_nb.cli.common import MANIFEST, Json, Manifest, Mirror, emit, guarded, table

data_app = typer.Typer(no_args_is_help=True, help="The data manifest: list, check, fetch.")
bank_app = typer.Typer(no_args_is_help=True, help="Stored samples: list, clear.")


@data_app.command("list")
@guarded
def data_list(
    dataset: Annotated[str | None, Argument()] = None, manifest: Manifest = MANIFEST, json: Json = False
) -> None:
    """Show the manifest's datasets, or the volumes of one."""
    from yoda_nb.data.manifest import read_manifest

    cases = read_manifest(manifest, dataset=dataset)
    if dataset:
        rows: list[dict[str, Any]] = [
            {"subject": c.subject, "split": c.split, "contrast": k, "uri": i.uri, "licence": i.licence}
            for c in cases
            for k, i in c.images.items()
        ]
    else:
        counts: dict[tuple[str, str], int] = {}
        for c in cases:
            counts[c.dataset, c.split] = counts.get((c.dataset, c.split), 0) + 1
        rows = [{"dataset": d, "split": s, "subjects": n} for (d, s), n in counts.items()]
    emit(rows, json, table(rows))


@data_app.command("check")
@guarded
def data_check(
    dataset: Annotated[str | None, Argument()] = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    json: Json = False,
) -> None:
    """Verify files and checksums without downloading; exit code 1 if a checksum is wrong."""
    from yoda_nb.data.manifest import check, read_manifest

    rows = check(read_manifest(manifest, dataset=dataset), mirror=mirror)
    emit(rows, json, table(rows))
    if any(row["status"] == "wrong checksum" for row in rows):
        raise typer.Exit(1)


@data_app.command("fetch")
@guarded
def data_fetch(
    dataset: Annotated[str | None, Argument()] = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    json: Json = False,
) -> None:
    """Download what the manifest lists (or find it below --mirror), checksums verified."""
    from tqdm.auto import tqdm

    from yoda_nb.data.manifest import fetch, read_manifest

    images = [
        (c, k, i)
        for c in read_manifest(manifest, dataset=dataset)
        for k, i in c.images.items()
        if not i.uri.startswith("phantom:")
    ]
    rows = [
        {"subject": c.subject, "contrast": k, "path": str(fetch(i, root=c.root, mirror=mirror))}
        for c, k, i in tqdm(images, desc="fetch", disable=json)
    ]
    emit(rows, json, table(rows))


@bank_app.command("list")
@guarded
def bank_list(json: Json = False) -> None:
    """Show what is stored and how large it is."""
    from yoda_nb.study.bank import default_bank, entries

    bank = default_bank()
    rows = []
    for e in entries(bank):
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(e.modified))
        subject = (e.description or {}).get("subject", "damaged")
        rows.append({"key": e.key[:12], "MB": round(e.size / 1e6, 2), "modified": made, "subject": subject})
    text = f"{table(rows)}\n{len(rows)} entries, {sum(r['MB'] for r in rows):.1f} MB in {bank.root}"
    emit(rows, json, text)


@bank_app.command("clear")
@guarded
def bank_clear(
    older_than_days: Annotated[float, Option(help="Only entries older than this.")] = 0.0, json: Json = False
) -> None:
    """Remove stored samples; they are computed again when needed."""
    from yoda_nb.study.bank import clear, default_bank

    removed = clear(default_bank(), older_than=older_than_days * 86400)
    emit({"removed": removed}, json, f"{removed} entries removed")
