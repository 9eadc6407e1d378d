"""``yoda-nb sweep``: many subjects by many systems, on all the machines there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from yoda_nb.cli.common import (
    Device,
    InputOption,
    Json,
    Mirror,
    OutputOption,
    Queue,
    QueueOption,
    RunOption,
    Scheduler,
    Slurm,
    SystemOption,
    emit,
    guarded,
    listed,
    named,
    note,
    place,
    table,
)

if TYPE_CHECKING:
    import pandas as pd


@guarded
def sweep(
    out: Annotated[Path, OutputOption("-o", "--out", help="Folder of the journal and of table.parquet.")],
    plan: Annotated[
        Path | None,
        Argument(metavar="[PLAN.toml]", help="The sweep as a file; options change it.", rich_help_panel="Inputs"),
    ] = None,
    study: Annotated[str | None, InputOption(help="A manifest (.csv) or a BIDS folder; default: phantoms.")] = None,
    dataset: Annotated[str | None, InputOption(help="One of the manifest's data sets.")] = None,
    split: Annotated[str | None, InputOption(help="One of its splits.")] = None,
    subjects: Annotated[str | None, InputOption(help="How many, or names with commas between; default: all.")] = None,
    system: Annotated[
        list[str] | None, SystemOption(help="Of 'yoda-nb systems'; commas between, or repeat it.")
    ] = None,
    set_: Annotated[
        list[str] | None, SystemOption("--set", help="A setting as NAME=VALUE; again for another value.")
    ] = None,
    model: Annotated[
        list[str] | None, SystemOption(help="A shipped model or a file; default: each system's own.")
    ] = None,
    seeds: Annotated[str | None, SystemOption(help="Seeds, commas between.")] = None,
    sources: Annotated[str | None, InputOption(help="Source contrasts, comma between.")] = None,
    to: Annotated[
        str | None, OutputOption(help="Contrast to make. Where it was acquired, it scores the result.")
    ] = None,
    workers: Annotated[
        int | None,
        RunOption(
            help="Processes, or jobs of a queue; default: one a GPU, otherwise one a core; 0: only this process."
        ),
    ] = None,
    scheduler: Scheduler = "",
    slurm: Slurm = False,
    queue: Queue = "",
    queue_option: QueueOption = None,
    mirror: Mirror = None,
    device: Device = None,
    trust: Annotated[
        bool, InputOption("--trust-paths", help="Follow paths and links out of the study's folder.")
    ] = False,
    json: Json = False,
) -> None:
    """Every subject by every system and setting, into one table that can be read while it grows.

    What is done is kept: the same command goes on where it was stopped. A subject that fails is tried again once,
    then listed, and the others go on.

    Example: yoda-nb sweep --subjects 4 --system yoda-regression,unet,yoda-ddim --set n_steps=8 --set n_steps=16 -o out
    """
    from yoda_nb.images.outputs import check_outputs
    from yoda_nb.sweep import FAILED, FILES, crossed, make_plan, read_plan
    from yoda_nb.sweep import sweep as run

    check_outputs({f"-o's {name}": out / name for name in FILES}, {"the plan": plan})
    fields: dict[str, Any] = read_plan(plan) if plan else {}
    given = {
        "study": study,
        "dataset": dataset,
        "split": split,
        "subjects": _subjects(subjects),
        "seeds": None if seeds is None else listed([seeds]),
        "sources": None if sources is None else listed([sources]),
        "target": to,
        "mirror": None if mirror is None else str(mirror),
        "device": device,
    }
    fields |= {k: v for k, v in given.items() if v is not None}
    pairs = [pair for word in set_ or [] for pair in named([word], "--set").items()]
    extra: dict[str, Any] = dict(crossed(pairs)) | ({"model": listed(model)} if model else {})
    if names := listed(system):
        fields["systems"] = [{"name": name} for name in names]
    if isinstance(rows := fields.get("systems", []), list):
        fields["systems"] = [{**row, **extra} if isinstance(row, dict) else row for row in rows]
    found = run(
        make_plan(fields),
        out,
        **place(workers, scheduler, slurm, queue, queue_option),
        trust_paths=trust,
        progress=True,
    )
    bad = found[found.state == FAILED]
    for row in bad.itertuples():
        note(f"{row.subject}, {row.system}: {row.error}")
    document = {"table": str(out / "table.parquet"), "rows": len(found), "failed": len(bad)}
    means = _means(found)
    emit(document | {"means": means}, json, table(means))
    if len(bad):
        from yoda_nb.errors import InputError

        raise InputError(f"{len(bad)} of {len(found)} rows of {out / 'table.parquet'} failed: start again to retry.")


def _means(found: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean SSIM and PSNR, and of every further score that images have, for each system and reference; None for none."""
    from math import isfinite

    from yoda_nb.sweep import COLUMNS, is_setting

    further = [name for name in found if name not in COLUMNS and not is_setting(name)]
    groups = found.groupby(["system", "reference"], sort=False)
    means = groups[["ssim", "psnr", *further]].mean().round(4).assign(images=groups.size()).reset_index()
    return [
        {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in row.items()}
        for row in means.to_dict("records")
    ]


def _subjects(word: str | None) -> int | list[str] | None:
    if word is None:
        return None
    return int(word) if word.isdigit() else listed([word])
