"""``yoda-nb prepare`` and ``translate-all``: from files and studies to images with pages of control."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from yoda_nb.cli.common import (
    Device,
    InputOption,
    Json,
    Mirror,
    OutputOption,
    PreparationOption,
    Queue,
    QueueOption,
    Scheduler,
    Seed,
    Slurm,
    SystemOption,
    Workers,
    check_folder,
    emit,
    folder,
    guarded,
    listed,
    look_at,
    named,
    note,
    place,
    table,
)

if TYPE_CHECKING:
    from yoda_nb.data.manifest import Case
    from yoda_nb.data.scan import LeftOut

Registered = Annotated[
    bool | None,
    PreparationOption("--register/--no-register", help="Register to the first image; default: if grids differ."),
]
Bias = Annotated[bool, PreparationOption("--bias/--no-bias", help="Remove the bias fields of what is registered (N4).")]
Tool = Annotated[
    str | None,
    PreparationOption(help="Program that finds the brain: hd-bet, synthstrip, or 'tool -i {input} -o {output}'."),
]
Keep = Annotated[
    Path | None, PreparationOption(help="Folder in which preparations are kept, to be read back the next time.")
]
Study = Annotated[
    Path | None,
    Argument(metavar="[STUDY]", help="All subjects of a BIDS folder or a manifest (.csv).", rich_help_panel="Inputs"),
]
Dataset = Annotated[str | None, InputOption(help="With a manifest: one of its data sets.")]
Subjects = Annotated[list[str] | None, InputOption("--subject", help="These subjects of a study, comma between; all.")]
Trust = Annotated[bool, InputOption("--trust-paths", help="Follow paths and links out of the study's folder.")]


@guarded
def prepare(
    out: Annotated[Path, OutputOption("-o", "--out", help="Folder for images, mask, qc.html and preparation.json.")],
    study: Study = None,
    t1: Annotated[Path | None, InputOption(help="T1-weighted image.")] = None,
    t2: Annotated[Path | None, InputOption(help="T2-weighted image.")] = None,
    flair: Annotated[Path | None, InputOption(help="FLAIR image.")] = None,
    source: Annotated[list[str] | None, InputOption(help="Any other image as CONTRAST=FILE; repeat it.")] = None,
    reference: Annotated[
        str | None, PreparationOption(help="Contrast that the others are registered to; default: first.")
    ] = None,
    mask: Annotated[Path | None, InputOption(help="Brain mask on the reference's grid; default: estimated.")] = None,
    spacing: Annotated[float, PreparationOption(help="Voxel size in mm.")] = 1.0,
    bias: Bias = True,
    tool: Tool = None,
    keep: Keep = None,
    subject: Annotated[
        str, InputOption(help="Name on the page; for a study, only these subjects (separate with commas).")
    ] = "",
    contrasts: Annotated[str, InputOption(help="Of a study, comma between; default: all that a subject has.")] = "",
    dataset: Dataset = None,
    mirror: Mirror = None,
    trust: Trust = False,
    workers: Workers = 0,
    scheduler: Scheduler = "",
    slurm: Slurm = False,
    queue: Queue = "",
    queue_option: QueueOption = None,
    json: Json = False,
) -> None:
    """Register a subject's images to one of them, remove bias fields, find the brain, resample to 1 mm.

    Of a study, every subject into a folder of its name. What is done is not done again; a subject that fails is
    named at the end, and the others go on.

    Examples: yoda-nb prepare --t1 T1W.nii.gz --t2 T2W.nii.gz --flair FLAIR.nii.gz -o prepared;
    yoda-nb prepare my-bids-study -o prepared --workers 8
    """
    from yoda_nb.data.study import check_study_output
    from yoda_nb.errors import InputError
    from yoda_nb.images.outputs import check_apart_of_bids, check_outputs
    from yoda_nb.images.volumes import UNKNOWN
    from yoda_nb.scans.subjects import chosen_cases, prepare_files, prepare_subject

    files = images_given(t1, t2, flair, source)
    how: dict[str, Any] = {"reference": reference, "spacing": spacing, "bias": bias, "tool": tool, "keep": keep}
    if study is not None:
        if files or mask:
            raise InputError(f"{study} is a study and files were given too: choose one.")
        cases, left_out = chosen_cases(study.resolve(), dataset, listed([subject]), trust_paths=trust)
        check_study_output(out, cases)
        if keep is not None:
            check_study_output(keep, cases, word="--keep")
            check_outputs({"--keep": keep}, {"the study": study})
        do = partial(prepare_subject, out=folder(out).resolve(), contrasts=listed([contrasts]), mirror=mirror, **how)
        _each(cases, do, place(workers, scheduler, slurm, queue, queue_option), json, left_out)
        return
    check_outputs({"-o": out, "--keep": keep}, inputs_of(files, mask=mask))
    for word, path in (("-o", out), ("--keep", keep)):
        check_apart_of_bids(path, files.values(), word=word)
    check_folder(keep)
    found = prepare_files(files, folder(out), mask=mask, subject=subject or UNKNOWN, progress=not json, **how)
    look_at(found["warnings"])
    names = [*(f"{name}.nii.gz" for name in found["images"]), "qc.html"]
    emit(found, json, f"{out}: {', '.join(names)}, {spacing:g} mm")


@guarded
def translate_all(
    study: Annotated[
        Path, Argument(metavar="STUDY", help="A BIDS folder, or a manifest (.csv).", rich_help_panel="Inputs")
    ],
    out: Annotated[Path, OutputOption("-o", "--out", help="Folder of BIDS derivatives.")],
    dataset: Dataset = None,
    subject: Subjects = None,
    sources: Annotated[str, InputOption(help="Source contrasts, comma between.")] = "T1w,T2w",
    to: Annotated[str, OutputOption(help="Contrast to make. Where it was acquired, it scores the result.")] = "FLAIR",
    system: Annotated[str, SystemOption(help="One of 'yoda-nb systems'.")] = "yoda-regression",
    model: Annotated[str | None, SystemOption(help="A shipped model, or a .safetensors file of your own.")] = None,
    set_: Annotated[
        list[str] | None, SystemOption("--set", help="A setting of the system as NAME=VALUE; repeat it.")
    ] = None,
    bias: Bias = True,
    tool: Tool = None,
    mirror: Mirror = None,
    trust: Trust = False,
    workers: Workers = 0,
    scheduler: Scheduler = "",
    slurm: Slurm = False,
    queue: Queue = "",
    queue_option: QueueOption = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Make a contrast for every subject of a study: BIDS derivatives with sidecars, and a page of control each.

    A subject that is done, of the same files with the same model and settings, is not done again; one that fails is
    named at the end, and the others go on. Images of a BIDS folder that are left out are named with the reason.
    """
    from yoda_nb.data.bids import check_derivatives
    from yoda_nb.data.study import check_study_output
    from yoda_nb.nets.devices import find_device
    from yoda_nb.scans.subjects import chosen_cases, translate_subject
    from yoda_nb.systems.table import parse_settings

    if not (scheduler or slurm or queue):  # other machines have other devices
        find_device(device)
    study = study.resolve()
    do = partial(
        translate_subject,
        out=out.resolve(),
        sources=tuple(listed([sources])),
        target=to,
        system=system,
        model=Path(model).resolve() if model and Path(model).is_file() else model,
        settings=parse_settings(system, named(set_ or [], "--set")),
        bias=bias,
        tool=tool,
        mirror=mirror,
        raw=study if study.is_dir() else None,
        seed=seed,
        device=device,
    )
    cases, left_out = chosen_cases(study, dataset, listed(subject), trust_paths=trust)
    check_study_output(out, cases)
    check_derivatives(out, study if study.is_dir() else None)
    _each(cases, do, place(workers, scheduler, slurm, queue, queue_option), json, left_out)


