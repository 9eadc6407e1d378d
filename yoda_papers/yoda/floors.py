"""Whom a system of the benchmark is compared with: those shown as much, and the least that it has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.study import tables
from yoda_nb.training.recipes import training_phantoms
from yoda_papers.yoda.benchmark import CONTRASTS, scored, volumes

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

FITTED = 8  # training phantoms that the lines are fitted to
LINES = {"a constant": (), "a line of T2w": ("T2w",), "a line of both": ("T1w", "T2w")}  # -> sources that it is of
FLOORS = (*LINES, "unet")
PAIRED, UNPAIRED, NO_NET = (
    "paired",
    "unpaired",
    "no net",
)  # what stands apart, beside those of one source, named after it


def scores(study: Study) -> pd.DataFrame:
    """``benchmark.scored`` of images that need no net: least squares in the brains of training phantoms."""
    subjects, known = volumes(study), training_phantoms(2 if study.profile == "tiny" else FITTED)
    here = set.intersection(*(set(v.sources) for v in subjects))
    lines = {name: sources for name, sources in LINES.items() if set(sources) <= here}
    made = {name: [drawn(v, sources, line(known, sources)) for v in subjects] for name, sources in lines.items()}
    table = scored(subjects, made)
    return table[table.sampler.isin(made)]


def line(known: Sequence[Volume], sources: Sequence[str]) -> np.ndarray:
    """Offset and slopes (1 + sources,) of the target on these sources, by least squares over all brains' voxels."""
    design = np.concatenate([_design(v, sources) for v in known])
    return np.linalg.lstsq(design, np.concatenate([required(v, "target")[v.mask].numpy() for v in known]))[0]


def drawn(v: Volume, sources: Sequence[str], slopes: np.ndarray) -> Tensor:
    """What a line makes of a volume: (1,D,H,W) in [-1,1], background -1."""
    image = torch.full(v.mask.shape, -1.0)
    image[v.mask] = torch.from_numpy(_design(v, sources) @ slopes).float().clamp(-1, 1)
    return image


def compared(study: Study) -> pd.DataFrame:
    """The benchmark's scores and these, with columns paper and compared, in blocks of what can be compared.

    Blocks: systems of both sources, of one alone, unpaired ones, and what needs no net.
    """
    systems = study.table("benchmark-cost")
    systems = systems[systems.trained].set_index("system")
    kinds = {name: _kind(row.sources, row.paired) for name, row in systems.iterrows()}
    table = pd.concat([study.table("benchmark"), study.table("benchmark-floors")], ignore_index=True)
    papers = systems.paper.to_dict() | {"truth": "truth", "acquired": "acquired"}
    table["paper"] = table.sampler.map(papers).fillna(NO_NET)
    table["compared"] = table.sampler.map(kinds).fillna(NO_NET)
    blocks = (PAIRED, *sorted(set(kinds.values()) - {PAIRED, UNPAIRED}), UNPAIRED, NO_NET)
    return table.sort_values("compared", key=lambda each: each.map(blocks.index), kind="stable", ignore_index=True)


def _kind(sources: str, paired: bool) -> str:
    if set(sources.split("+")) < CONTRASTS:
        return sources
    return PAIRED if paired else UNPAIRED


def not_ahead(table: pd.DataFrame, metrics: Sequence[str] = ("ssim", "psnr")) -> pd.Series:
    """sampler -> the least floor that it is not ahead of: the 95 % interval of a paired difference reaches 0.

    ``table`` has the scores of systems and floors against one reference; "" where a system beats all.
    """
    ahead = {floor: _ahead(table, floor, metrics) for floor in FLOORS if floor in set(table.sampler)}
    names = [name for name in dict.fromkeys(table.sampler) if name not in LINES]
    said = {name: next((f for f in ahead if f != name and name not in ahead[f]), "") for name in names}
    return pd.Series(said, name="not ahead of")


def _ahead(table: pd.DataFrame, floor: str, metrics: Sequence[str]) -> set[str]:
    tests = tables.paired_tests(table, floor, metrics)
    return {name for name, of in tests.groupby("sampler") if (of.low > 0).all()}


def _design(v: Volume, sources: Sequence[str]) -> np.ndarray:
    of = dict(zip(v.sources, v.source, strict=True))
    columns = [of[name][v.mask[0]].double().numpy() for name in sources]
    return np.stack([np.ones(int(v.mask.sum())), *columns], 1)


TABLES = {"benchmark-floors": scores}
