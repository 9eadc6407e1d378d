"""``yoda-nb train``: from images to models."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from yoda_nb.cli.common import (
    MANIFEST,
    DataOption,
    Device,
    Json,
    Manifest,
    Mirror,
    OutputOption,
    RunOption,
    emit,
    guarded,
    listed,
    use_threads,
)

# ``Option`` in a group of the help
AugmentationOption = partial(Option, rich_help_panel="Augmentation")
LossOption = partial(Option, rich_help_panel="Loss")
ModelOption = partial(Option, rich_help_panel="Model")
OptimisationOption = partial(Option, rich_help_panel="Optimisation")

OWN = "; a row has its own"  # what is not given is left to the row, if there is one


@guarded
def train(
    save: Annotated[
        Path | None, OutputOption(help="Where to write the model (.safetensors; the card goes beside it).")
    ] = None,
    out: Annotated[
        Path | None, OutputOption(help="Folder of the run: checkpoint and log. A run found there is resumed.")
    ] = None,
    dry_run: Annotated[
        bool,
        OutputOption("--dry-run", help="Print the configuration and count its parameters; train and write nothing."),
    ] = False,
    sources: Annotated[str | None, ModelOption(help=f"Source contrasts, comma between; default T1w,T2w{OWN}.")] = None,
    target: Annotated[str | None, ModelOption(help=f"Contrast to make; default FLAIR{OWN}.")] = None,
    preset: Annotated[
        str | None,
        ModelOption(
            help="Size of the net: micro, tiny (default), small, paper (53.5 M parameters), paper-large (213.9 M)."
        ),
    ] = None,
    row: Annotated[
        str | None,
        ModelOption(
            help="A training of the table of systems (adm, bbdm, ...): its net, method and settings, contrasts, voxel "
            "size and phantoms, but for what is given here."
        ),
    ] = None,
    initial: Annotated[str | None, ModelOption(help="A shipped model, or a .safetensors file, to start from.")] = None,
    regression: Annotated[
        bool | None,
        ModelOption(
            "--regression/--no-regression", help="Train for regression only: the net's first step (T = 1); default: no."
        ),
    ] = None,
    phantoms: Annotated[int | None, DataOption(help=f"Phantoms to generate; default 384{OWN}.")] = None,
    scanner: Annotated[
        str, DataOption(help="Phantoms of one 'protocol', or of 'any' scanner and disease.")
    ] = "protocol",
    packs: Annotated[
        Path | None,
        DataOption(
            help="Train on this folder of packs ('yoda-nb data pack') instead: on the split train, validated on val; "
            "test is never opened. Packs without a split train."
        ),
    ] = None,
    without: Annotated[
        list[str] | None, DataOption(help="People of the packs to validate with, not to learn from.")
    ] = None,
    rehearse: Annotated[
        int,
        DataOption(help="Phantoms of any scanner mixed with real volumes, so that other scanners are not forgotten."),
    ] = 0,
    share: Annotated[float, DataOption(help="Share of the slabs that are real, beside rehearsed phantoms.")] = 0.5,
    augment: Annotated[
        float | None,
        AugmentationOption(
            help="Spread of the random gain and gamma of each source; default 0.05, 0 (as the paper): none."
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        AugmentationOption(
            "--flip/--no-flip", help="Exchange left and right in half of the slabs; default yes, the paper: no."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        DataOption(
            help="Train on this dataset of the manifest instead: on the split train, validated on val; test is never "
            "opened."
        ),
    ] = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    label_maps: Annotated[
        bool | None,
        DataOption(
            "--label-maps/--no-label-maps",
            help="Two thirds of the phantoms from the manifest's label maps; default yes, of a row no.",
        ),
    ] = None,
    spacing: Annotated[float | None, ModelOption(help=f"Voxel size in mm; default 3{OWN}.")] = None,
    steps: Annotated[int | None, OptimisationOption(help=f"Gradient steps; default 10000{OWN}.")] = None,
    batch_size: Annotated[
        int | None, OptimisationOption(help=f"Slabs of a step, all processes together; default 24{OWN}, the paper: 96.")
    ] = None,
    accumulate: Annotated[
        int,
        OptimisationOption(help="Parts in which a batch goes through the net: less memory, more time, the same step."),
    ] = 1,
    mapped: Annotated[
        bool | None,
        DataOption(
            help="Leave packs on disk and read what is drawn; default: where they would fill half of the memory."
        ),
    ] = None,
    window: Annotated[
        int | None, AugmentationOption(help=f"Side of the random in-slice crop, in voxels; default 48{OWN}.")
    ] = None,
    lr: Annotated[
        float | None, OptimisationOption(help=f"Learning rate after warm-up; default 0.001{OWN}, the paper: 0.0001.")
    ] = None,
    lr_end: Annotated[
        float | None,
        OptimisationOption(help="Where it falls to as a cosine; default 0.00001, the same as --lr: constant."),
    ] = None,
    warmup: Annotated[
        int | None, OptimisationOption(help=f"Steps in which the learning rate rises; default 200{OWN}, 0: none.")
    ] = None,
    ema: Annotated[
        float | None,
        OptimisationOption(
            help=f"Decay of the average of weights that is kept; default 0.999{OWN}. 0.99 for a short run, 0: none."
        ),
    ] = None,
    structure: Annotated[
        float | None,
        LossOption(help="Weight of 1 - SSIM beside the absolute error; default 0: squared error, as the paper."),
    ] = None,
    lesions: Annotated[
        float | None,
        LossOption(help="How many times more a voxel of a lesion counts, where lesions are known; default 0."),
    ] = None,
    schedule: Annotated[str | None, ModelOption(help=f"Noise schedule: linear (default) or cosine{OWN}.")] = None,
    predict: Annotated[str | None, ModelOption(help=f"What the net predicts: v (default), eps or x0{OWN}.")] = None,
    bits: Annotated[int, OutputOption(help="Bits of a weight in the file: 16, or 8 for half the bytes.")] = 16,
    threads: Annotated[int | None, RunOption(help="CPU threads; default: all cores.")] = None,
    workers: Annotated[int, RunOption(help="Processes that generate phantoms.")] = 1,
    seed: Annotated[
        int | None, RunOption(help=f"Seed of this run; the same seed gives the same bytes; default 0{OWN}.")
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

    use_threads(threads)
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
