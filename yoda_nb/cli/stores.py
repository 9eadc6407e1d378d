"""``yoda-nb data`` and ``bank``: what is there to read, and what has been sampled."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from yoda_nb.cli.common import MANIFEST, Json, Manifest, Mirror, emit, guarded, listed, table
from yoda_nb.cli.common import folder as writable_folder
from yoda_nb.cli.scans import note_left_out

data_app = typer.Typer(no_args_is_help=True, help="The data manifest: list, check, fetch, scan.")
bank_app = typer.Typer(no_args_is_help=True, help="Stored samples: list, clear.")

Named = Annotated[str | None, Argument(metavar="[DATASET]", help="One dataset of the manifest; default: all.")]
Dataset = Annotated[str | None, Option("--dataset", help="The same, as an option.")]
Trust = Annotated[bool, Option("--trust-paths", help="Follow absolute paths and links out of the manifest's folder.")]


@data_app.command("list")
@guarded
def data_list(
    named: Named = None,
    dataset: Dataset = None,
    manifest: Manifest = MANIFEST,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Show the manifest's datasets, or the volumes of one."""
    from yoda_nb.data.manifest import read_manifest

    cases = read_manifest(manifest, dataset=dataset or named, trust_paths=trust)
    if dataset or named:
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
    named: Named = None,
    dataset: Dataset = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Verify files and checksums without downloading; exit code 1 if a checksum is wrong."""
    from yoda_nb.data.manifest import check, read_manifest

    rows = check(read_manifest(manifest, dataset=dataset or named, trust_paths=trust), mirror=mirror)
    emit(rows, json, table(rows))
    if any(row["status"] == "wrong checksum" for row in rows):
        raise typer.Exit(1)


@data_app.command("fetch")
@guarded
def data_fetch(
    named: Named = None,
    dataset: Dataset = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Download what the manifest lists (or find it below --mirror), checksums verified.

    Files without a public address, such as those of ucsf, are looked up only if their dataset is named.
    """
    from tqdm.auto import tqdm

    from yoda_nb.data.manifest import fetch, read_manifest

    images = [
        (c, k, i)
        for c in read_manifest(manifest, dataset=dataset or named, trust_paths=trust)
        for k, i in c.images.items()
        if i.uri.startswith("https:") or ((dataset or named) and not i.uri.startswith("phantom:"))
    ]
    rows = [
        {"subject": c.subject, "contrast": k, "path": str(fetch(i, root=c.root, mirror=mirror))}
        for c, k, i in tqdm(images, desc="fetch", disable=json)
    ]
    emit(rows, json, table(rows))


