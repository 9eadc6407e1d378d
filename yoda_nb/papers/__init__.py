"""The papers, one folder or file each, and the one list that gathers them.

A paper's module offers TITLE (its authors and year), NETS (configurations of nets of its own), TRAININGS (name ->
``training.rows.Training``) and SYSTEMS (rows of ``diffusion.system.System``). To add one, write
the module and put it into PAPERS; nothing below this room knows a paper by name.
"""

from __future__ import annotations

from dataclasses import replace

from yoda_nb.diffusion.system import System
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.papers import backbones, bridge, fast_unet, selfrdb, syndiff, yoda
from yoda_nb.training.rows import Training

PAPERS = {
    "yoda": yoda,
    "selfrdb": selfrdb,
    "fast_unet": fast_unet,
    "bridge": bridge,
    "backbones": backbones,
    "syndiff": syndiff,
}

NETS: dict[str, type] = {
    config.kind: config for config in (MonaiUNetConfig, UNetConfig, *(c for p in PAPERS.values() for c in p.NETS))
}
TRAININGS: dict[str, Training] = {name: row for p in PAPERS.values() for name, row in p.TRAININGS.items()}
SYSTEMS: dict[str, System] = {
    row.name: replace(row, paper=paper) for paper, module in PAPERS.items() for row in module.SYSTEMS
}
