"""``yoda-nb``: the package in the shell. Parsing and printing only; the work is elsewhere.

Everything heavy is imported inside the commands, so that ``--help`` is quick.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated

import typer
from typer import Option

from yoda_nb.cli.adapt import adapt
from yoda_nb.cli.common import Json, emit, guarded, table
from yoda_nb.cli.images import translate
from yoda_nb.cli.lessons import notebooks, report, serve_class
from yoda_nb.cli.scans import prepare, translate_all
from yoda_nb.cli.stores import bank_app, data_app
from yoda_nb.cli.sweep import sweep
from yoda_nb.cli.train import train

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(asked: bool) -> None:
    if asked:
        from yoda_nb import __version__

        typer.echo(f"yoda-nb {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Medical image translation with 2.5D diffusion and regression: a living paper."""


app.command()(translate)
app.command()(prepare)
app.command("translate-all")(translate_all)
app.command()(sweep)
app.command()(train)
app.command()(adapt)
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


app.add_typer(data_app, name="data")
app.add_typer(bank_app, name="bank")


def add_commands() -> None:
    """The commands of installed packages: the entry points of the group ``yoda_nb.commands``, by name."""
    for point in sorted(entry_points(group="yoda_nb.commands"), key=lambda point: point.name):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name)(command)


add_commands()