@data_app.command("pack")
@guarded
def data_pack(
    named: Annotated[str, Argument(metavar="DATASET", help="A dataset of the manifest.")],
    out: Annotated[Path, Option("-o", "--out", help="Folder for the packs; made if it is not there.")],
    subject: Annotated[
        list[str] | None, Option(help="Only these subjects (separate with commas); default: all.")
    ] = None,
    sources: Annotated[str, Option(help="Source contrasts, comma between.")] = "T1w,T2w",
    target: Annotated[str, Option(help="Target contrast.")] = "FLAIR",
    spacing: Annotated[float, Option(help="Voxel size in mm.")] = 1.0,
    rescans: Annotated[int, Option(help="Copies of each whose sources another scanner seems to have seen.")] = 0,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Keep registered volumes as packs of a few MB, for 'yoda-nb train --packs'.

    A pack carries its split of the manifest: train is trained on, val validates, test is never opened.
    """
    from tqdm.auto import tqdm

    from yoda_nb.data.manifest import load_case, read_manifest
    from yoda_nb.data.packs import pack
    from yoda_nb.data.study import check_study_output
    from yoda_nb.errors import InputError

    cases = read_manifest(manifest, dataset=named, trust_paths=trust)
    wanted = listed(subject)
    if unknown := sorted(set(wanted) - {case.subject for case in cases}):
        raise InputError(f"{named} has no subject {unknown[0]!r}: 'yoda-nb data list {named}' names them.")
    if rescans < 0:
        raise InputError(f"--rescans {rescans} is not a number of copies: give 0 or more.")
    check_study_output(out, cases)
    writable_folder(out)
    rows = []
    for case in tqdm([c for c in cases if not wanted or c.subject in wanted], desc="pack", disable=json):
        volume = load_case(case, sources=listed([sources]), target=target, mirror=mirror, spacing=spacing)
        for file in pack(volume, out, rescans=rescans, split=case.split):
            size = round(file.stat().st_size / 1e6, 1)
            about = {"subject": case.subject, "split": case.split, "file": str(file), "MB": size}
            rows.append(about | {"warnings": list(volume.doubts)})
    emit(rows, json, table([{k: v for k, v in row.items() if k != "warnings"} for row in rows]))


@data_app.command("layouts")
@guarded
def data_layouts(json: Json = False) -> None:
    """List the layouts of 'data scan': licence, how to get the data, an example of a path."""
    from yoda_nb.data.layouts import LAYOUTS

    rows = [
        {"layout": x.name, "path": x.shape, "licence": x.licence, "how to get it": x.obtain, "source": x.source}
        for x in LAYOUTS.values()
    ]
    text = "\n\n".join("\n".join(f"{name:<14}{value}" for name, value in row.items()) for row in rows)
    emit(rows, json, text)


@data_app.command("scan")
@guarded
def data_scan(
    layout: Annotated[str, Argument(help="One of 'yoda-nb data layouts'.")],
    folder: Annotated[Path | None, Argument(metavar="DIR", help="Where the data set lies.")] = None,
    out: Annotated[Path | None, Option("-o", "--out", help="New manifest; default: standard output.")] = None,
    dataset: Annotated[str | None, Option(help="Name in the manifest; default: the layout's.")] = None,
    pattern: Annotated[str | None, Option(help="Of layout nifti: '{subject}/{session}/{contrast}.nii.gz'.")] = None,
    persons: Annotated[Path | None, Option(help="CSV with subject and person, where names do not tell.")] = None,
    listing: Annotated[
        Path | None, Option(help="Instead of DIR: CSV with path and git_blob_sha1 of the published files.")
    ] = None,
    sums: Annotated[Path | None, Option(help="With --listing: SHA256SUMS of some of the files.")] = None,
    json: Json = False,
) -> None:
    """Write manifest rows for a downloaded data set: contrasts, checksums, licence, split by person.

    70 % of the persons are for training, 15 % for validation, 15 % for testing, by a hash of their names, unless the
    folder's participants.tsv has a column split. Visits of one person are subjects NAME_ses-VISIT of one split.

    Example: yoda-nb data scan ixi ~/IXI -o ~/IXI/manifest.csv
    """
    from yoda_nb.data.layouts import get_layout
    from yoda_nb.data.scan import LeftOut, published, read_listing, read_table, scan, write_rows
    from yoda_nb.errors import InputError
    from yoda_nb.images.nifti import atomic

    chosen = get_layout(layout, pattern)
    if (folder is None) == (listing is None):
        raise InputError("give the folder of the data set, or --listing with what is published.")
    if out and out.exists():
        raise InputError(f"{out} exists: name a new file, or remove it.")
    left_out: list[LeftOut] = []
    if listing:
        rows = published(chosen, read_listing(listing, sums), dataset=dataset)
    else:
        assert folder is not None
        known = {r["subject"]: r["person"] for r in read_table(persons, ("subject", "person"))} if persons else {}
        base = out.parent if out else folder
        rows, left_out = scan(
            chosen, folder, base=base, dataset=dataset, persons=known, progress=bool(out) and not json
        )
    text = io.StringIO()
    write_rows(rows, text)
    if out:
        with atomic(out) as part:
            part.write_text(text.getvalue(), encoding="utf-8", newline="")
    people = len({row.person for row in rows})
    more = f"; {len(left_out)} images left out" if left_out else ""
    said = f"{out}: {len(rows)} volumes of {people} persons{more}" if out else text.getvalue().rstrip("\n")
    note_left_out(left_out)
    document = {"rows": [row.model_dump() for row in rows], "left_out": [one._asdict() for one in left_out]}
    emit(document, json, said)


@data_app.command("dicom")
@guarded
def data_dicom(
    folder: Annotated[Path, Argument(help="Folder with DICOM files, of one series or of many.")],
    out: Annotated[Path, Argument(help="Where to write the NIfTI files; made if it is not there.")],
    json: Json = False,
) -> None:
    """Convert a folder of DICOM files to NIfTI with dcm2niix, which has to be installed."""
    from yoda_nb.errors import InputError
    from yoda_nb.images.outputs import same_file
    from yoda_nb.scans.dicom import convert_dicom

    if same_file(folder, out):
        raise InputError(f"{out} is the folder of the DICOM files itself: choose another for the NIfTI files.")
    made = [str(path) for path in convert_dicom(folder, out)]
    emit(made, json, "\n".join(made))


@bank_app.command("list")
@guarded
def bank_list(json: Json = False) -> None:
    """Show what is stored and how large it is."""
    from yoda_nb.store import default_bank, entries

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
    from yoda_nb.store import clear, default_bank

    removed = clear(default_bank(), older_than=older_than_days * 86400)
    emit({"removed": removed}, json, f"{removed} entries removed")
