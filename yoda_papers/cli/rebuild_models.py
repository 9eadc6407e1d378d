"""The commands of ``yoda-nb rebuild`` that train what is shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from yoda_nb.cli.common import Device, Jobs, Only, Runs, expect, guarded, listed, say, use_threads

OneThread = Annotated[int, Option(help="CPU threads; the shipped models were trained on one.")]


@guarded
def systems(
    only: Only = None, out: Runs = Path("runs/systems"), threads: OneThread = 1, device: Device = None, jobs: Jobs = 1
) -> None:
    """Train the models of the table of systems."""
    from yoda_nb.nets.devices import find_device
    from yoda_nb.systems.papers import TRAININGS
    from yoda_nb.systems.train import model_name, train_systems

    find_device(device)
    names = listed(only) or list(TRAININGS)
    _expect_trainings(model_name(name) for name in names)
    use_threads(threads)
    for card in train_systems(names, out=out, device=device, jobs=jobs):
        say(card["title"])


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
    from yoda_nb.nets.devices import find_device
    from yoda_papers.yoda.ablations.trainings import chosen, model_name, train_ablations

    find_device(device)
    words = listed(seeds)
    if bad := [word for word in words if not word.isdigit()]:
        raise InputError(f"--seeds {bad[0]!r} is not a seed: give numbers separated by commas.")
    wanted, names = [int(word) for word in words], listed(only)
    _expect_trainings(model_name(*row) for row in chosen(names, wanted))
    use_threads(threads)
    for card in train_ablations(names, out=out, seeds=wanted, device=device, jobs=jobs):
        say(card["title"])


@guarded
def segmenter(
    spacing: Annotated[float, Option(help="Voxel size in mm: 3 or 1.5, each a segmenter of its own.")] = 3.0,
    threads: OneThread = 1,
    device: Device = None,
) -> None:
    """Train the lesion segmenter; a stopped run begins anew."""
    from yoda_nb.errors import InputError
    from yoda_nb.metrics.segmentation.net import SEGMENTERS
    from yoda_nb.nets.devices import find_device
    from yoda_nb.nets.models import shipped_file
    from yoda_papers.instruments.segmenter import SegmenterConfig, train_segmenter

    find_device(device)
    if spacing not in SEGMENTERS:
        raise InputError(f"There is no segmenter of {spacing:g} mm: choose 3 or 1.5.")
    _expect_trainings([SEGMENTERS[spacing]])
    use_threads(threads)
    path = shipped_file(SEGMENTERS[spacing])
    command = "yoda-nb rebuild segmenter" + ("" if spacing == 3 else f" --spacing {spacing:g}")
    card = train_segmenter(path, SegmenterConfig(spacing=spacing), device=device, command=command)
    say(f"{card['title']}: {card['metrics']['test']}")


@guarded
def features(only: Only = None, threads: OneThread = 1) -> None:
    """Train the feature nets behind perceptual distances, offline and tissue; a stopped run begins anew."""
    from yoda_nb.metrics.feature_nets import OFFLINE_WEIGHTS, TISSUE_WEIGHTS
    from yoda_papers.instruments.noise_features import train_offline
    from yoda_papers.instruments.tissue_features import train_tissue_net
    from yoda_papers.ledger.rebuild import known

    nets: dict[str, tuple[Callable[..., Any], Path]] = {
        "offline": (train_offline, OFFLINE_WEIGHTS),
        "tissue": (train_tissue_net, TISSUE_WEIGHTS),
    }
    names = known(listed(only), nets, "feature net")
    _expect_trainings([path.stem for _, path in (nets[name] for name in names)])
    use_threads(threads)
    for name in names:
        train, path = nets[name]
        say(f"{train(path, command=f'yoda-nb rebuild features --only {name}')['name']}: {path}")


def _expect_trainings(models: Iterable[str]) -> None:
    """What the cards of these models say of their last training."""
    from yoda_nb.nets.models import has_card, read_card, shipped_file

    paths = [shipped_file(model) for model in models]
    cards = [read_card(path) if has_card(path) else {} for path in paths]
    facts = [card.get("training", card) for card in cards]
    machines = {fact["machine"] for fact in facts if "machine" in fact}
    expect(f"Models: {len(paths)} to train", [fact.get("seconds") for fact in facts], machines)


@guarded
def cards() -> None:
    """Move the cards of models whose weights are not shipped into one table."""
    from yoda_nb.nets.models import gather_cards
    from yoda_papers import WEIGHTS

    names = gather_cards(WEIGHTS)
    say(f"{len(names)} cards moved to {WEIGHTS}: {', '.join(names) or 'all are there already'}")


COMMANDS = (systems, ablations, segmenter, features, cards)
