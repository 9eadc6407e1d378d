"""``yoda-nb translate`` and ``train``: from images to images, and from images to models."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from yoda_nb.cli.common import (
    MANIFEST,
    Device,
    Json,
    Manifest,
    Mirror,
    Seed,
    emit,
    guarded,
    listed,
    named,
    note,
    writable,
)
from yoda_nb.cli.scans import Bias, Keep, Registered, Tool, images_given, write_page


@guarded
def translate(
    out: Annotated[Path, Option("-o", "--out", help="Where to write the result (.nii, .nii.gz or .mgz).")],
    t1: Annotated[Path | None, Option(help="T1-weighted image.")] = None,
    t2: Annotated[Path | None, Option(help="T2-weighted image.")] = None,
    flair: Annotated[Path | None, Option(help="FLAIR image.")] = None,
    source: Annotated[list[str] | None, Option(help="Any other source as CONTRAST=FILE; repeat it.")] = None,
    to: Annotated[str | None, Option(help="Contrast to make; default: what the model for these sources makes.")] = None,
    system: Annotated[str, Option(help="One of 'yoda-nb systems'.")] = "yoda-regression",
    n_ex: Annotated[int | None, Option(help="Samples to average (ExpA).")] = None,
    n_steps: Annotated[int | None, Option(help="Function evaluations of one sample.")] = None,
    jump_to: Annotated[int | None, Option(help="Truncation: go on from this t after step one; -1: none.")] = None,
    times: Annotated[str | None, Option(help="Where the steps lie: even, or quadratic (denser near the end).")] = None,
    sigma: Annotated[str | None, Option(help="Noise of a step: posterior, fresh or zero.")] = None,
    combine: Annotated[str | None, Option(help="How to average samples: rms or mean.")] = None,
    noise: Annotated[float | None, Option(help="Rician noise to add to the result, on the [0,1] scale.")] = None,
    style: Annotated[str | None, Option(help="Style key: average, foreign, or an image of the style wanted.")] = None,
    set_: Annotated[list[str] | None, Option("--set", help="Any other setting of the system as NAME=VALUE.")] = None,
    homogenise: Annotated[bool, Option("--homogenise", help="Correct axial slices to agree (eq. 10-11).")] = False,
    mask: Annotated[Path | None, Option(help="Brain mask on the first image's grid; default: estimated.")] = None,
    target: Annotated[Path | None, Option(help="Acquired image of the contrast to make: scores the result.")] = None,
    like: Annotated[Path | None, Option(help="Write the result onto this image's grid, not the first one's.")] = None,
    registered: Registered = None,
    bias: Bias = True,
    tool: Tool = None,
    keep: Keep = None,
    qc: Annotated[Path | None, Option(help="Write a page of quality control (.html).")] = None,
    model: Annotated[str | None, Option(help="A shipped model, or a .safetensors file of your own.")] = None,
    batch_size: Annotated[int, Option(help="Slices at once: raise it on a GPU, lower it if memory is short.")] = 16,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Make a missing contrast from NIfTI files of one subject.

    Images on different grids are registered to the first one and brought to 1 mm; those on one grid are
    taken as they are. The result is written on the first one's grid, on a [0,1] scale.

    Example: yoda-nb translate --t1 a.nii.gz --t2 b.nii.gz --system yoda-expa --n-ex 10 -o flair.nii.gz
    """
    from yoda_nb.images.nifti import on_one_grid, suffix
    from yoda_nb.images.volumes import required
    from yoda_nb.metrics import evaluate
    from yoda_nb.systems.files import SPACING, open_files, save_like
    from yoda_nb.systems.models import find_model, load_model
    from yoda_nb.systems.run import translate as run
    from yoda_nb.systems.table import get_system, parse_settings

    files = images_given(t1, t2, flair, source)
    given = {
        "n_ex": n_ex,
        "n_steps": n_steps,
        "jump_to": jump_to,
        "times": times,
        "sigma": sigma,
        "combine": combine,
        "noise": noise,
        "style": style,
        "homogenise": homogenise or None,
    }
    overrides = parse_settings(system, named(set_ or [], "--set")) | {k: v for k, v in given.items() if v is not None}
    if overrides.get("jump_to") == -1:
        overrides["jump_to"] = None
    # everything that can be wrong is found out before the slow part
    suffix(out)
    writable(out, *([qc] if qc else []))
    spec = get_system(system, **overrides)
    weights = model or spec.weights or find_model(tuple(files), to, SPACING, steps=spec.n_steps)
    chosen = load_model(weights)
    aim = (chosen.contrast, target) if target else None
    if registered is None:
        registered = not on_one_grid(files | ({chosen.contrast: target} if target else {}))
    if registered:
        note(f"registering {', '.join(list(files)[1:])} to {next(iter(files))}, to voxels of {SPACING:g} mm ...")
    opened = open_files(files, target=aim, mask=mask, registered=registered, bias=bias, tool=tool, keep=keep)
    for sentence in opened.warnings:
        note(f"look at this: {sentence}")
    volume = opened.volume
    if not (model or spec.weights):
        weights = find_model(volume.sources, to, min(volume.spacing), steps=spec.n_steps)
        chosen = load_model(weights)
    begun = time.time()
    result = run(
        volume,
        system,
        seed=seed,
        device=device,
        model=weights,
        contrast=to,
        batch_size=batch_size,
        progress=sys.stderr.isatty() or not json,
        **overrides,
    )
    seconds = time.time() - begun
    save_like(required(result, "target"), opened, out, like)
    scores = evaluate(volume, result) if volume.target is not None else None
    document = {
        "out": str(out),
        "system": system,
        "model": chosen.name,
        "contrast": chosen.contrast,
        "seed": seed,
        "evaluations": spec.evaluations,
        "seconds": round(seconds, 2),
        "shape": list(volume.grid.shape if volume.grid else volume.shape),
        "scores": scores,
        "registered": opened.registered,
        "warnings": list(opened.warnings),
    }
    if qc:
        write_page(opened, qc, result, document)
    text = f"{out}: {chosen.contrast} by {system}, {spec.evaluations} evaluations in {seconds:.1f} s"
    if scores:
        text += f"; SSIM {scores['ssim']:.4f}, PSNR {scores['psnr']:.2f} dB (data range 1)"
    emit(document, json, text)


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
