"""``yoda-nb rebuild``: everything that is shipped, made again by the commands that made it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from typer import Option

from yoda_nb.cli.common import Device, Jobs, Mirror, Only, Runs, expect, guarded, listed, say, use_threads
from yoda_nb.cli.common import table as columns
from yoda_nb.data.places import CHECKOUT
from yoda_papers.cli import rebuild_models

Force = Annotated[bool, Option("--force", help="Make again even what still fits.")]
Threads = Annotated[int | None, Option(help="CPU threads; default: all cores.")]
Docs = Annotated[Path, Option(help="Folder of the documents.")]

DOCS = CHECKOUT / "docs"
EVALUATION = 0.25  # seconds on two cores: one run of a shipped model over a phantom
FIGURE = 237  # evaluations behind the figure of docs/findings.md

rebuild_app = typer.Typer(
    no_args_is_help=True,
    help="Make again what is shipped. Each command estimates its time, shows progress, and resumes if stopped.",
)


@rebuild_app.command()
@guarded
def evidence(
    only: Only = None,
    threads: Threads = None,
    device: Device = None,
    force: Force = False,
    add: Annotated[
        bool, Option("--add", help="Keep the rows of trainings that a table knows; make the others.")
    ] = False,
    jobs: Jobs = 1,
    bump: Annotated[
        str,
        Option(metavar="TABLE", help="Make nothing: raise this table's version, because the code gives other numbers."),
    ] = "",
    reason: Annotated[str, Option(metavar="TEXT", help="With --bump: what changes the numbers. It is kept.")] = "",
) -> None:
    """Make the tables behind the verdicts whose version or weights have changed."""
    from yoda_nb.nets.devices import find_device
    from yoda_papers.ledger import rebuild
    from yoda_papers.ledger.evidence import MAKERS, PLANNED, index

    if bump or reason:
        say(f"{bump}: version {rebuild.bump(bump, reason)}")
        return
    find_device(device)
    names = rebuild.known(listed(only) or set(MAKERS) - PLANNED, MAKERS, "table")
    todo = [name for name in names if force or add or not rebuild.fits(name)]
    last = [index().get(name, {}).get("seconds") for name in todo]
    machines = {index()[name]["machine"] for name in todo if name in index()}
    expect(f"Tables: {len(todo)} of {len(names)} to make", last, machines)
    use_threads(threads)
    made = rebuild.rebuild_evidence(names, force=force, add=add, device=device, workers=jobs, say=say)
    say(f"{len(made)} made")


@rebuild_app.command()
@guarded
def canaries(only: Only = None, threads: Threads = None, device: Device = None) -> None:
    """Recompute one subject of each table whose weights are shipped, and compare: fails where a number moved."""
    from yoda_nb.nets.devices import find_device
    from yoda_papers.ledger.canaries import left_out, recompute
    from yoda_papers.ledger.evidence import MAKERS
    from yoda_papers.ledger.rebuild import known
    from yoda_papers.ledger.versions import in_words, libraries

    find_device(device)
    use_threads(threads)
    found = []
    with TemporaryDirectory() as bank:
        os.environ["YODA_NB_BANK"] = bank  # empty: tables of this run share samples with each other alone
        for name in known(listed(only), MAKERS, "table"):
            if why := left_out(name):
                say(f"{name}: left out, {why}")
                continue
            found.append(recompute(name, device or ""))
            say(f"{name}: {'OUTSIDE' if found[-1].outside else 'within'} its tolerances, {found[-1].seconds:.0f} s")
    say(f"{columns([canary.document() for canary in found])}\nHere: {in_words(libraries())}")
    if any(canary.outside for canary in found):
        raise typer.Exit(1)


@rebuild_app.command()
@guarded
def real(
    only: Only = None,
    mirror: Mirror = None,
    out: Runs = Path("runs/real"),
    steps: Annotated[int | None, Option(min=1, help="Steps of each training; default: the recipe's.")] = None,
    workers: Annotated[int, Option(min=1, help="Processes that generate phantoms.")] = 1,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Train models without some of the patients, score them on those, and ship: --only a group of tables."""
    from yoda_nb.images.outputs import check_apart
    from yoda_nb.nets.devices import find_device
    from yoda_papers.ledger import rebuild, rebuild_real
    from yoda_papers.ledger.evidence import index
    from yoda_papers.ledger.hospitals import in_words
    from yoda_papers.ledger.real import PREFIX, beside_goals

    find_device(device)
    if mirror is not None:
        check_apart(out, mirror, [path for path in mirror.rglob("*") if path.is_file()], word="--out")
    groups = {"translation": "real", "normalisation": "normalisation"}
    groups |= {"hospitals": "hospitals", "samplers": f"{PREFIX}perception", "systems": f"{PREFIX}systems"}
    names = rebuild.known(listed(only), groups, "group of tables")
    last = [index().get(groups[name], {}) for name in names]
    machines = {about["machine"] for about in last if about}
    expect("Real scans: trainings without patients", [about.get("seconds") for about in last], machines)
    use_threads(threads)
    where: dict[str, Any] = {"mirror": mirror, "device": device, "say": say}
    options = where | {"workers": workers} | ({"steps": steps} if steps else {})
    if "normalisation" in names:
        say(columns(rebuild_real.rebuild_normalisation(**where).to_dict("records")))
    if "translation" in names:
        say(columns(beside_goals(rebuild_real.rebuild_real(out, **options)).to_dict("records")))
    if "hospitals" in names:
        table = rebuild_real.rebuild_hospitals(out / "hospitals", **options)
        heads, *rows = in_words(table)
        say(columns([dict(zip(heads, row, strict=True)) for row in rows]))
    if "samplers" in names:
        for name, table in rebuild_real.rebuild_scans(out, **options).items():
            say(f"{name}: {len(table)} rows")
    if "systems" in names:
        say(f"{PREFIX}systems: {len(rebuild_real.rebuild_systems(out / 'systems', **options))} rows")


