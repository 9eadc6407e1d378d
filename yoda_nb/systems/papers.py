"""The papers that are installed, and what they add to the tables of nets, trainings and systems.

A paper is a module with the attributes TITLE (authors and year), NETS (classes of net configurations), TRAININGS
(name -> ``training.rows.Training``) and SYSTEMS (rows of ``diffusion.system.System``), all optional but TITLE.
WEIGHTS names the folder of its models, if it has one. ``yoda_nb.yoda`` is such a module. Others are found through the
entry points of the group ``yoda_nb.papers``, so that any installed package can add one.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from yoda_nb import yoda
from yoda_nb.diffusion.system import System
from yoda_nb.errors import InputError
from yoda_nb.nets.base import Config
from yoda_nb.nets.models import FOLDERS, WEIGHTS
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.rows import Training

GROUP = "yoda_nb.papers"


def load_paper(point: EntryPoint) -> ModuleType:
    """The module of an entry point. InputError, naming the distribution, if it cannot be imported or has no TITLE."""
    where = f"The paper {point.name!r} ({point.value}, from {point.dist.name if point.dist else 'an unknown package'})"
    try:
        module = point.load()
    except ImportError as error:
        raise InputError(f"{where} cannot be imported: {error}. Reinstall or remove that package.") from error
    if not hasattr(module, "TITLE"):
        raise InputError(f"{where} has no TITLE: a paper's module needs one.")
    return module


def find_papers() -> dict[str, ModuleType]:
    """Name -> module: YODA first, then those of this project in the order of its list, then others by name."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    order = sorted(points, key=lambda name: (getattr(points[name].dist, "name", "") != "yoda-nb", name))
    return {"yoda": yoda} | {name: load_paper(points[name]) for name in order}


PAPERS: dict[str, ModuleType] = find_papers()
NETS: dict[str, type[Config]] = {
    config.kind: config
    for config in (MonaiUNetConfig, UNetConfig, *(c for p in PAPERS.values() for c in getattr(p, "NETS", ())))
}
TRAININGS: dict[str, Training] = {
    name: row for p in PAPERS.values() for name, row in getattr(p, "TRAININGS", {}).items()
}
SYSTEMS: dict[str, System] = {
    row.name: replace(row, paper=paper) for paper, module in PAPERS.items() for row in getattr(module, "SYSTEMS", ())
}
FOLDERS.extend(
    folder
    for folder in dict.fromkeys(getattr(p, "WEIGHTS", None) for p in PAPERS.values())
    if folder is not None and folder not in FOLDERS
)


def weights_folder(training: str) -> Path:
    """Where the weights of a row of TRAININGS are shipped: the folder of its paper."""
    owners = [getattr(p, "WEIGHTS", WEIGHTS) for p in PAPERS.values() if training in getattr(p, "TRAININGS", {})]
    return owners[0] if owners else WEIGHTS
