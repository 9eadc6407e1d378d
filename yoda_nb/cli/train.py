"""``yoda-nb train``: from images to models."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from yoda_nb.cli.common import MANIFEST, Device, Json, Manifest, Mirror, emit, guarded, listed

OWN = "; a row has its own"  # what is not given is left to the row, if there is one


@guarded
def train(
    save: Annotated[
        Path | None,
        Option(help="Where to write the model (.safetensors; the card goes beside it).", rich_help_panel="Output"),
    ] = None,
    out: Annotated[
        Path | None,
        Option(help="Folder of the run: checkpoint and log. A run found there is resumed.", rich_help_panel="Output"),
    ] = None,
    dry_run: Annotated[
        bool,
        Option(
            "--dry-run",
            help="Print the configuration and count its parameters; train and write nothing.",
            rich_help_panel="Output",
        ),
    ] = False,
    sources: Annotated[
        str | None, Option(help=f"Source contrasts, comma between; default T1w,T2w{OWN}.", rich_help_panel="Model")
    ] = None,
    target: Annotated[
        str | None, Option(help=f"Contrast to make; default FLAIR{OWN}.", rich_help_panel="Model")
    ] = None,
    preset: Annotated[
        str | None,
        Option(
            help="Size of the net: micro, tiny (default), small, paper (53.5 M parameters), paper-large (213.9 M).",
            rich_help_panel="Model",
        ),
    ] = None,
    row: Annotated[
        str | None,
        Option(
            help="A training of the table of systems (adm, bbdm, ...): its net, method and settings, contrasts, voxel "
            "size and phantoms, but for what is given here.",
            rich_help_panel="Model",
        ),
    ] = None,
    initial: Annotated[
        str | None, Option(help="A shipped model, or a .safetensors file, to start from.", rich_help_panel="Model")
    ] = None,
    regression: Annotated[
        bool | None,
        Option(
            "--regression/--no-regression",
            help="Train for regression only: the net's first step (T = 1); default: no.",
            rich_help_panel="Model",
        ),
    ] = None,
    phantoms: Annotated[
        int | None, Option(help=f"Phantoms to generate; default 384{OWN}.", rich_help_panel="Data")
    ] = None,
    scanner: Annotated[
        str, Option(help="Phantoms of one 'protocol', or of 'any' scanner and disease.", rich_help_panel="Data")
    ] = "protocol",
    packs: Annotated[
        Path | None,
        Option(
            help="Train on this folder of packs ('yoda-nb data pack') instead: on the split train, validated on val; "
            "test is never opened. Packs without a split train.",
            rich_help_panel="Data",
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        Option(help="People of the packs to validate with, not to learn from.", rich_help_panel="Data"),
    ] = None,
    rehearse: Annotated[
        int,
        Option(
            help="Phantoms of any scanner mixed with real volumes, so that other scanners are not forgotten.",
            rich_help_panel="Data",
        ),
    ] = 0,
    share: Annotated[
        float, Option(help="Share of the slabs that are real, beside rehearsed phantoms.", rich_help_panel="Data")
    ] = 0.5,
    augment: Annotated[
        float | None,
        Option(
            help="Spread of the random gain and gamma of each source; default 0.05, 0 (as the paper): none.",
            rich_help_panel="Augmentation",
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        Option(
            "--flip/--no-flip",
            help="Exchange left and right in half of the slabs; default yes, the paper: no.",
            rich_help_panel="Augmentation",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        Option(
            help="Train on this dataset of the manifest instead: on the split train, validated on val; test is never "
            "opened.",
            rich_help_panel="Data",
        ),
    ] = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    label_maps: Annotated[
        bool | None,
        Option(
            "--label-maps/--no-label-maps",
            help="Two thirds of the phantoms from the manifest's label maps; default yes, of a row no.",
            rich_help_panel="Data",
        ),
    ] = None,
    spacing: Annotated[float | None, Option(help=f"Voxel size in mm; default 3{OWN}.", rich_help_panel="Model")] = None,
    steps: Annotated[
        int | None, Option(help=f"Gradient steps; default 10000{OWN}.", rich_help_panel="Optimisation")
    ] = None,
    batch_size: Annotated[
        int | None,
        Option(
            help=f"Slabs of a step, all processes together; default 24{OWN}, the paper: 96.",
            rich_help_panel="Optimisation",
        ),
    ] = None,
    accumulate: Annotated[
        int,
        Option(
            help="Parts in which a batch goes through the net: less memory, more time, the same step.",
            rich_help_panel="Optimisation",
        ),
    ] = 1,
    mapped: Annotated[
        bool | None,
        Option(
            help="Leave packs on disk and read what is drawn; default: where they would fill half of the memory.",
            rich_help_panel="Data",
        ),
    ] = None,
    window: Annotated[
        int | None,
        Option(help=f"Side of the random in-slice crop, in voxels; default 48{OWN}.", rich_help_panel="Augmentation"),
    ] = None,
    lr: Annotated[
        float | None,
        Option(
            help=f"Learning rate after warm-up; default 0.001{OWN}, the paper: 0.0001.", rich_help_panel="Optimisation"
        ),
    ] = None,
    lr_end: Annotated[
        float | None,
        Option(
            help="Where it falls to as a cosine; default 0.00001, the same as --lr: constant.",
            rich_help_panel="Optimisation",
        ),
    ] = None,
    warmup: Annotated[
        int | None,
        Option(
            help=f"Steps in which the learning rate rises; default 200{OWN}, 0: none.", rich_help_panel="Optimisation"
        ),
    ] = None,
    ema: Annotated[
        float | None,
        Option(
            help=f"Decay of the average of weights that is kept; default 0.999{OWN}. 0.99 for a short run, 0: none.",
            rich_help_panel="Optimisation",
        ),
    ] = None,
    structure: Annotated[
        float | None,
        Option(
            help="Weight of 1 - SSIM beside the absolute error; default 0: squared error, as the paper.",
            rich_help_panel="Loss",
        ),
    ] = None,
    lesions: Annotated[
        float | None,
        Option(
            help="How many times more a voxel of a lesion counts, where lesions are known; default 0.",
            rich_help_panel="Loss",
        ),
    ] = None,
    schedule: Annotated[
        str | None, Option(help=f"Noise schedule: linear (default) or cosine{OWN}.", rich_help_panel="Model")
    ] = None,
    predict: Annotated[
        str | None, Option(help=f"What the net predicts: v (default), eps or x0{OWN}.", rich_help_panel="Model")
    ] = None,
    bits: Annotated[
        int, Option(help="Bits of a weight in the file: 16, or 8 for half the bytes.", rich_help_panel="Output")
    ] = 16,
    threads: Annotated[int | None, Option(help="CPU threads; default: all cores.", rich_help_panel="Run")] = None,
    workers: Annotated[int, Option(help="Processes that generate phantoms.", rich_help_panel="Run")] = 1,
    seed: Annotated[
        int | None,
        Option(help=f"Seed of this run; the same seed gives the same bytes; default 0{OWN}.", rich_help_panel="Run"),
    ] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train a denoiser, or a row of the table of systems, on phantoms or on your own data through a manifest.

    A row trained so is run by its system: yoda-nb translate --system adm --model adm.safetensors ...

    Ctrl-C is safe: the same command goes on where it stopped, with the same result. For several
    GPUs: torchrun --nproc-per-node 4 -m yoda_nb train ...
    """
    from yoda_nb.errors import InputError
    from yoda_nb.systems.train import describe_plan, plan_training
    from yoda_nb.systems.train import train as run

    if threads is not None:
        if threads < 1:
            raise InputError(f"--threads {threads} is not a number of threads: give 1 or more.")
        import torch

        torch.set_num_threads(threads)
    settings: dict[str, Any] = {
        "regression": regression,
        "augment": augment,
        "flip": flip,
        "steps": steps,
        "batch_size": batch_size,
        "window": window,
        "lr": lr,
        "lr_end": lr_end,
        "warmup": warmup,
        "ema": ema,
        "structure": structure,
        "lesions": lesions,
        "schedule": schedule,
        "prediction": predict,
        "seed": seed,
    }
    planned: dict[str, Any] = {
        "sources": None if sources is None else listed([sources]),
        "target": target,
        "preset": preset,
        "row": row,
        "initial": initial,
        "phantoms": phantoms,
        "label_maps": label_maps,
        "spacing": spacing,
        "device": device,
        **{name: value for name, value in settings.items() if value is not None},
    }
    if dry_run:
        document = describe_plan(plan_training(**planned))
        emit(document, json, "\n".join(f"{name}: {_shown(value)}" for name, value in document.items()))
        return
    if save is None or out is None:
        raise InputError("A training needs --save FILE.safetensors and --out FOLDER: only --dry-run goes without them.")
    card = run(
        save,
        out=out,
        dataset=dataset,
        packs=packs,
        without=listed(without),
        scanner=scanner,
        rehearse=rehearse,
        share=share,
        manifest=manifest,
        mirror=mirror,
        workers=workers,
        command=shlex.join(["yoda-nb", *_without_mirror(sys.argv[1:])]),
        bits=bits,
        accumulate=accumulate,
        mapped=mapped,
        **planned,
    )
    about = card["training"]
    emit(card, json, f"{save}: {about['steps']} steps in {about['seconds']} s, trained on {about['data']}")


def _shown(value: object) -> str:
    return "".join(f"\n  {line}" for line in value) if isinstance(value, list) else str(value)


def _without_mirror(words: Sequence[str]) -> list[str]:
    """The words of a command with DIR in place of the folder of --mirror, which is nobody else's."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        hidden = "--mirror=DIR" if word.startswith("--mirror=") else word
        shown.append("DIR" if before == "--mirror" else hidden)
    return shown
