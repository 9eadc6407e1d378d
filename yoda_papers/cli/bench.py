"""``yoda-nb bench``: speed and memory against a straightforward baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from yoda_nb.cli.common import Json, emit, guarded, writable


@guarded
def bench(
    threads: Annotated[int | None, Option(help="CPU threads; default: all cores.")] = None,
    device: Annotated[str, Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, Option(help="Measurements of each kind, taken in turn.")] = 3,
    model: Annotated[str, Option(help="A shipped model, or a .safetensors file of your own.")] = "tiny-t1w-t2w-flair",
    preset: Annotated[
        str | None, Option(help="An untrained net of this size instead: micro, tiny, small, paper, paper-large.")
    ] = None,
    roi: Annotated[str, Option(help="Voxels of the region of interest, AxBxC.")] = "61x54x51",
    batch_size: Annotated[int, Option(min=1, help="Slabs at once.")] = 16,
    memory: Annotated[bool, Option(help="Measure memory too.")] = True,
    growth: Annotated[
        bool, Option("--growth", help="Fit how work, time and memory grow with voxels, steps and samples.")
    ] = False,
    figure: Annotated[Path | None, Option(help="Draw what --growth finds (.png, .svg or .pdf).")] = None,
    json: Json = False,
) -> None:
    """Measure speed and memory against a straightforward baseline, as ratios in one run."""
    from yoda_nb.errors import InputError
    from yoda_nb.images.outputs import check_outputs
    from yoda_nb.nets.devices import find_device
    from yoda_nb.systems.models import weights_path
    from yoda_nb.yoda import PRESETS
    from yoda_papers.bench import format_bench, run_bench

    find_device(device)
    if figure and not growth:
        raise InputError("--figure draws what --growth finds: give both.")
    writable(*([figure] if figure else []))
    check_outputs({"--figure": figure}, {"the model": None if preset else weights_path(model)})
    sides = roi.split("x")
    if len(sides) != 3 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise InputError(f"--roi {roi!r} is not a size: give three numbers of voxels, such as 61x54x51.")
    if preset is not None and preset not in PRESETS:
        raise InputError(f"Preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}.")
    net: dict = {"model": model} if preset is None else {"net_config": PRESETS[preset]}
    a, b, c = map(int, sides)
    how: dict = {"threads": threads, "device": device, "repeats": repeats, "batch_size": batch_size}
    how |= {"memory": memory, "growth": growth}
    result = run_bench(roi=(a, b, c), progress=not json, **how, **net)
    if figure:
        from yoda_papers.bench.figure import growth_figure

        growth_figure(result).savefig(figure, dpi=150)
    emit(result, json, format_bench(result))