@rebuild_app.command()
@guarded
def samples(
    only: Only = None,
    threads: Threads = None,
    device: Annotated[str, Option(help="They answer for a CPU; a GPU is quicker and rounds otherwise.")] = "cpu",
    force: Force = False,
) -> None:
    """Draw the samples that the notebooks show first: --only lessons or benchmark."""
    from yoda_nb.nets.devices import find_device
    from yoda_papers.ledger import rebuild

    find_device(device)
    plan = rebuild.shipped_samples(listed(only))
    todo = [sample for sample in plan if force or not sample.fits]
    seconds = sum(sample.spec.evaluations for sample in todo) * EVALUATION
    expect(f"Samples: {len(todo)} of {len(plan)} to draw, those in the bank at once", [seconds], {"two CPU cores"})
    use_threads(threads)
    rebuild.rebuild_samples(todo, device=device, say=say)
    if not only:
        for path in rebuild.remove_other_samples():
            say(f"{path.name}: removed, nothing asks for it now")


for command in rebuild_models.COMMANDS:
    rebuild_app.command()(command)


@rebuild_app.command()
@guarded
def rules() -> None:
    """Put the rules of the verdicts on record as of this commit, where they changed: at once."""
    from yoda_papers.ledger import rules as record
    from yoda_papers.ledger.findings import find
    from yoda_papers.ledger.rebuild import SHIPPED_STUDY, Study, where_and_when

    now = where_and_when()
    changed = record.write(
        {f.claim.id: f.effects for f in find(study=Study(*SHIPPED_STUDY))}, now["commit"], now["date"]
    )
    say(f"{len(changed)} changed: {', '.join(changed) or 'none'}")


@rebuild_app.command()
@guarded
def figure(docs: Docs = DOCS, threads: Threads = None, device: Device = None) -> None:
    """Draw the figure of docs/findings.md, docs/figure1.png."""
    from yoda_nb.nets.devices import find_device

    find_device(device)
    _check(docs)
    expect("Figure: at once where the samples are shipped, else", [FIGURE * EVALUATION], {"two CPU cores"})
    from yoda_nb.figures.plots.base import save_page_figure
    from yoda_nb.figures.readme import readme_figure

    use_threads(threads)
    path = docs / "figure1.png"
    save_page_figure(readme_figure(device), path)
    say(str(path))


@rebuild_app.command()
@guarded
def numbers(
    mirror: Mirror = None,
    subjects: Annotated[int, Option(min=1, help="Subjects of each dataset to sample.")] = 2,
    offline: Annotated[bool, Option("--offline", help="MNI152 phantoms only: nothing to download.")] = False,
    docs: Docs = DOCS,
    threads: Threads = None,
    device: Device = None,
) -> None:
    """Measure the numbers of the documents, and write the pages that hold them."""
    from yoda_nb.nets.devices import find_device
    from yoda_nb.store import write_atomic
    from yoda_nb.systems.table import get_system
    from yoda_papers.ledger.documents import real_table, write_documents
    from yoda_papers.ledger.measure import measure

    find_device(device)
    _check(docs)
    sampled = subjects * (1 if offline else 2) * get_system("yoda-diffusion", n_ex=10).evaluations
    what = f"Numbers: regression of every test subject, ten samples of {subjects} of each dataset, the ledger"
    expect(what, [60 + sampled * EVALUATION], {"two CPU cores, less where the bank holds them"})
    use_threads(threads)
    found = measure(mirror, subjects, offline, device=device, say=say)
    path = docs / "measured.json"
    write_atomic(path, (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    for written in [path, *write_documents(docs)]:
        say(str(written))
    say(f"Real scans. {real_table()}")


def _check(docs: Path) -> None:
    from yoda_nb.errors import InputError

    if not docs.is_dir():
        raise InputError(f"{docs} is not a folder: name the folder of the documents with --docs.")
