"""``yoda-nb rebuild``: everything that is shipped, made again by the commands that made it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from yoda_nb.cli.common import Device, Mirror, guarded, listed
from yoda_nb.cli.common import table as columns
from yoda_nb.data.places import CHECKOUT

Only = Annotated[list[str] | None, Option(help="These alone, comma between, or repeat it; default: all.")]
Force = Annotated[bool, Option("--force", help="Make again even what still fits.")]
Threads = Annotated[int | None, Option(help="CPU threads; default: all cores.")]
OneThread = Annotated[int, Option(help="CPU threads; the shipped models were trained on one.")]
Runs = Annotated[Path, Option(help="Folder of the runs: a stopped one goes on where it was.")]
Jobs = Annotated[int, Option(min=1, help="So many at a time, each in a process of its own: for a GPU or many cores.")]
Docs = Annotated[Path, Option(help="Folder of the documents.")]

DOCS = CHECKOUT / "docs"
EVALUATION = 0.25  # seconds on two cores: one run of a shipped model over a phantom
FIGURE = 237  # evaluations behind the README's figure

rebuild_app = typer.Typer(
    no_args_is_help=True,
    help="Make again what is shipped: each says what it will take, shows how far it is, and goes on where it stopped.",
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
) -> None:
    """Make the tables behind the verdicts that no longer fit the code or the weights."""
    from yoda_nb.study import rebuild
    from yoda_nb.study.claims.evidence import MAKERS, PLANNED, index

    names = rebuild.known(listed(only) or set(MAKERS) - PLANNED, MAKERS, "table")
    todo = [name for name in names if force or add or not rebuild.fits(name)]
    last = [index().get(name, {}).get("seconds") for name in todo]
    machines = {index()[name]["machine"] for name in todo if name in index()}
    expect(f"Tables: {len(todo)} of {len(names)} to make", last, machines)
    _threads(threads)
    made = rebuild.rebuild_evidence(names, force=force, add=add, device=device, workers=jobs, say=say)
    say(f"{len(made)} made")


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
    from yoda_nb.study import rebuild, rebuild_real
    from yoda_nb.study.claims.evidence import index
    from yoda_nb.study.claims.real import PREFIX, beside_goals

    groups = {"translation": "real", "normalisation": "normalisation"}
    groups |= {"samplers": f"{PREFIX}perception", "systems": f"{PREFIX}systems"}
    names = rebuild.known(listed(only), groups, "group of tables")
    last = [index().get(groups[name], {}) for name in names]
    machines = {about["machine"] for about in last if about}
    expect("Real scans: trainings without patients", [about.get("seconds") for about in last], machines)
    _threads(threads)
    where: dict[str, Any] = {"mirror": mirror, "device": device, "say": say}
    options = where | {"workers": workers} | ({"steps": steps} if steps else {})
    if "normalisation" in names:
        say(columns(rebuild_real.rebuild_normalisation(**where).to_dict("records")))
    if "translation" in names:
        say(columns(beside_goals(rebuild_real.rebuild_real(out, **options)).to_dict("records")))
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
    from yoda_nb.study import rebuild

    plan = rebuild.shipped_samples(listed(only))
    todo = [sample for sample in plan if force or not sample.fits]
    seconds = sum(sample.spec.evaluations for sample in todo) * EVALUATION
    expect(f"Samples: {len(todo)} of {len(plan)} to draw, those in the bank at once", [seconds], {"two CPU cores"})
    _threads(threads)
    rebuild.rebuild_samples(todo, device=device, say=say)
    if not only:
        for path in rebuild.remove_other_samples():
            say(f"{path.name}: removed, nothing asks for it now")


@rebuild_app.command()
@guarded
def systems(
    only: Only = None, out: Runs = Path("runs/systems"), threads: OneThread = 1, device: Device = None, jobs: Jobs = 1
) -> None:
    """Train the models of the table of systems."""
    from yoda_nb.papers import TRAININGS
    from yoda_nb.systems.train import model_name, train_systems

    names = listed(only) or list(TRAININGS)
    _expect_trainings(model_name(name) for name in names)
    _threads(threads)
    for card in train_systems(names, out=out, device=device, jobs=jobs):
        say(card["title"])


@rebuild_app.command()
@guarded
def ablations(
    only: Only = None,
    seeds: Annotated[list[str] | None, Option(help="Seeds of training, comma between; default: all.")] = None,
    out: Runs = Path("runs/ablations"),
    threads: OneThread = 1,
    device: Device = None,
    jobs: Jobs = 1,
) -> None:
    """Train the models of the ablation studies."""
    from yoda_nb.errors import InputError
    from yoda_nb.papers.yoda.ablations import chosen, model_name, train_ablations

    words = listed(seeds)
    if bad := [word for word in words if not word.isdigit()]:
        raise InputError(f"--seeds {bad[0]!r} is no seed: give numbers with commas between.")
    wanted, names = [int(word) for word in words], listed(only)
    _expect_trainings(model_name(*row) for row in chosen(names, wanted))
    _threads(threads)
    for card in train_ablations(names, out=out, seeds=wanted, device=device, jobs=jobs):
        say(card["title"])


@rebuild_app.command()
@guarded
def segmenter(
    spacing: Annotated[float, Option(help="Voxel size in mm: 3 or 1.5, each a segmenter of its own.")] = 3.0,
    threads: OneThread = 1,
    device: Device = None,
) -> None:
    """Train the lesion segmenter; a stopped run begins anew."""
    from yoda_nb.errors import InputError
    from yoda_nb.metrics.segmentation.net import SEGMENTERS
    from yoda_nb.metrics.segmentation.training import SegmenterConfig, train_segmenter
    from yoda_nb.nets.models import WEIGHTS

    if spacing not in SEGMENTERS:
        raise InputError(f"There is no segmenter of {spacing:g} mm: choose 3 or 1.5.")
    _expect_trainings([SEGMENTERS[spacing]])
    _threads(threads)
    path = WEIGHTS / f"{SEGMENTERS[spacing]}.safetensors"
    command = "yoda-nb rebuild segmenter" + ("" if spacing == 3 else f" --spacing {spacing:g}")
    card = train_segmenter(path, SegmenterConfig(spacing=spacing), device=device, command=command)
    say(f"{card['title']}: {card['metrics']['test']}")


@rebuild_app.command()
@guarded
def features(only: Only = None, threads: OneThread = 1) -> None:
    """Train the feature nets behind perceptual distances, offline and tissue; a stopped run begins anew."""
    from yoda_nb.metrics.feature_nets import OFFLINE_WEIGHTS, TISSUE_WEIGHTS
    from yoda_nb.metrics.feature_tissue import train_tissue_net
    from yoda_nb.metrics.feature_training import train_offline
    from yoda_nb.study.rebuild import known

    nets: dict[str, tuple[Callable[..., Any], Path]] = {
        "offline": (train_offline, OFFLINE_WEIGHTS),
        "tissue": (train_tissue_net, TISSUE_WEIGHTS),
    }
    names = known(listed(only), nets, "feature net")
    _expect_trainings([path.stem for _, path in (nets[name] for name in names)])
    _threads(threads)
    for name in names:
        train, path = nets[name]
        say(f"{train(path, command=f'yoda-nb rebuild features --only {name}')['name']}: {path}")


@rebuild_app.command()
@guarded
def rules() -> None:
    """Put the rules of the verdicts on record as of this commit, where they changed: at once."""
    from yoda_nb.study.claims import rules as record
    from yoda_nb.study.claims.ledger import find
    from yoda_nb.study.rebuild import SHIPPED_STUDY, Study, where_and_when

    now = where_and_when()
    changed = record.write(
        {f.claim.id: f.effects for f in find(study=Study(*SHIPPED_STUDY))}, now["commit"], now["date"]
    )
    say(f"{len(changed)} changed: {', '.join(changed) or 'none'}")


@rebuild_app.command()
@guarded
def figure(docs: Docs = DOCS, threads: Threads = None, device: Device = None) -> None:
    """Draw the README's figure, docs/figure1.png."""
    _check(docs)
    expect("Figure: at once where the samples are shipped, else", [FIGURE * EVALUATION], {"two CPU cores"})
    from yoda_nb.figures.plots.base import save_page_figure
    from yoda_nb.figures.readme import readme_figure

    _threads(threads)
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
    from yoda_nb.study.bank import write_atomic
    from yoda_nb.study.documents import real_table, write_documents
    from yoda_nb.study.measure import measure
    from yoda_nb.systems.table import get_system

    _check(docs)
    sampled = subjects * (1 if offline else 2) * get_system("yoda-diffusion", n_ex=10).evaluations
    what = f"Numbers: regression of every test subject, ten samples of {subjects} of each dataset, the ledger"
    expect(what, [60 + sampled * EVALUATION], {"two CPU cores, less where the bank holds them"})
    _threads(threads)
    found = measure(mirror, subjects, offline, device=device, say=say)
    path = docs / "measured.json"
    write_atomic(path, (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    for written in [path, *write_documents(docs)]:
        say(str(written))
    say(f"Real scans. {real_table()}")


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


def _expect_trainings(models: Iterable[str]) -> None:
    """What the cards of these models say of their last training."""
    from yoda_nb.nets.models import WEIGHTS, read_card

    paths = [WEIGHTS / f"{model}.safetensors" for model in models]
    cards = [read_card(path) if path.with_suffix(".json").exists() else {} for path in paths]
    facts = [card.get("training", card) for card in cards]
    machines = {fact["machine"] for fact in facts if "machine" in fact}
    expect(f"Models: {len(paths)} to train", [fact.get("seconds") for fact in facts], machines)


def _threads(count: int | None) -> None:
    if count:
        import torch

        torch.set_num_threads(count)


def _check(docs: Path) -> None:
    from yoda_nb.errors import InputError

    if not docs.is_dir():
        raise InputError(f"{docs} is no folder: name that of the documents with --docs.")
