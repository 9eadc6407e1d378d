"""``yoda-nb train``: from images to models."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from yoda_nb.cli.common import MANIFEST, Device, Json, Manifest, Mirror, Seed, emit, guarded, listed


@guarded
def train(
    save: Annotated[Path, Option(help="Where to write the model (.safetensors; the card goes beside it).")],
    out: Annotated[Path, Option(help="Folder of the run: checkpoint and log. A run found there goes on.")],
    sources: Annotated[str, Option(help="Source contrasts, comma between.")] = "T1w,T2w",
    target: Annotated[str, Option(help="Contrast to make.")] = "FLAIR",
    preset: Annotated[str, Option(help="Size of YODA's net: tiny, small or paper.")] = "tiny",
    row: Annotated[
        str | None,
        Option(
            help="A training of the table of systems (adm, bbdm, ...) whose net "
            "and method to take; preset, schedule, predict are then its own."
        ),
    ] = None,
    initial: Annotated[str | None, Option(help="A shipped model, or a .safetensors file, to start from.")] = None,
    regression: Annotated[bool, Option("--regression", help="Regression alone: the net's first step (T = 1).")] = False,
    phantoms: Annotated[int, Option(help="Phantoms to generate.")] = 384,
    scanner: Annotated[str, Option(help="Phantoms of one 'protocol', or of 'any' scanner and disease.")] = "protocol",
    packs: Annotated[Path | None, Option(help="Train on this folder of packs ('yoda-nb data pack') instead.")] = None,
    without: Annotated[
        list[str] | None, Option(help="People of the packs to validate with, not to learn from.")
    ] = None,
    rehearse: Annotated[int, Option(help="Phantoms of any scanner beside real volumes, lest it forgets.")] = 0,
    share: Annotated[float, Option(help="Share of the slabs that are real, beside rehearsed phantoms.")] = 0.5,
    augment: Annotated[float, Option(help="Spread of the random gain and gamma of each source.")] = 0.05,
    dataset: Annotated[str | None, Option(help="Train on this dataset of the manifest instead of phantoms.")] = None,
    manifest: Manifest = MANIFEST,
    mirror: Mirror = None,
    label_maps: Annotated[bool, Option(help="Two thirds of the phantoms from the manifest's label maps.")] = True,
    spacing: Annotated[float, Option(help="Voxel size in mm.")] = 3.0,
    steps: Annotated[int, Option(help="Gradient steps.")] = 10_000,
    batch_size: Annotated[int, Option(help="Slabs of a step, all processes together.")] = 24,
    accumulate: Annotated[
        int, Option(help="Parts in which a batch goes through the net: less memory, more time, the same step.")
    ] = 1,
    mapped: Annotated[
        bool | None,
        Option(help="Leave packs on disk and read what is drawn; default: where they would fill half of the memory."),
    ] = None,
    window: Annotated[int, Option(help="Side of the random in-slice crop, in voxels.")] = 48,
    lr: Annotated[float, Option(help="Learning rate after warm-up; falls as a cosine.")] = 1e-3,
    warmup: Annotated[int | None, Option(help="Steps in which the learning rate rises; default 200.")] = None,
    ema: Annotated[
        float | None, Option(help="Decay of the average of weights that is kept; default 0.999, 0.99 for a short run.")
    ] = None,
    structure: Annotated[
        float, Option(help="Weight of 1 - SSIM beside the absolute error; 0: squared error, as the paper.")
    ] = 0.0,
    lesions: Annotated[
        float, Option(help="How many times more a voxel of a lesion counts, where lesions are known.")
    ] = 0.0,
    schedule: Annotated[str, Option(help="Noise schedule: linear or cosine.")] = "linear",
    predict: Annotated[str, Option(help="What the net predicts: v, eps or x0.")] = "v",
    bits: Annotated[int, Option(help="Bits of a weight in the file: 16, or 8 for half the bytes.")] = 16,
    threads: Annotated[int | None, Option(help="CPU threads; default: all cores.")] = None,
    workers: Annotated[int, Option(help="Processes that generate phantoms.")] = 1,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train a denoiser, or a row of the table of systems, on phantoms or on your own data through a manifest.

    A row trained so is run by its system: yoda-nb translate --system adm --model adm.safetensors ...

    Ctrl-C is safe: the same command goes on where it stopped, with the same result. For several
    GPUs: torchrun --nproc-per-node 4 -m yoda_nb train ...
    """
    from yoda_nb.systems.train import train as run

    if threads:
        import torch

        torch.set_num_threads(threads)
    own: dict[str, Any] = {} if row else {"schedule": schedule, "prediction": predict}
    given = {"regression": regression, "structure": structure, "lesions": lesions, "warmup": warmup, "ema": ema}
    own |= {name: value for name, value in given.items() if value}
    words = ["DIR" if i and sys.argv[i - 1] == "--mirror" else w for i, w in enumerate(sys.argv)][1:]
    card = run(
        save,
        out=out,
        sources=listed([sources]),
        target=target,
        preset=preset,
        row=row,
        initial=initial,
        dataset=dataset,
        packs=packs,
        without=listed(without),
        phantoms=phantoms,
        scanner=scanner,
        rehearse=rehearse,
        share=share,
        spacing=spacing,
        manifest=manifest,
        mirror=mirror,
        label_maps=label_maps,
        workers=workers,
        device=device,
        command=shlex.join(["yoda-nb", *words]),
        bits=bits,
        accumulate=accumulate,
        mapped=mapped,
        steps=steps,
        batch_size=batch_size,
        window=window,
        lr=lr,
        seed=seed,
        augment=augment,
        **own,
    )
    emit(card, json, f"{save}: {steps} steps in {card['training']['seconds']} s")
