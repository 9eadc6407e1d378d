"""``yoda-nb``: the package in the shell. Parsing and printing only; the work is elsewhere.

Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from yoda_nb.cli.common import Json, emit, guarded, table, writable
from yoda_nb.cli.images import translate
from yoda_nb.cli.ledger import claims
from yoda_nb.cli.lessons import notebooks, report, serve_class
from yoda_nb.cli.rebuild import rebuild_app
from yoda_nb.cli.scans import prepare, translate_all
from yoda_nb.cli.stores import bank_app, data_app
from yoda_nb.cli.sweep import sweep
from yoda_nb.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Medical image translation with 2.5D diffusion and regression: a living paper.",
)
app.command()(translate)
app.command()(prepare)
app.command("translate-all")(translate_all)
app.command()(sweep)
app.command()(train)
app.command()(claims)
app.command()(report)
app.command()(notebooks)
app.command("class")(serve_class)


@app.command()
@guarded
def systems(json: Json = False) -> None:
    """List the systems: what each does, where it is defined, whether its model is here, what it costs.

    Cost is evaluations of the net over the volume for one image, and the net's parameters. "slabs"
    is what its training saw. The systems without a model of their own take the one that fits the
    contrasts given.
    """
    from yoda_nb.systems.table import describe_systems

    rows = describe_systems()
    shown = [
        {k: row[k] for k in ("name", "paper", "does", "translates", "state", "evaluations", "parameters", "slabs")}
        for row in rows
    ]
    emit(rows, json, f"{table(shown)}\n\nReferences and models: yoda-nb systems --json")


@app.command()
@guarded
def bench(
    threads: Annotated[int | None, Option(help="CPU threads; default: all cores.")] = None,
    device: Annotated[str, Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, Option(help="Measurements of each kind, taken in turn.")] = 3,
    model: Annotated[str, Option(help="A shipped model, or a .safetensors file of your own.")] = "tiny-t1w-t2w-flair",
    preset: Annotated[
        str | None, Option(help="An untrained net of this size instead: micro, tiny, small, paper.")
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
    from yoda_nb.bench import format_bench, run_bench
    from yoda_nb.errors import InputError
    from yoda_nb.images.outputs import check_outputs
    from yoda_nb.nets.devices import find_device
    from yoda_nb.papers.yoda import PRESETS
    from yoda_nb.systems.models import weights_path

    find_device(device)
    if figure and not growth:
        raise InputError("--figure draws what --growth finds: give both.")
    writable(*([figure] if figure else []))
    check_outputs({"--figure": figure}, {"the model": None if preset else weights_path(model)})
    sides = roi.split("x")
    if len(sides) != 3 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise InputError(f"--roi {roi!r} is no size: give three numbers of voxels, such as 61x54x51.")
    if preset is not None and preset not in PRESETS:
        raise InputError(f"Preset {preset!r} is unknown: choose one of {', '.join(PRESETS)}.")
    net: dict = {"model": model} if preset is None else {"net_config": PRESETS[preset]}
    a, b, c = map(int, sides)
    how: dict = {"threads": threads, "device": device, "repeats": repeats, "batch_size": batch_size}
    how |= {"memory": memory, "growth": growth}
    result = run_bench(roi=(a, b, c), progress=not json, **how, **net)
    if figure:
        from yoda_nb.bench.figure import growth_figure

        growth_figure(result).savefig(figure, dpi=150)
    emit(result, json, format_bench(result))


app.add_typer(data_app, name="data")
app.add_typer(bank_app, name="bank")
app.add_typer(rebuild_app, name="rebuild")
