"""``yoda-nb prepare`` and ``translate-all``: from files and studies to images with pages of control."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from yoda_nb.cli.common import Device, Json, Mirror, Seed, emit, folder, guarded, listed, named, note, table

if TYPE_CHECKING:
    from yoda_nb.images.volumes import Volume
    from yoda_nb.systems.files import Opened

Registered = Annotated[
    bool | None, Option("--register/--no-register", help="Register to the first image; default: if grids differ.")
]
Bias = Annotated[bool, Option("--bias/--no-bias", help="Remove the bias fields of what is registered (N4).")]
Tool = Annotated[
    str | None, Option(help="Program that finds the brain: hd-bet, synthstrip, or 'tool -i {input} -o {output}'.")
]
Keep = Annotated[Path | None, Option(help="Folder in which preparations are kept, to be read back the next time.")]


@guarded
def prepare(
    out: Annotated[Path, Option("-o", "--out", help="Folder for images, mask, qc.html and preparation.json.")],
    t1: Annotated[Path | None, Option(help="T1-weighted image.")] = None,
    t2: Annotated[Path | None, Option(help="T2-weighted image.")] = None,
    flair: Annotated[Path | None, Option(help="FLAIR image.")] = None,
    source: Annotated[list[str] | None, Option(help="Any other image as CONTRAST=FILE; repeat it.")] = None,
    reference: Annotated[str | None, Option(help="Contrast that the others are registered to; default: first.")] = None,
    mask: Annotated[Path | None, Option(help="Brain mask on the reference's grid; default: estimated.")] = None,
    spacing: Annotated[float, Option(help="Voxel size in mm.")] = 1.0,
    bias: Bias = True,
    tool: Tool = None,
    keep: Keep = None,
    subject: Annotated[str, Option(help="Name on the page.")] = "unknown",
    json: Json = False,
) -> None:
    """Register a subject's images to one of them, remove bias fields, find the brain, resample to 1 mm.

    Example: yoda-nb prepare --t1 T1W.nii.gz --t2 T2W.nii.gz --flair FLAIR.nii.gz -o prepared
    """
    from yoda_nb.images.nifti import Grid, write_image
    from yoda_nb.images.prepare import prepare as run
    from yoda_nb.report.qc import write_qc

    files = images_given(t1, t2, flair, source)
    folder(out)
    found = run(
        files, reference=reference, mask=mask, spacing=spacing, bias=bias, tool=tool, keep=keep, subject=subject
    )
    volume = found.volume
    grid = Grid(volume.shape, volume.affine)
    written = {name: out / f"{name}.nii.gz" for name in (*found.after, "mask")}
    for name, image in found.after.items():
        write_image((image * volume.mask)[0].numpy(), grid, written[name])
    write_image(volume.mask[0].numpy().astype("float32"), grid, written["mask"])
    write_qc(found, out / "qc.html")
    document = {
        "images": {name: str(path) for name, path in written.items()},
        "qc": str(out / "qc.html"),
        "reference": next(name for name in found.after if name not in found.registrations),
        "registrations": {
            name: {
                "matrix": r.matrix.tolist(),
                "shift_mm": round(r.shift, 3),
                "rotation_degrees": round(r.rotation, 3),
                "mutual_information": round(r.metric, 4),
            }
            for name, r in found.registrations.items()
        },
        "spacing_mm": spacing,
        "shape": list(volume.shape),
        "warnings": list(found.warnings),
    }
    (out / "preparation.json").write_text(json_module.dumps(document, indent=2) + "\n")
    for sentence in found.warnings:
        note(f"look at this: {sentence}")
    emit(document, json, f"{out}: {', '.join(p.name for p in written.values())} and qc.html, {spacing:g} mm")


@guarded
def translate_all(
    study: Annotated[Path, Argument(metavar="STUDY", help="A BIDS folder, or a manifest (.csv).")],
    out: Annotated[Path, Option("-o", "--out", help="Folder of BIDS derivatives.")],
    dataset: Annotated[str | None, Option(help="With a manifest: one of its data sets.")] = None,
    subject: Annotated[list[str] | None, Option(help="These subjects alone, comma between; default: all.")] = None,
    sources: Annotated[str, Option(help="Source contrasts, comma between.")] = "T1w,T2w",
    to: Annotated[str, Option(help="Contrast to make. Where it was acquired, it scores the result.")] = "FLAIR",
    system: Annotated[str, Option(help="One of 'yoda-nb systems'.")] = "yoda-regression",
    model: Annotated[str | None, Option(help="A shipped model, or a .safetensors file of your own.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="A setting of the system as NAME=VALUE; repeat it.")] = None,
    bias: Bias = True,
    tool: Tool = None,
    mirror: Mirror = None,
    trust: Annotated[bool, Option("--trust-paths", help="Follow paths and links out of the study's folder.")] = False,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Make a contrast for every subject of a study: BIDS derivatives with sidecars, and a page of control each.

    A subject that is done with the same model and settings is not done again; one that fails is named at the
    end, and the others go on.
    """
    from yoda_nb.systems.studies import cases_in, translate_case
    from yoda_nb.systems.table import parse_settings

    cases = cases_in(study, dataset=dataset, trust_paths=trust)
    wanted = listed(subject)
    chosen = [case for case in cases if not wanted or case.subject in wanted]
    if unknown := sorted(set(wanted) - {case.subject for case in cases}):
        from yoda_nb.errors import InputError

        raise InputError(f"{study} has no subject {unknown[0]!r}: it has {', '.join(c.subject for c in cases)}.")
    rows, failed = [], []
    for k, case in enumerate(chosen, 1):
        note(f"{k}/{len(chosen)} {case.subject}")
        make = partial(
            translate_case,
            case,
            out,
            sources=tuple(listed([sources])),
            target=to,
            system=system,
            model=model,
            settings=parse_settings(system, named(set_ or [], "--set")),
            bias=bias,
            tool=tool,
            mirror=mirror,
            raw=study if study.is_dir() else None,
            seed=seed,
            device=device,
        )
        try:
            done = make()
            page = done.path.with_name(done.path.name.replace(".nii.gz", "_qc.html"))
            if done.opened is None and not page.is_file():  # a run was stopped before its page
                done = make(again=True)
        except Exception as error:  # one bad subject must not stop a night's work
            note(f"{case.subject}: {error}")
            failed.append({"subject": case.subject, "error": str(error)})
            continue
        if done.opened is not None:
            write_page(done.opened, page, done.result, done.row)
        rows.append(done.row)
    emit({"done": rows, "failed": failed}, json, table(rows))
    if failed:
        from yoda_nb.errors import InputError

        raise InputError(f"{len(failed)} of {len(chosen)} failed: {', '.join(f['subject'] for f in failed)}.")


