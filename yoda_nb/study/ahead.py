"""Sampling what a table will ask for, in several processes: each takes a share and leaves it in the bank."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from yoda_nb.images.volumes import Volume, required
from yoda_nb.study.claims.evidence import MAKERS, Study, read_shipped
from yoda_nb.systems.table import get_system


@dataclass(frozen=True)
class Scout(Study):
    """A study that samples every n-th image alone, and gives the acquired one in place of the others."""

    share: tuple[int, int] = (0, 1)  # which, of how many
    asked: list[str] = field(default_factory=list, compare=False)

    def table(self, name: str) -> pd.DataFrame:
        return read_shipped(name)

    def samples(self, volume: Volume, system: str, **settings: Any) -> Tensor:
        self.asked.append(system)
        mine, n = self.share
        if len(self.asked) % n == mine:
            return super().samples(volume, system, **settings)
        known = {k: v for k, v in settings.items() if k not in ("model", "seed", "device")}
        count = get_system(system, **known).n_ex
        return required(volume, "target")[None].repeat(count, 1, 1, 1, 1)


def draw_ahead(name: str, study: Study, workers: int) -> None:
    """Fill the bank with the samples of a table, one share a process; whatever fails is left to who makes it."""
    about = (study.profile, study.seed, study.device, study.fresh)
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    if not used:
        print(f"{len(study.volumes)} subjects for {workers} processes", file=sys.stderr)  # loaded before these part
    with get_context("spawn" if used else "fork").Pool(workers) as pool:
        pool.starmap(_scouted, [(name, about, (k, workers)) for k in range(workers)], chunksize=1)


def _scouted(name: str, about: tuple[str, int, str, bool], share: tuple[int, int]) -> None:
    with suppress(Exception):  # made-up images may be too strange for what the table measures
        MAKERS[name](Scout(*about, share=share))