def _each(
    cases: list[Case],
    do: Callable[[Case, Any], dict[str, Any]],
    where: dict[str, Any],
    as_json: bool,
    left_out: list[LeftOut],
) -> None:
    """Every case by workers, a line each as they end; InputError at the end that names those that failed."""
    from yoda_nb.errors import InputError
    from yoda_nb.sweep import client_of, done_by

    note_left_out(left_out)
    rows, failed = dict[str, dict[str, Any]](), dict[str, str]()
    with client_of(**where) as client:
        for k, outcome in enumerate(done_by(do, ((case.subject, case) for case in cases), client), 1):
            if outcome.error:
                failed[outcome.key] = outcome.error
            else:
                rows[outcome.key] = outcome.result
            state = outcome.error or f"{outcome.result['state']}, {outcome.seconds:.0f} s"
            note(f"{k}/{len(cases)} {outcome.key}: {state}")
            look_at(() if outcome.error else outcome.result.get("warnings", ()), outcome.key)
    done = [rows[case.subject] for case in cases if case.subject in rows]
    document = {
        "done": done,
        "failed": [{"subject": name, "error": said} for name, said in failed.items()],
        "left_out": [one._asdict() for one in left_out],
    }
    emit(document, as_json, table([{k: v for k, v in row.items() if k != "warnings"} for row in done]))
    if failed:
        raise InputError(f"{len(failed)} of {len(cases)} failed: {', '.join(failed)}.")


def note_left_out(left_out: list[LeftOut], most: int = 50) -> None:
    """A line for each image of a folder that is left out, up to so many; and how many more."""
    for one in left_out[:most]:
        note(f"left out: {one.path}: {one.reason}")
    if len(left_out) > most:
        note(f"left out: {len(left_out) - most} more; --json lists all")


def images_given(t1: Path | None, t2: Path | None, flair: Path | None, source: list[str] | None) -> dict[str, Path]:
    """Contrast -> file, in the order of the options; InputError for a contrast given twice or with a strange name."""
    from yoda_nb.errors import InputError

    files = {k: v for k, v in (("T1w", t1), ("T2w", t2), ("FLAIR", flair)) if v}
    for name, path in named(source or [], "--source").items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name) or name in ("mask", "lesions", "labels"):
            raise InputError(f"--source {name!r} is not a name of a contrast: use letters and digits, such as PDw.")
        if name in files:
            raise InputError(f"{name} was given twice: name it once.")
        files[name] = Path(path)
    return files


def inputs_of(files: Mapping[str, Path], **others: Path | str | None) -> dict[str, str | Path | None]:
    """Words for the files that are read -> their paths, for ``outputs.check_outputs``."""
    return {f"the {name} image": path for name, path in files.items()} | {f"--{k}": v for k, v in others.items()}