def images_given(t1: Path | None, t2: Path | None, flair: Path | None, source: list[str] | None) -> dict[str, Path]:
    """Contrast -> file, in the order of the options."""
    files = {k: v for k, v in (("T1w", t1), ("T2w", t2), ("FLAIR", flair)) if v}
    return files | {k: Path(v) for k, v in named(source or [], "--source").items()}


def write_page(opened: Opened, path: Path, result: Volume | None, document: Mapping[str, Any]) -> None:
    """The page of control of an opened subject; of files that lay on one grid it shows mask and intensities."""
    from yoda_nb.images.prepare import Prepared
    from yoda_nb.report.qc import write_qc

    scores = document.get("scores") or {}
    facts = {k: document[k] for k in ("model", "system", "seed", "seconds") if k in document}
    facts |= {name.upper(): f"{scores[name]:.3f}" for name in ("ssim", "psnr") if name in scores}
    found = opened.prepared
    if found is None:
        v = opened.volume
        images = {name: (v.source[i : i + 1] + 1) / 2 for i, name in enumerate(v.sources)}
        found = Prepared(v, {}, images, images, ())
    subject = path.name.removesuffix("_qc.html").removesuffix(".html")
    known = found.volume.subject if found.volume.subject != "unknown" else subject
    write_qc(replace(found, volume=replace(found.volume, subject=known)), path, result=result, facts=facts)
