"""What the commands share: options, output, and errors as one sentence."""

from __future__ import annotations

import json as json_module
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from typer import Option

from yoda_nb.data.places import MANIFEST as MANIFEST

# ``Option`` in a group of the help
InputOption = partial(Option, rich_help_panel="Inputs")
OutputOption = partial(Option, rich_help_panel="Output")
SystemOption = partial(Option, rich_help_panel="System")
SamplingOption = partial(Option, rich_help_panel="Sampling")
PreparationOption = partial(Option, rich_help_panel="Preparation")
RunOption = partial(Option, rich_help_panel="Run")
DataOption = partial(Option, rich_help_panel="Data")

Json = Annotated[bool, RunOption("--json", help="Print one JSON document on standard output and nothing else.")]
Mirror = Annotated[
    Path | None, DataOption(help="Folder with copies of the public files, for machines without internet.")
]
Manifest = Annotated[Path, DataOption(help="The data manifest (CSV).")]
Seed = Annotated[int, RunOption(help="Seed of this run; the same seed gives the same bytes.")]
Device = Annotated[str | None, RunOption(help="cpu, cuda, cuda:1; default: the GPU if there is one.")]
Workers = Annotated[int, RunOption(help="Number of processes, or of jobs in a queue; 0: only this process.")]
Scheduler = Annotated[str, RunOption(help="Address of a Dask scheduler that runs, as tcp://10.0.0.1:8786.")]
Slurm = Annotated[bool, RunOption("--slurm", help="As jobs of SLURM; the same as --queue slurm.")]
Queue = Annotated[str, RunOption(help="As jobs of this queue: slurm, pbs, sge, lsf, oar, htcondor.")]
QueueOption = Annotated[
    list[str] | None, RunOption(help="What a job asks for as NAME=VALUE: cores, memory, walltime; repeat it.")
]

Only = Annotated[list[str] | None, Option(help="Only these: separate with commas, or repeat the option; default: all.")]
Runs = Annotated[Path, Option(help="Folder of the runs. A stopped run resumes.")]
Jobs = Annotated[
    int, RunOption(min=1, help="So many at a time, each in a process of its own: for a GPU or many cores.")
]

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an InputError into its one sentence and exit code 2, Ctrl-C into exit code 130."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from yoda_nb.errors import InputError

        try:
            with _doubts_as_notes():
                return command(*args, **kwargs)
        except InputError as error:
            note(f"Error: {error}")
            raise typer.Exit(2) from None
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):  # torch's words for the same
                raise
            note(f"Error: memory ran out ({error}): choose larger voxels, fewer or smaller images, or another machine.")
            raise typer.Exit(2) from None
        except KeyboardInterrupt as error:
            typer.echo(str(error) or "Interrupted.", err=True)
            raise typer.Exit(130) from None

    return run


@contextmanager
def _doubts_as_notes() -> Iterator[None]:
    """Show doubts as lines for people, not as Python shows warnings."""
    from yoda_nb.errors import Doubt

    with warnings.catch_warnings():
        shown = warnings.showwarning

        def show(message: Any, category: Any, *where: Any, **how: Any) -> None:
            if issubclass(category, Doubt):
                look_at([str(message)])
            else:
                shown(message, category, *where, **how)

        warnings.showwarning = show
        yield


def emit(document: object, as_json: bool, text: str) -> None:
    """One JSON document on standard output, or the text for people."""
    typer.echo(json_module.dumps(document, indent=2, allow_nan=False) if as_json else _writable_text(text))


def note(line: str) -> None:
    """A line for people beside the output, at once: on standard error, so that JSON stays alone."""
    typer.echo(_writable_text(line), err=True)


def look_at(sentences: Iterable[str], who: str = "") -> None:
    """A line for each doubt."""
    for sentence in sentences:
        note(f"check this: {f'{who}: ' if who else ''}{sentence}")


def _writable_text(text: str) -> str:
    """Text in which bytes that are no UTF-8, as names of files may hold them, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def writable(*files: Path) -> None:
    """Refuse files whose folder does not exist, before anything slow."""
    from yoda_nb.errors import InputError

    for file in files:
        try:
            if file.is_dir():
                raise InputError(f"{file} is a folder: name a file in it.")
            if not file.absolute().parent.is_dir():
                raise InputError(f"The folder of {file} does not exist: create it first.")
            file.exists()
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            why = getattr(error, "strerror", error)
            raise InputError(f"{file} cannot be written ({why}): choose another name.") from error


def check_folder(path: Path | None) -> None:
    """Refuse a file where a folder is asked for."""
    from yoda_nb.errors import InputError

    if path is not None and path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: name a folder.")


def folder(path: Path) -> Path:
    """A folder to write into, made if need be; InputError, before anything slow, where it cannot be."""
    from yoda_nb.errors import InputError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {path} cannot be made ({error.strerror}): choose another.") from error
    return path


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as columns of text, numbers to the right; "nothing" for none."""
    if not rows:
        return "nothing"
    names = list(rows[0])
    shown = [names, *([_shown(row.get(name)) for name in names] for row in rows)]
    right = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    wide = [max(len(line[k]) for line in shown) for k in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(line, wide, right, strict=True)).rstrip()
        for line in shown
    )


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def listed(values: list[str] | None) -> list[str]:
    """["a,b", "c"] -> ["a", "b", "c"]."""
    return [item for value in values or [] for part in value.split(",") if (item := part.strip())]


def named(pairs: list[str], what: str) -> dict[str, str]:
    """["T1w=a.nii.gz", ..] -> {"T1w": "a.nii.gz", ..}."""
    from yoda_nb.errors import InputError

    if bad := [p for p in pairs if "=" not in p]:
        raise InputError(f"{what} {bad[0]!r} has no '=': write NAME=VALUE.")
    return dict(p.split("=", 1) for p in pairs)


def place(
    workers: int | None, scheduler: str, slurm: bool, queue: str, queue_option: list[str] | None
) -> dict[str, Any]:
    """Where the work is to be done, as ``study.sweep.workers.client_of`` and ``sweep`` take it."""
    options = named(queue_option or [], "--queue-option")
    return {"workers": workers, "scheduler": scheduler, "queue": "slurm" if slurm else queue, "options": options}


def expect(what: str, seconds: Iterable[float | None], machines: Iterable[str]) -> None:
    """Say what is to be made and how long it took or takes, before it begins."""
    seconds = list(seconds)
    total, unknown = sum(s for s in seconds if s is not None), sum(s is None for s in seconds)
    parts = [f"about {_duration(total)} on {'; '.join(sorted(machines)) or 'this machine'}"] if total else []
    parts += [f"{unknown} of unknown duration"] if unknown else []
    say(f"{what}: {', '.join(parts) or 'nothing'}")


def say(line: str) -> None:
    """A line of progress, at once."""
    typer.echo(line)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{round(seconds)} s" if seconds < 90 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def use_threads(count: int | None) -> None:
    """So many CPU threads, where a number is given."""
    if count is not None:
        import torch

        from yoda_nb.errors import InputError

        if count < 1:
            raise InputError(f"--threads {count} is not a number of threads: give 1 or more.")

        torch.set_num_threads(count)
