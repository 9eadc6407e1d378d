"""``yoda-nb translate``: from images to images."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from yoda_nb.cli.common import (
    Device,
    InputOption,
    Json,
    OutputOption,
    RunOption,
    SamplingOption,
    Seed,
    SystemOption,
    check_folder,
    emit,
    guarded,
    look_at,
    named,
    note,
    writable,
)
from yoda_nb.cli.scans import Bias, Keep, Registered, Tool, images_given, inputs_of


@guarded
def translate(
    out: Annotated[Path, OutputOption("-o", "--out", help="Where to write the result (.nii, .nii.gz or .mgz).")],
    t1: Annotated[Path | None, InputOption(help="T1-weighted image.")] = None,
    t2: Annotated[Path | None, InputOption(help="T2-weighted image.")] = None,
    flair: Annotated[Path | None, InputOption(help="FLAIR image.")] = None,
    source: Annotated[list[str] | None, InputOption(help="Any other source as CONTRAST=FILE; repeat it.")] = None,
    to: Annotated[
        str | None, OutputOption(help="Contrast to make; default: FLAIR, or what --system or --model makes.")
    ] = None,
    system: Annotated[str, SystemOption(help="One of 'yoda-nb systems'.")] = "yoda-regression",
    n_ex: Annotated[int | None, SamplingOption(help="Samples to average (ExpA).")] = None,
    n_steps: Annotated[
        int | None, SamplingOption(help="Steps of one sample; Heun evaluates the net twice a step but the last.")
    ] = None,
    jump_to: Annotated[
        int | None, SamplingOption(help="Truncation: go on from this t after step one; -1: none.")
    ] = None,
    times: Annotated[
        str | None, SamplingOption(help="Where the steps lie: even, or quadratic (denser near the end).")
    ] = None,
    sigma: Annotated[str | None, SamplingOption(help="Noise of a step: posterior, fresh or zero.")] = None,
    combine: Annotated[str | None, SamplingOption(help="How to average samples: rms or mean.")] = None,
    noise: Annotated[
        float | None, SamplingOption(help="Rician noise to add to the result, on the [0,1] scale.")
    ] = None,
    style: Annotated[
        str | None, SamplingOption(help="Style key: average, foreign, or an image of the style wanted.")
    ] = None,
    set_: Annotated[
        list[str] | None, SystemOption("--set", help="Any other setting of the system as NAME=VALUE.")
    ] = None,
    homogenise: Annotated[
        bool, SamplingOption("--homogenise", help="Correct axial slices to agree (eq. 10-11).")
    ] = False,
    mask: Annotated[Path | None, InputOption(help="Brain mask on the first image's grid; default: estimated.")] = None,
    target: Annotated[
        Path | None, InputOption(help="Acquired image of the contrast to make: scores the result.")
    ] = None,
    like: Annotated[
        Path | None, OutputOption(help="Write the result onto this image's grid, not the first one's.")
    ] = None,
    registered: Registered = None,
    bias: Bias = True,
    tool: Tool = None,
    keep: Keep = None,
    spread: Annotated[
        Path | None,
        OutputOption(help="Write how far the views, or the samples, differ (.nii.gz): where the image is unsure."),
    ] = None,
    qc: Annotated[Path | None, OutputOption(help="Write a page of quality control (.html).")] = None,
    model: Annotated[str | None, SystemOption(help="A shipped model, or a .safetensors file of your own.")] = None,
    batch_size: Annotated[
        int, RunOption(min=1, help="Slices at once: raise it on a GPU, lower it if memory is short.")
    ] = 16,
    margin: Annotated[
        int | None,
        RunOption(
            min=0, help="Faster: cut each batch of slices to its brain and so many voxels more (4); default: no."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Make a missing contrast from NIfTI files of one subject.

    Images on different grids are registered to the first one and brought to 1 mm; those on one grid are
    taken as they are. The result is written on the first one's grid, on a [0,1] scale, a CT in Hounsfield units; a
    JSON file of its name says how it was made.

    Example: yoda-nb translate --t1 a.nii.gz --t2 b.nii.gz --system yoda-expa --n-ex 10 -o flair.nii.gz
    """
    from yoda_nb.data.bids import check_replaceable, check_sidecar, describe, made_by, sidecar_of, write_sidecar
    from yoda_nb.errors import InputError, quiet
    from yoda_nb.images.nifti import on_one_grid, read_grid, sha256, suffix
    from yoda_nb.images.outputs import check_apart_of_bids, check_outputs
    from yoda_nb.images.units import part_of
    from yoda_nb.images.volumes import required
    from yoda_nb.metrics import evaluate
    from yoda_nb.nets.devices import find_device
    from yoda_nb.nets.models import known_of
    from yoda_nb.scans.files import SPACING, model_spacing, open_files, save_like, save_spread
    from yoda_nb.scans.qc import check_page
    from yoda_nb.scans.subjects import write_page
    from yoda_nb.systems.models import find_model, load_model
    from yoda_nb.systems.run import check_model, check_spread, has_spread
    from yoda_nb.systems.run import translate as run
    from yoda_nb.systems.table import get_system, parse_settings

    files = images_given(t1, t2, flair, source)
    if not files:
        raise InputError("no source image was given: name at least one, such as --t1.")
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
    find_device(device)
    outputs = {"-o": out, "-o's sidecar": sidecar_of(out), "--spread": spread, "--qc": qc, "--keep": keep}
    asked = {"mask": mask, "target": target, "like": like, "model": model, "style": style}
    writable(out, *(path for path in (spread, qc) if path))
    check_outputs(outputs, inputs_of(files, **asked))
    for word, path in (("-o", out), ("--spread", spread), ("--qc", qc), ("--keep", keep)):
        check_apart_of_bids(path, files.values(), word=word)
    check_sidecar(out)
    for path in (out, spread):
        if path:
            suffix(path)
            check_replaceable(path)
    check_page(qc)
    check_folder(keep)
    spec = get_system(system, **overrides)
    check_spread(spec, spread is not None)
    weights = model or spec.weights
    if not weights:
        find_model(tuple(files), to, SPACING, steps=spec.n_steps)  # refuses contrasts before files are opened
    if registered is None:
        registered = not on_one_grid(files | ({"target": target} if target else {}))
    weights = weights or find_model(tuple(files), to, model_spacing(files, registered), steps=spec.n_steps)
    chosen = load_model(weights)
    check_model(chosen, spec, to)
    shown = sys.stderr.isatty() or not json
    if registered:
        note(f"registering {', '.join(list(files)[1:])} to {next(iter(files))}, to voxels of {SPACING:g} mm ...")
    how: dict[str, Any] = {"registered": registered, "bias": bias, "tool": tool, "keep": keep}
    how |= {"part": part_of((*files, chosen.contrast)), "target": (chosen.contrast, target) if target else None}
    with quiet():
        opened = open_files(files, mask=mask, progress=shown, **how)
    doubts = [*opened.warnings, *(read_grid(like).doubts if like else ())]
    look_at(doubts)
    volume = opened.volume
    begun = time.time()
    result = run(
        volume,
        system,
        seed=seed,
        device=device,
        model=weights,
        contrast=to,
        batch_size=batch_size,
        margin=margin,
        progress=shown,
        spread=bool(spread or qc) and has_spread(spec),
        **overrides,
    )
    seconds = time.time() - begun
    image, made = required(result, "target"), made_by(chosen.contrast, system, chosen.name)
    save_like(image, replace(opened, volume=result), out, like, made=made)
    if spread:
        save_spread(result, opened, spread, like, made=made)
    about = describe(volume, chosen.contrast, files, system, chosen.name, chosen.sha256, seed, overrides)
    about |= {"Warnings": doubts, "Registered": bool(registered), "BrainTool": tool or ""}
    about |= {"ContentSHA256": {name: sha256(path) for name, path in files.items()}} | known_of(chosen.card)
    write_sidecar(out, about)
    scores = evaluate(volume, result) if volume.target is not None else None
    document = {
        "out": str(out),
        "sidecar": str(sidecar_of(out)),
        "spread": str(spread) if spread else None,
        "system": system,
        "model": chosen.name,
        "contrast": chosen.contrast,
        "seed": seed,
        "evaluations": spec.evaluations,
        "seconds": round(seconds, 2),
        "shape": list(volume.grid.shape if volume.grid else volume.shape),
        "scores": scores,
        "registered": opened.registered,
        "warnings": doubts,
    }
    if qc:
        write_page(opened, qc, result, document, known=known_of(chosen.card))
    text = f"{out}: {chosen.contrast} by {system}, {spec.evaluations} evaluations in {seconds:.1f} s"
    if scores:
        text += f"; SSIM {scores['ssim']:.4f}, PSNR {scores['psnr']:.2f} dB (data range 1)"
    emit(document, json, text)
