"""``yoda-nb report``, ``notebooks`` and ``class``: the lessons as a site, as files and for a class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from yoda_nb.cli.common import Queue, QueueOption, Scheduler, Slurm, Workers, guarded, listed, named, place
from yoda_nb.data.places import NOTEBOOKS


@guarded
def report(
    notebooks: Annotated[list[str] | None, Option(help="Names or paths, comma between, or repeat it; all.")] = None,
    profile: Annotated[str, Option(help="quick: two CPU cores; full: the paper's setting.")] = "quick",
    set_: Annotated[list[str] | None, Option("--set", help="A notebook parameter as NAME=VALUE; repeat it.")] = None,
    subjects: Annotated[list[str] | None, Option(help="A page for each of these, comma between.")] = None,
    jobs: Annotated[int | None, Option(help="Notebooks at a time; default: as many as cores, at most four.")] = None,
    workers: Workers = 0,
    scheduler: Scheduler = "",
    slurm: Slurm = False,
    queue: Queue = "",
    queue_option: QueueOption = None,
    out: Annotated[Path, Option("-o", "--out", help="Folder for the site.")] = Path("report"),
) -> None:
    """Execute the notebooks and write a self-contained site with a page for each.

    With --workers, --scheduler or a queue they run as a sweep does: a page for each of a cohort's subjects.

    Example: yoda-nb report --notebooks 01_data_and_noise,02_sampling_methods -o site
    """
    from yoda_nb.errors import InputError, printable
    from yoda_nb.report import run_report
    from yoda_nb.report.lessons import notebooks_in

    folder = NOTEBOOKS
    paths = [p if (p := Path(n)).suffix == ".ipynb" else folder / f"{n}.ipynb" for n in listed(notebooks)]
    paths = paths or notebooks_in(folder)
    if lacking := [p for p in paths if not p.is_file()]:
        raise InputError(f"Notebook {lacking[0]} does not exist: look in {folder}.")
    done = run_report(
        paths,
        out,
        parameters=named(set_ or [], "--set"),
        profile=profile,
        subjects=listed(subjects),
        jobs=jobs,
        place=place(workers, scheduler, slurm, queue, queue_option),
    )
    peak = done.peak_bytes
    typer.echo(
        f"{printable(str(done.index))} in {done.seconds:.0f} s"
        + (f", peak memory {peak / 2**30:.1f} GiB" if peak else "")
    )
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
    from yoda_nb.errors import printable
    from yoda_nb.report.lessons import copy_lessons

    for path in copy_lessons(out, student=student, force=force):
        typer.echo(printable(str(path)))


@guarded
def serve_class(
    folder: Annotated[Path, Option(help="The notebooks to serve.")] = NOTEBOOKS,
    port: Annotated[int, Option(min=1, max=65535, help="Where the class finds them.")] = 8866,
    ip: Annotated[str, Option(help="Address to listen on; 127.0.0.1: only this machine, without a token.")] = "0.0.0.0",
    token: Annotated[
        str | None, Option(envvar="YODA_NB_CLASS_TOKEN", help="What opens the pages; default: a new one each time.")
    ] = None,
    minutes: Annotated[int, Option(min=1, help="How long a page may stay open.")] = 180,
    memory: Annotated[float, Option(min=0.25, help="GiB that the kernel of a page may take.")] = 4,
    visits: Annotated[int, Option(min=1, help="Pages that may be open at a time.")] = 40,
) -> None:
    """Serve the notebooks with Voilà to a class of thirty: pages whose controls are alive, a kernel a visitor.

    What was sampled before is read from the bank that all share: run 'yoda-nb report' first.
    """
    from yoda_nb.report import classroom

    token = classroom.class_token(ip, token)
    command = classroom.class_command(folder, port, ip=ip, minutes=minutes, memory=memory, visits=visits)
    classroom.check_port(ip, port)
    typer.echo(f"Tell the class: {classroom.class_address(ip, port, token)} (Ctrl-C ends it for all)")
    os.execve(command[0], command, classroom.class_environment(token=token))
