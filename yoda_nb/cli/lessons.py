"""``yoda-nb report``, ``notebooks`` and ``class``: the lessons as a site, as files and for a class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from yoda_nb.cli.common import guarded, listed, named
from yoda_nb.data.places import NOTEBOOKS


@guarded
def report(
    notebooks: Annotated[list[str] | None, Option(help="Names or paths, comma between, or repeat it; all.")] = None,
    profile: Annotated[str, Option(help="quick: two CPU cores; full: the paper's setting.")] = "quick",
    set_: Annotated[list[str] | None, Option("--set", help="A notebook parameter as NAME=VALUE; repeat it.")] = None,
    subjects: Annotated[list[str] | None, Option(help="A page for each of these, comma between.")] = None,
    jobs: Annotated[int | None, Option(help="Notebooks at a time; default: as many as cores, at most four.")] = None,
    out: Annotated[Path, Option("-o", "--out", help="Folder for the site.")] = Path("report"),
) -> None:
    """Execute the notebooks and write a self-contained site with a page for each.

    Example: yoda-nb report --notebooks 01_data_and_noise,02_sampling_methods -o site
    """
    from yoda_nb.errors import InputError
    from yoda_nb.report import run_report

    folder = NOTEBOOKS
    paths = [p if (p := Path(n)).suffix == ".ipynb" else folder / f"{n}.ipynb" for n in listed(notebooks)]
    paths = paths or sorted(folder.glob("*.ipynb"))
    if lacking := [p for p in paths if not p.is_file()]:
        raise InputError(f"Notebook {lacking[0]} does not exist: look in {folder}.")
    done = run_report(
        paths, out, parameters=named(set_ or [], "--set"), profile=profile, subjects=listed(subjects), jobs=jobs
    )
    peak = done.peak_bytes
    typer.echo(f"{done.index} in {done.seconds:.0f} s" + (f", peak memory {peak / 2**30:.1f} GiB" if peak else ""))
    if done.failed:
        raise typer.Exit(1)


@guarded
def notebooks(
    out: Annotated[Path, Argument(metavar="DIR", help="Folder to copy the lessons to; made if need be.")],
    student: Annotated[bool, Option("--student", help="Without the answers; exercises still mark themselves.")] = False,
    force: Annotated[bool, Option("--force", help="Overwrite notebooks that are there and differ.")] = False,
) -> None:
    """Copy the lessons to a folder, to be opened in Jupyter there.

    Example: yoda-nb notebooks lessons --student
    """
    from yoda_nb.report.lessons import copy_lessons

    for path in copy_lessons(out, student=student, force=force):
        typer.echo(str(path))


@guarded
def serve_class(
    folder: Annotated[Path, Option(help="The notebooks to serve.")] = NOTEBOOKS,
    port: Annotated[int, Option(min=1, max=65535, help="Where the class finds them.")] = 8866,
) -> None:
    """Serve the notebooks with Voilà to a class of thirty: pages whose controls are alive, a kernel a visitor.

    What was sampled before is read from the bank that all share: run 'yoda-nb report' first.
    """
    from yoda_nb.report.classroom import address, class_command, class_environment

    command = class_command(folder, port)
    typer.echo(f"Tell the class: http://{address()}:{port} (Ctrl-C ends it for all)")
    os.execve(command[0], command, class_environment())
