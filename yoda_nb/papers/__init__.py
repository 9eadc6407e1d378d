"""The papers, one folder or file each, and the one list that gathers them.

A paper's module offers TITLE (its authors and year), NETS (configurations of nets of its own), TRAININGS (name ->
``training.rows.Training``) and SYSTEMS (rows of ``diffusion.system.System``). To add one, write
the module and put its name into NAMES; nothing below this room knows a paper by name.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import ModuleType

from yoda_nb.diffusion.system import System
from yoda_nb.nets.base import Config
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.rows import Training

NAMES = ("yoda", "selfrdb", "resvit", "ea_gan", "aldm", "fast_unet", "bridge", "backbones", "syndiff", "translations")
PAPERS: dict[str, ModuleType] = {name: import_module(f"{__name__}.{name}") for name in NAMES}

NETS: dict[str, type[Config]] = {
    config.kind: config for config in (MonaiUNetConfig, UNetConfig, *(c for p in PAPERS.values() for c in p.NETS))
}
TRAININGS: dict[str, Training] = {name: row for p in PAPERS.values() for name, row in p.TRAININGS.items()}
SYSTEMS: dict[str, System] = {
    row.name: replace(row, paper=paper) for paper, module in PAPERS.items() for row in module.SYSTEMS
}
